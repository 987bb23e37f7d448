//! The P1 port: real telegrams at their period, to any number of TCP clients or to a pseudo-terminal.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_serial::SerialStream;
use tokio_util::sync::CancellationToken;

use super::fault::{MeterFault, TelegramFault};
use super::live::{Live, LiveClock};
use super::model::{House, Random};
use super::plan::{MeterPlan, Stamps};
use super::telegram::Sample;
use crate::clock;
use crate::quantity::{Mono, Span};

/// Telegrams that a slow client may be behind before it misses some.
const CLIENT_BACKLOG: usize = 8;

/// The meter behind the lock.
#[derive(Debug)]
pub(super) struct MeterState {
    plan: MeterPlan,
    random: Random,
    pub(super) fault: MeterFault,
    queue: VecDeque<TelegramFault>,
    held: Vec<u8>,
    still_to_hold: u32,
    frozen: Option<Vec<u8>>,
    /// Counters as they stood when the zeros began.
    stopped: Option<(f64, f64)>,
    last_stamp: i64,
    first_stamp: i64,
    pub(super) sent: u64,
    pub(super) readers: usize,
}

impl MeterState {
    pub(super) fn new(plan: MeterPlan, seed: u64) -> Self {
        Self {
            plan,
            random: Random::new(seed ^ 0x5031),
            fault: MeterFault::None,
            queue: VecDeque::new(),
            held: Vec::new(),
            still_to_hold: 0,
            frozen: None,
            stopped: None,
            last_stamp: 0,
            first_stamp: clock::wall_ms() / 1000,
            sent: 0,
            readers: 0,
        }
    }

    pub(super) fn set_fault(&mut self, fault: MeterFault) {
        self.fault = fault;
        self.stopped = None;
    }

    pub(super) fn queue(&mut self, fault: TelegramFault) {
        self.queue.push_back(fault);
    }

    pub(super) fn set_period(&mut self, period: Span, jitter: Span) {
        self.plan.period = period;
        self.plan.jitter = jitter;
    }

    /// When the sample after the one of `last` is due.
    fn next(&self, last: Mono) -> Mono {
        last + Span(self.plan.period.0.max(1))
    }

    fn jitter(&mut self) -> Span {
        self.random.span((Span::ZERO, self.plan.jitter))
    }

    fn stamp(&mut self, due: Mono) -> Option<i64> {
        let plain = self.first_stamp + due.0 / 1000;
        match self.plan.stamps {
            Stamps::Absent => None,
            Stamps::Plain => Some(plain),
            Stamps::Advancing => {
                self.last_stamp = plain.max(self.last_stamp + 1);
                Some(self.last_stamp)
            }
        }
    }

    fn sample(&mut self, house: &House, due: Mono) -> Sample {
        let (import, export) = house.counters();
        let mut sample = Sample {
            stamp: self.stamp(due),
            current: house.grid().0.map(Some),
            power: house.power().0.map(Some),
            voltage: house.voltage().0.map(Some),
            import,
            export,
            current_decimals: self.plan.current_decimals,
            totals_only: self.fault == MeterFault::TotalsOnly,
        };
        match self.fault {
            MeterFault::Zeros => {
                let (import, export) = *self.stopped.get_or_insert((import, export));
                let zeros = [Some(0.0); 3];
                sample = Sample { current: zeros, power: zeros, voltage: zeros, import, export, ..sample };
            }
            MeterFault::PhaseMissing(phase) => {
                sample.current[phase.index()] = None;
                sample.power[phase.index()] = None;
                sample.voltage[phase.index()] = None;
            }
            _ => {}
        }
        sample
    }

    /// The bytes of the sample that was due at `due`; empty for none.
    fn emit(&mut self, house: &House, due: Mono) -> Vec<u8> {
        let mut sample = self.sample(house, due);
        if matches!(self.fault, MeterFault::Silent | MeterFault::Unreachable) {
            return Vec::new();
        }
        if self.still_to_hold == 0
            && let Some(TelegramFault::HeldBack(count)) = self.queue.front()
        {
            self.still_to_hold = *count;
            self.queue.pop_front();
        }
        let once = if self.still_to_hold == 0 { self.queue.pop_front() } else { None };
        if let Some(TelegramFault::SignFlipped(phase)) = once {
            let at = phase.index();
            sample.power[at] = sample.power[at].map(|watts| -watts);
            sample.current[at] = sample.current[at].map(|amps| -amps);
        }
        let mut bytes = sample.encode();
        match once {
            Some(TelegramFault::WrongCrc) => spoil(&mut bytes),
            Some(TelegramFault::Oversized(length)) => {
                let mark = bytes.iter().rposition(|&byte| byte == b'!').unwrap_or(0);
                let tail = bytes.split_off(mark);
                bytes.extend(b"0-0:96.13.0(");
                bytes.extend(std::iter::repeat_n(b'3', length));
                bytes.extend(b")\r\n");
                bytes.extend(tail);
            }
            Some(TelegramFault::Bytes(instead)) => bytes = instead,
            _ => {}
        }
        match self.fault {
            MeterFault::Frozen => bytes = self.frozen.clone().unwrap_or(bytes),
            MeterFault::WrongCrc => spoil(&mut bytes),
            _ => self.frozen = Some(bytes.clone()),
        }
        self.sent += 1;
        if self.still_to_hold > 0 {
            self.held.extend(bytes);
            self.still_to_hold -= 1;
            return if self.still_to_hold == 0 { std::mem::take(&mut self.held) } else { Vec::new() };
        }
        bytes
    }
}

