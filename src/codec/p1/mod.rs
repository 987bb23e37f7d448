//! The P1 port of Dutch, Belgian, Luxembourgish, Nordic, Hungarian, Lithuanian and Austrian meters.

mod encode;

pub use encode::encode;
