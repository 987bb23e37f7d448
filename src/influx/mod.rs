//! InfluxDB line protocol: the keys of the state topics as lines, for `<base>/influx` and for the direct writer.
//!
//! A view like MQTT and the page. A database that is away, slow or full costs a bounded amount of memory and nothing
//! else: the oldest lines are dropped, counted and shown.

mod buffer;
mod collect;
mod line;
mod writer;

pub(crate) use collect::Collector;
pub use writer::InfluxStatus;
pub(crate) use writer::run;
