//! One connection: CONNECT, then one loop that reads and one that writes, so that neither waits for the other.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt5_protocol::packet::connack::ConnAckPacket;
use mqtt5_protocol::packet::connect::ConnectPacket;
use mqtt5_protocol::packet::disconnect::DisconnectPacket;
use mqtt5_protocol::{Packet, PropertyId, ReasonCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, sink};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{timeout, timeout_at};

use super::message::Message;
use super::peer::Peer;
use super::router::{Hello, Seat, Welcome};
use super::session::{Line, Will};
use super::wire::{End, Frame, encode, is_topic, seconds};
use super::{
    CONNECT_PATIENCE, CROWD_PATIENCE, LONGEST_SESSION, MAX_CLIENT_ID, MAX_PACKET, MAX_TOPIC, RECEIVE_MAXIMUM, Shared,
    WRITE_PATIENCE,
};

/// Answers that wait to be written; whoever reads waits then.
const ANSWERS: usize = 32;
/// After the end: until the other side has closed, so that what it was told last is not lost to a reset.
const LINGER: Duration = Duration::from_millis(500);

/// What was read at a stretch. All of a burst may be there already, and would be routed past the bounds of every queue
/// before anybody could write.
#[derive(Default)]
struct Stretch {
    packets: usize,
    bytes: usize,
}

impl Stretch {
    /// `true`: it was enough, and the next begins.
    fn add(&mut self, bytes: usize) -> bool {
        (self.packets, self.bytes) = (self.packets + 1, self.bytes + bytes);
        let enough = self.packets >= 32 || self.bytes >= 64 * 1024;
        if enough {
            *self = Self::default();
        }
        enough
    }
}

/// Serves a connection until it ends. `stay` is closed as soon as its client has said who it is; until then its other
/// end tells the connection to make room for others.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(stream: S, shared: Arc<Shared>, stay: oneshot::Receiver<()>) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let opened = tokio::select! {
        biased;
        opened = timeout(CONNECT_PATIENCE, open(&mut reader, &shared)) => opened,
        // At once: to linger would keep the room.
        _ = stay => {
            let mut router = shared.router();
            router.counters.refused += 1;
            router.counters.newest = "too many connections that do not say who they are".to_owned();
            return;
        }
        () = shared.cancel.cancelled() => return,
    };
    let refused = match opened {
        Ok(Ok((connect, welcome))) => {
            let place = Place { shared: &shared, seat: welcome.seat.clone(), orderly: false };
            run(connect, welcome, &mut reader, &mut writer, place).await;
            None
        }
        Ok(Err(refused)) => Some(refused),
        Err(_) => Some((None, End::protocol("no CONNECT came in time"))),
    };
    if let Some((version, end)) = refused {
        tracing::debug!("the built-in broker refuses a connection: {end}");
        shared.router().counters.note(&end, end.why.clone());
        if let Some(answer) = version.and_then(|it| refusal(it, &end)) {
            let _ = timeout(WRITE_PATIENCE, writer.write_all(&answer)).await;
        }
    }
    let _ = timeout(LINGER, writer.shutdown()).await;
    let mut rest = reader.take(MAX_PACKET as u64);
    let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut sink())).await;
}

/// The CONNACK of a refusal. What was no CONNECT, or none that a client with 3.1.1 could have meant, gets no answer.
fn refusal(version: u8, end: &End) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let packet = match (version, end.reason) {
        (0..=4, ReasonCode::MalformedPacket | ReasonCode::ProtocolError | ReasonCode::TopicNameInvalid) => return None,
        (0..=4, ReasonCode::PacketTooLarge | ReasonCode::BadAuthenticationMethod) => return None,
        (0..=4, reason) => ConnAckPacket::new_v311(false, reason),
        (_, reason) => ConnAckPacket::new(false, reason).with_reason_string(end.why.clone()),
    };
    encode(&packet, &mut out).ok().map(|()| out)
}

type Refused = (Option<u8>, End);

/// Reads CONNECT, checks it and seats the client.
async fn open(reader: &mut (impl AsyncRead + Unpin), shared: &Shared) -> Result<(ConnectPacket, Welcome), Refused> {
    let frame = Frame::read_connect(reader).await.map_err(|end| (None, end))?;
    let version = frame.version();
    let refuse = |end| (version, end);
    if let Some(level) = version.filter(|it| !matches!(it, 4 | 5)) {
        let why = format!("protocol level {level}, neither 4 (3.1.1) nor 5");
        // Mosquitto's bridges set the highest bit, and try again without.
        return Err((Some(level & 0x7F), End::new(ReasonCode::UnsupportedProtocolVersion, why)));
    }
    let packet = frame.decode(version.unwrap_or(4)).map_err(refuse)?;
    let Packet::Connect(connect) = packet else {
        return Err((None, End::protocol(format!("a {} before CONNECT", packet.packet_type_name()))));
    };
    let welcome = admit(&connect, shared).map_err(refuse)?;
    Ok((*connect, welcome))
}

