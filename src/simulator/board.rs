//! A relay board behind Modbus TCP, as boards of the Waveshare kind are: eight coils that can be pulsed, eight discrete
//! inputs, and a few holding registers. Unit 1, every other unit is silent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The one unit that answers.
pub const UNIT: u8 = 1;
/// Coils, inputs and registers.
const SIZE: usize = 8;
/// Coil written to switch it on for a time, in tenths of a second.
const FLASH_ON: u16 = 0x0200;
/// Coil written to switch it off for a time.
const FLASH_OFF: u16 = 0x0400;

/// A board on a loopback port; gone when dropped.
#[derive(Debug)]
pub struct RelayBoard {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    _guard: DropGuard,
}

#[derive(Debug)]
struct Inner {
    coils: [bool; SIZE],
    /// When a pulse ends in the opposite.
    pulses: [Option<Instant>; SIZE],
    inputs: [bool; SIZE],
    registers: [u16; SIZE],
    silent: bool,
    /// Contacts that no longer move.
    welded: [bool; SIZE],
    /// Each write of a coil or register: address, value, and when.
    writes: Vec<(u16, u16, Instant)>,
}

impl Inner {
    fn settle(&mut self) {
        let now = Instant::now();
        for (coil, pulse) in self.coils.iter_mut().zip(&mut self.pulses) {
            if pulse.is_some_and(|end| now >= end) {
                *pulse = None;
                *coil = !*coil;
            }
        }
    }

    /// The answer's PDU, or the code of an exception.
    fn answer(&mut self, pdu: &[u8]) -> Result<Vec<u8>, u8> {
        self.settle();
        let [function, a, b, c, d] = *pdu.first_chunk::<5>().ok_or(3_u8)?;
        let (address, value) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let range = || {
            let (start, count) = (usize::from(address), usize::from(value));
            if (1..=SIZE).contains(&count) && start + count <= SIZE { Ok(start..start + count) } else { Err(2_u8) }
        };
        match function {
            1 | 2 => {
                let bits = if function == 1 { &self.coils } else { &self.inputs };
                let byte = bits[range()?].iter().rev().fold(0_u8, |byte, bit| byte << 1 | u8::from(*bit));
                Ok(vec![function, 1, byte])
            }
            3 => {
                let words = &self.registers[range()?];
                let mut answer = vec![3, u8::try_from(words.len() * 2).map_err(|_| 2_u8)?];
                answer.extend(words.iter().flat_map(|it| it.to_be_bytes()));
                Ok(answer)
            }
            5 => {
                let (coil, on, pulse) = match (address, value) {
                    (FLASH_OFF.., tenths) => (address - FLASH_OFF, false, Some(tenths)),
                    (FLASH_ON.., tenths) => (address - FLASH_ON, true, Some(tenths)),
                    (_, 0xFF00) => (address, true, None),
                    (_, 0) => (address, false, None),
                    _ => return Err(3),
                };
                let coil = usize::from(coil);
                if !*self.welded.get(coil).ok_or(2_u8)? {
                    self.coils[coil] = on;
                    self.pulses[coil] = pulse.map(|it| Instant::now() + Duration::from_millis(u64::from(it) * 100));
                }
                self.writes.push((address, value, Instant::now()));
                Ok(pdu[..5].to_vec())
            }
            6 => {
                *self.registers.get_mut(usize::from(address)).ok_or(2_u8)? = value;
                self.writes.push((address, value, Instant::now()));
                Ok(pdu[..5].to_vec())
            }
            _ => Err(1),
        }
    }
}

