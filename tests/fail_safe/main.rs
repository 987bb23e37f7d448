//! Each row of the fail-safe table, with the real binary in a simulated house over real sockets.

mod charging;
mod scene;
