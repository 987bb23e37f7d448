//! Function 5 with a value that the standard does not know. tokio-modbus refuses its confirmation, an echo of the whole
//! request, so request and confirmation are framed here.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::error::{BusError, exception_name, hex};
use super::operation::{Operation, Reply};
use super::tap::Tap;
use super::wire::Framing;
use crate::codec::crc;

const FUNCTION: u8 = 5;
/// Set in the function of a refusal.
const REFUSED: u8 = 0x80;

/// Sends `[address, tenths]` and waits for the echo. Any error but `Exception` means that the link must not be used
/// again.
pub(super) async fn exchange(
    tap: &Tap,
    framing: Framing,
    number: u16,
    unit: u8,
    [address, tenths]: [u16; 2],
    limit: Duration,
) -> Result<Reply, BusError> {
    let asked = || Operation::PulseCoil { address, tenths }.of(unit);
    let frame = frame(framing, number, unit, address, tenths);
    let mut answer = Vec::with_capacity(frame.len());
    let outcome = timeout(limit, converse(tap, framing, &frame, &mut answer)).await;
    let received = || hex(&answer, answer.len());
    match outcome {
        Err(_) => return Err(BusError::Timeout { asked: asked(), after: limit, received: received() }),
        Ok(Err(error)) => {
            return Err(BusError::Broken { asked: asked(), why: error.to_string(), received: received() });
        }
        Ok(Ok(())) => {}
    }
    if answer == frame {
        return Ok(Reply::Written);
    }
    let garbled = |why: &str| Err(BusError::Garbled { asked: asked(), why: why.to_owned(), received: received() });
    let start = framing.start();
    if framing == Framing::Rtu {
        let Some((body, check)) = answer.split_last_chunk::<2>() else { return garbled("too short") };
        if crc::MODBUS.of(body).to_le_bytes() != *check {
            return garbled("the check sum does not fit");
        }
    } else if answer[..2] != frame[..2] {
        let got = u16::from_be_bytes([answer[0], answer[1]]);
        return Err(BusError::WrongTransaction { asked: asked(), expected: number, got });
    }
    if answer[start - 1] != unit {
        return Err(BusError::WrongUnit { asked: asked(), expected: unit, received: received() });
    }
    match answer[start] {
        code if code == FUNCTION | REFUSED => {
            let code = answer[start + 1];
            Err(BusError::Exception { asked: asked(), code, name: exception_name(code) })
        }
        FUNCTION => {
            let word = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
            let got = (word(start + 1), word(start + 3));
            Err(BusError::WrongEcho { asked: asked(), expected: (address, tenths), got })
        }
        got => Err(BusError::WrongFunction { asked: asked(), expected: FUNCTION, got }),
    }
}

impl Framing {
    /// Place of the function in a frame.
    const fn start(self) -> usize {
        match self {
            Self::Rtu => 1,
            Self::Tcp => 7,
        }
    }

    /// Bytes behind the PDU.
    const fn check(self) -> usize {
        match self {
            Self::Rtu => 2,
            Self::Tcp => 0,
        }
    }
}

fn frame(framing: Framing, number: u16, unit: u8, address: u16, tenths: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(12);
    if framing == Framing::Tcp {
        frame.extend(number.to_be_bytes());
        frame.extend([0, 0, 0, 6]);
    }
    frame.extend([unit, FUNCTION]);
    frame.extend(address.to_be_bytes());
    frame.extend(tenths.to_be_bytes());
    if framing == Framing::Rtu {
        frame.extend(crc::MODBUS.of(&frame).to_le_bytes());
    }
    frame
}

/// Until a whole answer of its kind has come: a refusal is shorter.
async fn converse(tap: &Tap, framing: Framing, frame: &[u8], answer: &mut Vec<u8>) -> std::io::Result<()> {
    let mut writer = tap.clone();
    writer.write_all(frame).await?;
    writer.flush().await?;
    loop {
        let refusal = answer.get(framing.start()).is_some_and(|function| function & REFUSED != 0);
        let whole = if refusal { framing.start() + 2 + framing.check() } else { frame.len() };
        if answer.len() >= whole {
            return Ok(());
        }
        let mut bytes = [0; 16];
        let room = whole - answer.len();
        match tap.read(&mut bytes[..room.min(16)]).await? {
            0 => return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "closed by the other side")),
            count => answer.extend_from_slice(&bytes[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::modbus::tap::Raw;
    use tokio::io::{AsyncReadExt as _, duplex};

    async fn asked(framing: Framing, answer: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<Reply, BusError> {
        let (near, mut far) = duplex(64);
        let tap = Tap::new(Raw::Memory(near));
        let sent = frame(framing, 7, 3, 0x0200, 600);
        let board = async {
            let mut request = vec![0; sent.len()];
            far.read_exact(&mut request).await.unwrap();
            far.write_all(&answer(request)).await.unwrap();
            far
        };
        tokio::join!(exchange(&tap, framing, 7, 3, [0x0200, 600], Duration::from_millis(200)), board).0
    }

    fn sealed(mut frame: Vec<u8>) -> Vec<u8> {
        frame.extend(crc::MODBUS.of(&frame).to_le_bytes());
        frame
    }

    /// The example of the board's manual: unit 1, relay 0 on for 700 ms.
    #[test]
    fn the_frame_is_the_manuals() {
        assert_eq!(frame(Framing::Rtu, 0, 1, 0x0200, 7), [0x01, 0x05, 0x02, 0x00, 0x00, 0x07, 0x8D, 0xB0]);
        assert_eq!(frame(Framing::Tcp, 258, 1, 0x0200, 7), [1, 2, 0, 0, 0, 6, 1, 5, 2, 0, 0, 7]);
    }

    #[tokio::test]
    async fn an_echo_confirms_in_both_framings() {
        for framing in [Framing::Rtu, Framing::Tcp] {
            assert_eq!(asked(framing, |request| request).await, Ok(Reply::Written));
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_name() {
        let refusals = [(Framing::Rtu, sealed(vec![3, 0x85, 2])), (Framing::Tcp, vec![0, 7, 0, 0, 0, 3, 3, 0x85, 2])];
        for (framing, refusal) in refusals {
            let error = asked(framing, |_| refusal).await.unwrap_err();
            assert!(error.is_exception(), "{error}");
            assert_eq!(
                error.to_string(),
                "unit 3, pulse of 60 s by coil 512: refused with exception 2 (illegal data address)"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn anything_else_confirms_nothing() {
        for (answer, part) in [
            (sealed(vec![3, 5, 2, 0, 0, 7]), "expected (512, 600) to be confirmed"),
            (sealed(vec![4, 5, 2, 0, 2, 0x58]), "expected an answer of unit 3"),
            (sealed(vec![3, 6, 2, 0, 2, 0x58]), "expected an answer to function 5, came one to function 6"),
            (vec![3, 5, 2, 0, 2, 0x58, 0, 0], "the check sum does not fit"),
            (vec![3, 5, 2], "no complete answer within 200 ms, came 03 05 02"),
        ] {
            let error = asked(Framing::Rtu, |_| answer).await.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let foreign = vec![9, 9, 0, 0, 0, 6, 3, 5, 2, 0, 2, 0x58];
        let error = asked(Framing::Tcp, |_| foreign).await.unwrap_err();
        assert!(matches!(error, BusError::WrongTransaction { expected: 7, got: 0x0909, .. }), "{error}");
    }
}
