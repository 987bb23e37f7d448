//! InfluxDB line protocol: the keys of the state topics as lines, for `<base>/influx`.

mod collect;
mod line;

pub(crate) use collect::Collector;
