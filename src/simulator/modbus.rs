//! The chargers' Modbus servers: TCP, RTU over TCP, and RTU on a pseudo-terminal, several units on one bus.
//!
//! The framing is written here on purpose, not taken from the library that the appliance's client uses: a mistake
//! that both ends share would be seen by no test, and faults act on single bytes of an answer.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_serial::SerialStream;
use tokio_util::sync::CancellationToken;

use super::fault::ChargerFault;
use super::live::{Live, State};
use super::model::{Charger, Exception};
use super::view::Request;
use crate::quantity::Span;

const READ_HOLDING: u8 = 3;
const READ_INPUT: u8 = 4;
const WRITE_ONE: u8 = 6;
const WRITE_MANY: u8 = 16;
/// Registers of one read, Modbus application protocol 1.1b3.
const MOST_READ: u16 = 125;
/// Registers of one write.
const MOST_WRITTEN: u16 = 123;
/// A pause that ends a broken RTU frame; generous, because a pseudo-terminal knows no bit times.
const FRAME_END: Duration = Duration::from_millis(50);
/// Largest RTU frame.
const LARGEST_FRAME: usize = 256;

/// How requests are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Header with transaction, length and unit.
    Tcp,
    /// Unit in front, CRC behind.
    Rtu,
}

/// CRC-16/MODBUS, low byte first on the wire: polynomial x16 + x15 + x2 + 1 reflected, start 0xFFFF.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
    })
}

/// Accepts masters until cancelled.
pub(super) async fn serve_tcp(
    live: Arc<Live>,
    bus: usize,
    listener: TcpListener,
    framing: Framing,
    cancel: CancellationToken,
) {
    let mut masters = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = masters.join_next(), if !masters.is_empty() => continue,
            () = cancel.cancelled() => return,
        };
        let Ok((mut stream, _)) = accepted else { continue };
        // Ends in a reset, not in an orderly close: what a box does that loses its supply.
        let _ = stream.set_zero_linger();
        if live.bus_unreachable(bus) {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let live = Arc::clone(&live);
        masters.spawn(async move {
            let mut epoch = live.masters_epoch[bus].subscribe();
            tokio::select! {
                _ = serve(&live, bus, &mut stream, framing) => {}
                _ = epoch.changed() => {}
            }
        });
    }
}