fn admit(connect: &ConnectPacket, shared: &Shared) -> Result<Welcome, End> {
    let refuse = |reason, why: &str| Err(End::new(reason, why));
    if shared.login.as_ref().is_some_and(|it| !it.admits(connect)) {
        return refuse(ReasonCode::BadUsernameOrPassword, "a wrong user name or password");
    }
    if connect.properties.contains(PropertyId::AuthenticationMethod) {
        return refuse(ReasonCode::BadAuthenticationMethod, "there is no authentication but by user name and password");
    }
    if connect.properties.contains(PropertyId::AuthenticationData) {
        return refuse(ReasonCode::ProtocolError, "authentication data without a method");
    }
    let nameless = connect.client_id.is_empty() && connect.protocol_version < 5 && !connect.clean_start;
    if nameless || connect.client_id.len() > MAX_CLIENT_ID {
        return refuse(ReasonCode::ClientIdentifierNotValid, "an identifier that is missing or too long");
    }
    let will = match &connect.will {
        Some(will) if !is_topic(&will.topic, MAX_TOPIC) => {
            return refuse(ReasonCode::TopicNameInvalid, "a last will for no valid topic");
        }
        Some(will) => {
            let (payload, way) = (will.payload.clone(), (will.qos, will.retain));
            let message = Message::new(will.topic.clone(), payload, way, &connect.will_properties)?;
            let delay = seconds(will.properties.will_delay_interval.unwrap_or_default());
            Some(Will { message, delay })
        }
        None => None,
    };
    let properties = &connect.properties;
    let hello = Hello {
        client: connect.client_id.clone(),
        clean: connect.clean_start,
        expiry: expiry(connect),
        will,
        version: connect.protocol_version,
        window: properties.get_receive_maximum().map_or(usize::from(u16::MAX), usize::from),
        largest: properties.get_maximum_packet_size().map_or(usize::MAX, |it| it as usize),
    };
    shared.router().connect(hello, Instant::now())
}

/// How long the session may outlive the connection. Of 3.1.1 that is without end, of 5 with `u32::MAX`.
fn expiry(connect: &ConnectPacket) -> Duration {
    match connect.protocol_version {
        5 => connect.properties.get_session_expiry_interval().map_or(Duration::ZERO, seconds),
        _ if connect.clean_start => Duration::ZERO,
        _ => Duration::MAX,
    }
}

/// Gives the seat back however the connection ends, also by unwinding.
struct Place<'a> {
    shared: &'a Shared,
    seat: Seat,
    orderly: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.router().leave(&self.seat, self.orderly, Instant::now());
    }
}

async fn run(
    connect: ConnectPacket,
    welcome: Welcome,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    mut place: Place<'_>,
) {
    let Welcome { seat, line, present } = welcome;
    let (client, version) = (seat.client.clone(), connect.protocol_version);
    let (answers, waiting) = mpsc::channel(ANSWERS);
    let idle = Some(connect.keep_alive).filter(|it| *it > 0).map(|it| seconds(u32::from(it)) * 3 / 2);
    let mut first = Vec::new();
    if encode(&connack(&connect, &client, present), &mut first).is_err() || answers.try_send(first).is_err() {
        return;
    }
    let peer = Peer { shared: place.shared, seat, version, kept: !expiry(&connect).is_zero() };
    // With its will and its password.
    drop(connect);
    let ended = {
        let mut writing = pin!(write(writer, &line, waiting, &peer));
        let ended = tokio::select! {
            ended = read(reader, idle, &answers, &peer) => Some(ended),
            () = &mut writing => None,
            () = peer.shared.cancel.cancelled() => {
                Some(Err(End::new(ReasonCode::ServerShuttingDown, "the built-in broker ends")))
            }
        };
        if let Some(ended) = &ended {
            let goodbye = || End::new(ReasonCode::Success, "its client said goodbye");
            line.close(ended.as_ref().err().cloned().unwrap_or_else(goodbye));
            let _ = timeout(WRITE_PATIENCE, writing).await;
        }
        ended
    };
    place.orderly = matches!(ended, Some(Ok(true)));
    if let Some(end) = line.end() {
        tracing::debug!("the built-in broker ends the connection of {client:?}: {end}");
        peer.shared.router().counters.note(end, format!("{client:?}: {end}"));
    }
}