/// Another CRC than the right one.
fn spoil(telegram: &mut [u8]) {
    if let Some(mark) = telegram.iter().rposition(|&byte| byte == b'!')
        && let Some(digit) = telegram.get_mut(mark + 1)
    {
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
}

/// Takes samples at the period and hands the bytes to all who listen.
pub(super) async fn run(live: Arc<Live>, out: broadcast::Sender<Arc<[u8]>>, cancel: CancellationToken) {
    let mut last = live.clock.now();
    loop {
        let (due, jitter) = live.with(|state| (state.meter.next(last), state.meter.jitter()));
        if !sleep_until(&live.clock, due, &cancel, Some(&live)).await {
            if cancel.is_cancelled() {
                return;
            }
            // The period has changed: count it anew from the last sample.
            continue;
        }
        let bytes = live.with(|state| {
            let crate::simulator::live::State { house, meter, .. } = state;
            meter.emit(house, due)
        });
        // After a stall the missed telegrams are not made up for, and the others keep their times.
        let period = live.with(|state| state.meter.next(due)).since(due);
        last = due + period.times(live.clock.now().since(due).0 / period.0.max(1));
        if jitter > Span::ZERO && !sleep_until(&live.clock, due + jitter, &cancel, None).await {
            return;
        }
        if !bytes.is_empty() {
            // Nobody listens: the bytes are lost, as on a wire.
            let _ = out.send(bytes.into());
        }
    }
}

/// `false` when it was interrupted.
async fn sleep_until(clock: &LiveClock, due: Mono, cancel: &CancellationToken, live: Option<&Live>) -> bool {
    let disturbed = async {
        match live {
            Some(live) => live.meter_disturbed.notified().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = tokio::time::sleep_until(clock.instant(due).into()) => true,
        () = disturbed => false,
        () = cancel.cancelled() => false,
    }
}

/// Serves the telegrams over TCP.
pub(super) async fn serve_tcp(
    live: Arc<Live>,
    listener: TcpListener,
    out: broadcast::Sender<Arc<[u8]>>,
    cancel: CancellationToken,
) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = clients.join_next(), if !clients.is_empty() => continue,
            () = cancel.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        if live.with(|state| state.meter.fault) == MeterFault::Unreachable {
            let _ = stream.set_zero_linger();
            continue;
        }
        let (live, telegrams) = (Arc::clone(&live), out.subscribe());
        clients.spawn(async move {
            let mut epoch = live.readers_epoch.subscribe();
            live.with(|state| state.meter.readers += 1);
            let _counted = Counted(&live);
            tokio::select! {
                () = serve_client(stream, telegrams) => {}
                _ = epoch.changed() => {}
            }
        });
    }
}

/// One reader less when it goes, however it goes.
struct Counted<'a>(&'a Live);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.meter.readers -= 1);
    }
}

async fn serve_client(stream: TcpStream, mut telegrams: broadcast::Receiver<Arc<[u8]>>) {
    let _ = stream.set_nodelay(true);
    let (mut read, mut write) = stream.into_split();
    let sending = async {
        loop {
            match telegrams.recv().await {
                Ok(bytes) => {
                    if write.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    };
    let gone = async {
        // A meter hears nothing; reading only tells when the client has gone.
        let mut rubbish = [0; 64];
        while matches!(read.read(&mut rubbish).await, Ok(1..)) {}
    };
    tokio::select! {
        () = sending => {}
        () = gone => {}
    }
}

/// Serves the telegrams on a pseudo-terminal.
pub(super) async fn serve_pty(mut master: SerialStream, out: broadcast::Sender<Arc<[u8]>>, cancel: CancellationToken) {
    let mut telegrams = out.subscribe();
    loop {
        let bytes = tokio::select! {
            received = telegrams.recv() => match received {
                Ok(bytes) => bytes,
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            () = cancel.cancelled() => return,
        };
        // Reading fails while nobody has the far end open; a wire keeps nothing for a reader who comes later.
        let listened_to = match master.try_read(&mut [0; 64]) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if !listened_to {
            continue;
        }
        tokio::select! {
            // A reader who hangs costs a telegram, not the meter.
            _ = tokio::time::timeout(Duration::from_secs(5), master.write_all(&bytes)) => {}
            () = cancel.cancelled() => return,
        }
    }
}

/// Channel between the meter and those who carry its bytes.
pub(super) fn channel() -> broadcast::Sender<Arc<[u8]>> {
    broadcast::Sender::new(CLIENT_BACKLOG)
}
