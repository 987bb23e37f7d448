//! Serial ports.

use std::io;
use std::path::Path;

use tokio::task::JoinHandle;
use tokio_serial::{DataBits, SerialPortBuilderExt as _, SerialStream, StopBits};

use crate::config::model::Parity;

/// How a line is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// Bits per second.
    pub(crate) baud: u32,
    pub(crate) data_bits: DataBits,
    pub(crate) parity: Parity,
    /// 1 or 2.
    pub(crate) stop: u8,
}

/// Opens a port; remembers an attempt that hangs, so that there is never a second one beside it.
#[derive(Debug, Default)]
pub(crate) struct SerialOpener {
    hanging: Option<JoinHandle<tokio_serial::Result<SerialStream>>>,
}

impl SerialOpener {
    /// Takes the port exclusively. May be dropped while it waits; the next call waits for the same attempt.
    pub(crate) async fn open(&mut self, path: &Path, parameters: Parameters) -> io::Result<SerialStream> {
        // Opening blocks, on some adapters for seconds after they were plugged in again.
        let opening = self.hanging.get_or_insert_with(|| {
            let Parameters { baud, data_bits, parity, stop } = parameters;
            let builder = tokio_serial::new(path.to_string_lossy(), baud)
                .data_bits(data_bits)
                .parity(match parity {
                    Parity::None => tokio_serial::Parity::None,
                    Parity::Even => tokio_serial::Parity::Even,
                    Parity::Odd => tokio_serial::Parity::Odd,
                })
                .stop_bits(if stop == 2 { StopBits::Two } else { StopBits::One });
            tokio::task::spawn_blocking(move || builder.open_native_async())
        });
        let opened = opening.await;
        self.hanging = None;
        let mut port = opened.map_err(io::Error::other)??;
        port.set_exclusive(true)?;
        Ok(port)
    }
}