fn connack(connect: &ConnectPacket, client: &str, present: bool) -> ConnAckPacket {
    if connect.protocol_version < 5 {
        return ConnAckPacket::new_v311(present, ReasonCode::Success);
    }
    let mut packet = ConnAckPacket::new(present, ReasonCode::Success)
        .with_receive_maximum(RECEIVE_MAXIMUM)
        .with_maximum_packet_size(u32::try_from(MAX_PACKET).unwrap_or(u32::MAX))
        .with_shared_subscription_available(false);
    if expiry(connect) > LONGEST_SESSION {
        packet = packet.with_session_expiry_interval(u32::try_from(LONGEST_SESSION.as_secs()).unwrap_or(u32::MAX));
    }
    if connect.client_id.is_empty() { packet.with_assigned_client_id(client.to_owned()) } else { packet }
}

/// Writes answers, then what the router has; ends when the line is closed, or the client does not read.
async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    line: &Line,
    mut answers: mpsc::Receiver<Vec<u8>>,
    peer: &Peer<'_>,
) {
    let mut out = Vec::new();
    loop {
        while let Ok(mut answer) = answers.try_recv() {
            out.append(&mut answer);
        }
        let last = line.end().cloned();
        match &last {
            Some(end)
                if peer.version == 5 && !matches!(end.reason, ReasonCode::Success | ReasonCode::UnspecifiedError) =>
            {
                let packet = DisconnectPacket::new(end.reason);
                let _ = encode(&packet, &mut out);
            }
            Some(_) => {}
            None => {
                let filled = peer.shared.router().fill(&peer.seat, Instant::now(), &mut out);
                peer.shared.relief.notify_waiters();
                if let Err(end) = filled {
                    line.close(end);
                    continue;
                }
            }
        }
        if !out.is_empty() {
            if let Err(end) = hand_over(stream, line, &out).await {
                return line.close(end);
            }
            out.clear();
            // A burst must not leave its memory behind.
            out.shrink_to(4096);
        } else if last.is_none() {
            tokio::select! {
                Some(mut answer) = answers.recv() => out.append(&mut answer),
                () = line.wake.notified() => {}
            }
        }
        if last.is_some() {
            return;
        }
    }
}

/// Writes all, however long it takes, as long as the client takes some of it. Once the line is closed there is no more
/// time for the rest than for one piece.
async fn hand_over(stream: &mut (impl AsyncWrite + Unpin), line: &Line, mut rest: &[u8]) -> Result<(), End> {
    let mut last = None;
    while !rest.is_empty() {
        let soon = tokio::time::Instant::now() + WRITE_PATIENCE;
        if line.end().is_some() {
            last.get_or_insert(soon);
        }
        let slow = |_| {
            let why = format!("it took nothing for {} s", WRITE_PATIENCE.as_secs());
            End::new(ReasonCode::QuotaExceeded, why)
        };
        let taken = timeout_at(last.unwrap_or(soon), stream.write(rest)).await.map_err(slow)??;
        if taken == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
        }
        rest = &rest[taken..];
    }
    Ok(())
}

/// Gives a subscriber with a long queue a moment. One that takes nothing is not waited for again, until it has taken
/// something.
async fn ease(peer: &Peer<'_>) {
    let relieved = async {
        loop {
            let relief = peer.shared.relief.notified();
            if !peer.shared.router().is_crowded(&peer.seat, Instant::now()) {
                return;
            }
            relief.await;
        }
    };
    let _ = timeout(CROWD_PATIENCE, relieved).await;
}

/// Reads until the client disconnects (`true`: without its will) or something is wrong.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    idle: Option<Duration>,
    answers: &mpsc::Sender<Vec<u8>>,
    peer: &Peer<'_>,
) -> Result<bool, End> {
    let (mut read, mut routed) = (Stretch::default(), Stretch::default());
    loop {
        let frame = Frame::read(stream, idle).await?;
        let packet = frame.decode(peer.version)?;
        let pause = read.add(frame.size());
        // Not of acknowledgements: others wait for those.
        let crowds = matches!(packet, Packet::Publish(_)) && routed.add(frame.size());
        drop(frame);
        let mut answer = Vec::new();
        let goodbye = peer.take(packet, Instant::now(), &mut answer)?;
        // The other end of the channel lives as long as this loop is polled.
        if !answer.is_empty() && answers.send(answer).await.is_err() {
            return Ok(false);
        }
        if let Some(orderly) = goodbye {
            return Ok(orderly);
        }
        if pause || crowds {
            yield_now().await;
        }
        if crowds {
            ease(peer).await;
        }
    }
}