impl RelayBoard {
    /// Everything off.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let inner = Inner {
            coils: [false; SIZE],
            pulses: [None; SIZE],
            inputs: [false; SIZE],
            registers: [0; SIZE],
            silent: false,
            welded: [false; SIZE],
            writes: Vec::new(),
        };
        let (inner, cancel) = (Arc::new(Mutex::new(inner)), CancellationToken::new());
        let (shared, token) = (Arc::clone(&inner), cancel.clone());
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = token.run_until_cancelled(listener.accept()).await {
                let (shared, token) = (Arc::clone(&shared), token.clone());
                tokio::spawn(async move { token.run_until_cancelled(serve(stream, shared)).await });
            }
        });
        Ok(Self { address, inner, _guard: cancel.drop_guard() })
    }

    /// As a configuration names it.
    #[must_use]
    pub fn connection(&self) -> String {
        format!("tcp://{}", self.address)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.settle();
        inner
    }

    /// Whether a coil is on now.
    #[must_use]
    pub fn coil(&self, coil: usize) -> bool {
        self.lock().coils[coil]
    }

    /// Somebody switches a coil by hand.
    pub fn switch(&self, coil: usize, on: bool) {
        let mut inner = self.lock();
        inner.coils[coil] = on;
        inner.pulses[coil] = None;
    }

    /// Voltage at an input, or none.
    pub fn drive(&self, input: usize, on: bool) {
        self.lock().inputs[input] = on;
    }

    /// It hears, does nothing and answers nothing.
    pub fn silence(&self, silent: bool) {
        self.lock().silent = silent;
    }

    /// From now on a coil confirms every write and stays as it is, or obeys again.
    pub fn weld(&self, coil: usize, welded: bool) {
        let mut inner = self.lock();
        inner.welded[coil] = welded;
        inner.pulses[coil] = None;
    }

    /// Every write so far: address, value, when.
    #[must_use]
    pub fn writes(&self) -> Vec<(u16, u16, Instant)> {
        self.lock().writes.clone()
    }
}

async fn serve(mut stream: TcpStream, inner: Arc<Mutex<Inner>>) -> io::Result<()> {
    loop {
        let mut head = [0; 7];
        stream.read_exact(&mut head).await?;
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        if !(6..=254).contains(&length) {
            return Ok(());
        }
        let mut pdu = vec![0; length - 1];
        stream.read_exact(&mut pdu).await?;
        let answer = {
            let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.silent || head[6] != UNIT {
                continue;
            }
            inner.answer(&pdu).unwrap_or_else(|code| vec![pdu[0] | 0x80, code])
        };
        let mut frame = head.to_vec();
        frame[4..6].copy_from_slice(&u16::try_from(answer.len() + 1).unwrap_or(2).to_be_bytes());
        frame.extend(answer);
        stream.write_all(&frame).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Connection;
    use crate::link::modbus::{Bus, BusConfig, Operation, Priority, Reply};

    #[tokio::test]
    async fn a_pulse_ends_by_itself_and_a_second_one_renews_it() {
        let board = RelayBoard::start().await.unwrap();
        let connection = Connection::Tcp { host: "127.0.0.1".into(), port: board.address.port() };
        let bus = Bus::spawn(BusConfig::new(connection), CancellationToken::new());
        let ask = async |operation| bus.call(UNIT, operation, Duration::from_secs(5), Priority::Poll).await;
        let pulse = |tenths| Operation::PulseCoil { address: FLASH_ON + 3, tenths };
        assert_eq!(ask(pulse(6553)).await, Ok(Reply::Written));
        assert_eq!(ask(Operation::ReadCoils { address: 3, count: 1 }).await, Ok(Reply::Bits(vec![true])));
        assert_eq!(ask(pulse(1)).await, Ok(Reply::Written));
        while board.coil(3) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        board.drive(2, true);
        let inputs = ask(Operation::ReadDiscrete { address: 1, count: 3 }).await;
        assert_eq!(inputs, Ok(Reply::Bits(vec![false, true, false])));
        let refused = ask(Operation::ReadCoils { address: 7, count: 2 }).await.unwrap_err();
        assert!(refused.is_exception(), "{refused}");
        assert_eq!(bus.counters().reconnects, 0, "neither pulses nor refusals cost the link");
    }
}