/// Serves RTU on a pseudo-terminal.
pub(super) async fn serve_pty(live: Arc<Live>, bus: usize, mut master: SerialStream, cancel: CancellationToken) {
    let serving = async {
        loop {
            // An error means that nobody has the far end open.
            let _ = serve(&live, bus, &mut master, Framing::Rtu).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = serving => {}
        () = cancel.cancelled() => {}
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    live: &Live,
    bus: usize,
    stream: &mut S,
    framing: Framing,
) -> io::Result<()> {
    loop {
        let frame = match framing {
            Framing::Tcp => read_tcp(stream).await?,
            Framing::Rtu => read_rtu(stream).await?,
        };
        let answer = live.with(|state| answer(state, bus, &frame, Instant::now()));
        let Some(Answer { unit, pdu, delay, rubbish }) = answer else { continue };
        if delay > Span::ZERO {
            tokio::time::sleep(live.clock.real(delay)).await;
        }
        let mut bytes = Vec::with_capacity(pdu.len() + 7);
        match framing {
            Framing::Tcp => {
                bytes.extend(frame.transaction.to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend((pdu.len() as u16 + 1).to_be_bytes());
                bytes.push(unit);
                bytes.extend(&pdu);
            }
            Framing::Rtu => {
                bytes.push(unit);
                bytes.extend(&pdu);
                bytes.extend(crc(&bytes).to_le_bytes());
            }
        }
        if rubbish {
            bytes.iter_mut().for_each(|byte| *byte ^= 0x5A);
        }
        stream.write_all(&bytes).await?;
        stream.flush().await?;
    }
}

/// A request whose frame is right.
#[derive(Debug)]
struct Frame {
    transaction: u16,
    unit: u8,
    /// Function code and what follows.
    pdu: Vec<u8>,
    broadcast: bool,
}

async fn read_tcp(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut header = [0; 7];
    stream.read_exact(&mut header).await?;
    let [t1, t2, p1, p2, l1, l2, unit] = header;
    let length = usize::from(u16::from_be_bytes([l1, l2]));
    if (p1, p2) != (0, 0) || !(2..=254).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a Modbus TCP header"));
    }
    let mut pdu = vec![0; length - 1];
    stream.read_exact(&mut pdu).await?;
    Ok(Frame { transaction: u16::from_be_bytes([t1, t2]), unit, pdu, broadcast: false })
}

async fn read_rtu(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut frame: Vec<u8> = Vec::with_capacity(LARGEST_FRAME);
    loop {
        let mut chunk = [0; LARGEST_FRAME];
        let reading = stream.read(&mut chunk);
        let count = if frame.is_empty() {
            reading.await?
        } else {
            match tokio::time::timeout(FRAME_END, reading).await {
                Ok(count) => count?,
                // Whatever it was, it is over.
                Err(_) => {
                    frame.clear();
                    continue;
                }
            }
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        frame.extend(&chunk[..count]);
        let complete = expected_length(&frame).is_some_and(|length| frame.len() >= length);
        let right = frame.len() >= 4 && {
            let (content, given) = frame.split_at(frame.len() - 2);
            crc(content).to_le_bytes() == given
        };
        if right {
            let pdu = frame[1..frame.len() - 2].to_vec();
            return Ok(Frame { transaction: 0, unit: frame[0], pdu, broadcast: frame[0] == 0 });
        }
        if complete || frame.len() > LARGEST_FRAME {
            frame.clear();
        }
    }
}

/// Length of an RTU request as far as its beginning tells.
fn expected_length(frame: &[u8]) -> Option<usize> {
    match *frame.get(1)? {
        1..=6 => Some(8),
        15 | WRITE_MANY => frame.get(6).map(|&bytes| 9 + usize::from(bytes)),
        _ => None,
    }
}

/// What goes back.
#[derive(Debug)]
struct Answer {
    unit: u8,
    pdu: Vec<u8>,
    delay: Span,
    rubbish: bool,
}

fn answer(state: &mut State, bus: usize, frame: &Frame, instant: Instant) -> Option<Answer> {
    if frame.broadcast {
        for charger in state.all_on_bus(bus) {
            execute(state, charger, frame, instant, false);
        }
        return None;
    }
    // Other units are other boxes: on the wire nobody answers for them.
    let charger = state.on_bus(bus, frame.unit)?;
    let fault = state.charger_fault(charger);
    let hears = fault != ChargerFault::BothDead && state.house.chargers()[charger].awake();
    if !hears {
        note(state, charger, frame, instant, false);
        return None;
    }
    let answers = fault != ChargerFault::ReturnDead;
    let pdu = execute(state, charger, frame, instant, answers);
    let mut answer = Answer { unit: frame.unit, pdu, delay: Span::ZERO, rubbish: false };
    match fault {
        ChargerFault::ReturnDead => return None,
        ChargerFault::WrongLength => shorten(&mut answer.pdu),
        ChargerFault::WrongUnit => answer.unit = answer.unit.wrapping_add(1),
        ChargerFault::Rubbish => answer.rubbish = true,
        ChargerFault::Exception(code) => answer.pdu = vec![function(frame) | 0x80, code],
        ChargerFault::Delayed(delay) => answer.delay = delay,
        ChargerFault::None | ChargerFault::BothDead | ChargerFault::Unreachable => {}
    }
    Some(answer)
}

fn function(frame: &Frame) -> u8 {
    frame.pdu.first().copied().unwrap_or(0)
}

/// A well-formed answer to another question.
fn shorten(pdu: &mut Vec<u8>) {
    match pdu.as_mut_slice() {
        [READ_HOLDING | READ_INPUT, bytes, ..] if *bytes > 2 => {
            *bytes -= 2;
            pdu.truncate(pdu.len() - 2);
        }
        [READ_HOLDING | READ_INPUT, bytes, ..] => {
            *bytes += 2;
            pdu.extend([0, 0]);
        }
        [WRITE_ONE | WRITE_MANY, .., last] => *last = last.wrapping_add(1),
        _ => {}
    }
}

/// The request taken apart; an error is the exception that answers it.
#[derive(Debug)]
enum Wanted {
    Read { first: u16, count: u16 },
    Write { first: u16, words: Vec<u16> },
}

fn parse(pdu: &[u8]) -> Result<Wanted, Exception> {
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    match *pdu {
        [READ_HOLDING | READ_INPUT, a, b, c, d] => {
            let count = word(c, d);
            if (1..=MOST_READ).contains(&count) {
                Ok(Wanted::Read { first: word(a, b), count })
            } else {
                Err(Exception::IllegalDataValue)
            }
        }
        [WRITE_ONE, a, b, c, d] => Ok(Wanted::Write { first: word(a, b), words: vec![word(c, d)] }),
        [WRITE_MANY, a, b, c, d, bytes, ref content @ ..] => {
            let count = word(c, d);
            let fits = usize::from(bytes) == content.len() && content.len() == 2 * usize::from(count);
            if !fits || !(1..=MOST_WRITTEN).contains(&count) {
                return Err(Exception::IllegalDataValue);
            }
            let words = content.chunks_exact(2).map(|pair| word(pair[0], pair[1])).collect();
            Ok(Wanted::Write { first: word(a, b), words })
        }
        [READ_HOLDING | READ_INPUT | WRITE_ONE | WRITE_MANY, ..] => Err(Exception::IllegalDataValue),
        _ => Err(Exception::IllegalFunction),
    }
}

fn note(state: &mut State, charger: usize, frame: &Frame, instant: Instant, answered: bool) {
    let (register, count, words) = match parse(&frame.pdu) {
        Ok(Wanted::Read { first, count }) => (first, count, Vec::new()),
        Ok(Wanted::Write { first, words }) => (first, 0, words),
        Err(_) => (0, 0, Vec::new()),
    };
    let function = function(frame);
    state.note_request(charger, Request { instant, unit: frame.unit, function, register, count, words, answered });
}

/// Does what is asked and gives the right answer's function code and content.
fn execute(state: &mut State, index: usize, frame: &Frame, instant: Instant, answered: bool) -> Vec<u8> {
    note(state, index, frame, instant, answered);
    let now = state.house.now();
    let function = function(frame);
    let wanted = parse(&frame.pdu);
    let Some(charger) = state.house.charger_mut(index) else { return Vec::new() };
    // A valid telegram is one whose frame is right, whatever it asks for.
    charger.feed(now);
    let done = wanted.and_then(|wanted| match wanted {
        Wanted::Read { first, count } => {
            let words = charger.read(now, first, count)?;
            let mut pdu = vec![function, (2 * words.len()) as u8];
            pdu.extend(words.into_iter().flat_map(u16::to_be_bytes));
            Ok((pdu, None))
        }
        Wanted::Write { first, words } => {
            charger.write(first, &words)?;
            let set_point = writes_set_point(charger, first, words.len()).then(|| charger.set_point());
            // Both functions echo four bytes: register and value, or register and count.
            Ok((frame.pdu[..5].to_vec(), set_point))
        }
    });
    match done {
        Ok((pdu, set_point)) => {
            if let Some(offer) = set_point {
                state.note_set_point(index, offer, instant);
            }
            pdu
        }
        Err(exception) => vec![function | 0x80, exception.code()],
    }
}

fn writes_set_point(charger: &Charger, first: u16, count: usize) -> bool {
    let register = charger.set_point_register();
    first <= register && usize::from(register - first) < count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_that_of_the_catalogue() {
        assert_eq!(crc(b"123456789"), 0x4B37);
    }

    #[tokio::test]
    async fn rtu_frames_are_found_in_pieces_and_behind_rubbish() {
        let (mut client, mut server) = tokio::io::duplex(256);
        let request = [0x01, 0x03, 0x03, 0xE8, 0x00, 0x03];
        let whole: Vec<u8> = request.into_iter().chain(crc(&request).to_le_bytes()).collect();
        let writer = {
            let whole = whole.clone();
            tokio::spawn(async move {
                client.write_all(&[0x55; 9]).await.unwrap();
                tokio::time::sleep(2 * FRAME_END).await;
                client.write_all(&whole[..3]).await.unwrap();
                tokio::task::yield_now().await;
                client.write_all(&whole[3..]).await.unwrap();
                client
            })
        };
        let frame = read_rtu(&mut server).await.unwrap();
        assert_eq!((frame.unit, frame.pdu.as_slice(), frame.broadcast), (1, &request[1..], false));
        drop(writer.await.unwrap());
        assert_eq!(read_rtu(&mut server).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn requests_out_of_bounds_become_exceptions() {
        for (pdu, exception) in [
            (&[3_u8, 0, 0, 0, 0][..], Exception::IllegalDataValue),
            (&[3, 0, 0, 0, 126], Exception::IllegalDataValue),
            (&[3, 0, 0, 0], Exception::IllegalDataValue),
            (&[16, 0, 15, 0, 2, 2, 0, 6], Exception::IllegalDataValue),
            (&[16, 0, 15, 0, 0, 0], Exception::IllegalDataValue),
            (&[43, 14, 1, 0], Exception::IllegalFunction),
            (&[], Exception::IllegalFunction),
        ] {
            assert_eq!(parse(pdu).unwrap_err(), exception, "{pdu:?}");
        }
    }
}
