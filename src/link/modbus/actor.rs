//! The task that owns the wire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::time::{Instant, sleep_until};

use super::error::BusError;
use super::operation::Operation;
use super::queue::{Answer, Next, Queue, Turn, Waiting};
use super::rest::Rests;
use super::stale::{Before, Stale};
use super::wire::{Link, Opener, Pace};
use super::{BusConfig, SharedStats};
use crate::link::Backoff;

/// Silence that ends an aborted exchange, at least.
const QUIET: Duration = Duration::from_millis(20);
/// A unit that was asked within this time takes part in the round.
const ROUND: Duration = Duration::from_secs(10);

/// Owns the wire. Nothing of it outlives a panic but the requests that it has not taken yet.
pub(super) struct Actor {
    config: BusConfig,
    name: Arc<str>,
    pace: Pace,
    requests: OwnedMutexGuard<mpsc::Receiver<Waiting>>,
    stats: SharedStats,
    queue: Queue,
    stale: BTreeMap<u8, Stale>,
    rests: Rests,
    opener: Opener,
    backoff: Backoff,
    opened_before: bool,
    /// Why there is no link, while the last attempt is a failed one.
    down: Option<Arc<str>>,
    last_attempt: Option<Instant>,
}

/// Why the task ends.
struct NobodyLeft;

impl Actor {
    pub(super) fn new(
        config: BusConfig,
        name: Arc<str>,
        requests: OwnedMutexGuard<mpsc::Receiver<Waiting>>,
        stats: SharedStats,
    ) -> Self {
        Self {
            pace: Pace::of(&config),
            backoff: Backoff::new(config.backoff_first, config.backoff_max),
            config,
            name,
            requests,
            stats,
            queue: Queue::default(),
            stale: BTreeMap::new(),
            rests: Rests::default(),
            opener: Opener::default(),
            opened_before: false,
            down: None,
            last_attempt: None,
        }
    }

    /// Runs until the last handle is gone; may be dropped at any time: the link dies with it.
    pub(super) async fn serve(mut self) {
        loop {
            let Ok(mut link) = self.connect().await else { return };
            let Ok(worked) = self.work(&mut link).await else { return };
            self.leave(link, worked).await;
        }
    }

    /// Opens the link, however long it takes.
    async fn connect(&mut self) -> Result<Link, NobodyLeft> {
        loop {
            if self.down.is_some() {
                self.wait_for_attempt().await?;
            }
            self.last_attempt = Some(Instant::now());
            match self.attempt().await? {
                Ok(link) => {
                    if self.opened_before {
                        self.stats.lock().counters.reconnects += 1;
                    }
                    self.opened_before = true;
                    self.down = None;
                    tracing::debug!(bus = %self.name, "Modbus link open");
                    return Ok(link);
                }
                Err(error) => {
                    self.stats.lock().counters.failed_opens += 1;
                    self.is_down(error.to_string());
                }
            }
        }
    }

    /// Between two attempts: everybody is told at once, and a set-point may hurry the next attempt.
    async fn wait_for_attempt(&mut self) -> Result<(), NobodyLeft> {
        let wait = Instant::now() + self.backoff.next();
        loop {
            let request = tokio::select! {
                () = sleep_until(wait) => return Ok(()),
                request = self.requests.recv() => request.ok_or(NobodyLeft)?,
            };
            let rested = self.last_attempt.is_none_or(|last| last.elapsed() >= self.config.hurry);
            if request.priority.is_safety() && rested {
                self.take(request);
                return Ok(());
            }
            self.refuse(request);
        }
    }

    /// One attempt. Who comes meanwhile waits for its outcome when it is the first, else only with a set-point.
    async fn attempt(&mut self) -> Result<std::io::Result<Link>, NobodyLeft> {
        let mut opener = std::mem::take(&mut self.opener);
        let config = self.config.clone();
        let opened = {
            let opening = opener.open(&config, self.pace);
            tokio::pin!(opening);
            loop {
                let expiry = self.queue.next_expiry(self.patience());
                tokio::select! {
                    opened = &mut opening => break opened,
                    request = self.requests.recv() => {
                        let request = request.ok_or(NobodyLeft)?;
                        if self.down.is_none() || request.priority.is_safety() {
                            self.take(request);
                        } else {
                            self.refuse(request);
                        }
                    }
                    () = until(expiry) => self.expire(),
                }
            }
        };
        self.opener = opener;
        Ok(opened)
    }

    /// Serves requests until the link must be left.
    async fn work(&mut self, link: &mut Link) -> Result<Left, NobodyLeft> {
        loop {
            while let Ok(request) = self.requests.try_recv() {
                self.take(request);
            }
            self.expire();
            let now = Instant::now();
            let next = {
                // A round, where that is long.
                let ages = self.patience() / 2;
                let stats = self.stats.lock();
                self.queue.next(now, ages, |request| Turn {
                    free_at: stats.free_at(request.unit, now).max(self.rests.free_at(
                        request.unit,
                        request.priority,
                        now,
                    )),
                    polled: stats.polled(request.unit),
                })
            };
            let wake = match next {
                Next::Now(request) => {
                    if let Some(left) = self.exchange(link, *request).await {
                        return Ok(left);
                    }
                    continue;
                }
                Next::Later(at) => Some(self.queue.next_expiry(self.patience()).map_or(at, |expiry| expiry.min(at))),
                Next::Empty => None,
            };
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => self.take(request),
                    None => return Err(NobodyLeft),
                },
                () = until(wake) => {}
            }
        }
    }

    /// One request from its turn to its answer. `Some`: the link must be left.
    async fn exchange(&mut self, link: &mut Link, request: Waiting) -> Option<Left> {
        let begun = Instant::now();
        if !link.settle(self.pace.gap).await {
            // Many devices close an idle connection: nobody needs to hear of it.
            self.queue.put_back(request);
            return Some(Left::Closed);
        }
        let Waiting { unit, limit, priority, .. } = request;
        let (answer, left) = self.guarded(link, &request).await;
        let now = Instant::now();
        let timed_out = answer.as_ref().is_err_and(BusError::is_silence);
        self.count(&answer, unit);
        self.discarded(link);
        self.rests.asked(unit);
        if timed_out {
            // What it costs to leave and to open again is not known yet; on a serial line it is about the quiet time.
            let cost = now.duration_since(begun) + self.quiet();
            let (others, round) = {
                let stats = self.stats.lock();
                (stats.others_within(unit, ROUND, now).collect(), stats.round(now))
            };
            self.rests.timed_out(unit, cost, others, round, now);
        } else if answer.as_ref().err().is_none_or(BusError::is_exception) {
            self.rests.answered(unit);
        }
        self.stats.lock().finished(unit, &request.operation, priority, now.duration_since(begun), now);
        if let Err(error) = &answer
            && !error.is_exception()
        {
            tracing::debug!(bus = %self.name, %error, ?limit, "Modbus exchange failed");
        }
        request.answer(answer);
        left
    }

    /// The exchange, with a read before it where its answer could be taken for a late one; behind it for a set-point.
    async fn guarded(&mut self, link: &mut Link, request: &Waiting) -> (Answer, Option<Left>) {
        let Waiting { unit, ref operation, limit, .. } = *request;
        let stale = self.stale.entry(unit).or_default();
        stale.expire(Instant::now(), self.config.late_answers);
        match stale.before(operation) {
            Before::Send => {}
            Before::Ask(_) | Before::Wait if request.priority.is_safety() && operation.writes_one_register() => {
                return self.guarded_behind(link, unit, operation, limit).await;
            }
            Before::Wait => return (Err(BusError::Ambiguous { asked: operation.of(unit) }), None),
            Before::Ask(guard) => {
                if let Err((error, left)) = self.guard(link, unit, &guard, limit).await {
                    return (Err(error), left);
                }
                if !link.settle(self.pace.gap).await {
                    return (Err(closed_before(operation, unit)), Some(Left::Suspect));
                }
            }
        }
        self.single(link, unit, operation, limit).await
    }

    /// A set-point waits for nothing: it is sent first, and what confirms it is believed the next time, when a read
    /// behind it has brought all that was late.
    async fn guarded_behind(
        &mut self,
        link: &mut Link,
        unit: u8,
        operation: &Operation,
        limit: Duration,
    ) -> (Answer, Option<Left>) {
        let (answer, left) = self.single(link, unit, operation, limit).await;
        if answer.is_err() {
            return (answer, left);
        }
        let ambiguous = Err(BusError::Ambiguous { asked: operation.of(unit) });
        let stale = self.stale.entry(unit).or_default();
        // Its own confirmation may be the one that is still to come.
        stale.note(operation, Instant::now());
        let Before::Ask(guard) = stale.before(operation) else { return (ambiguous, None) };
        if !link.settle(self.pace.gap).await {
            return (ambiguous, Some(Left::Suspect));
        }
        let left = self.guard(link, unit, &guard, limit).await.err().and_then(|(_, left)| left);
        (ambiguous, left)
    }

    /// A read whose answer can be told from all that is late: with it, everything late has come.
    async fn guard(
        &mut self,
        link: &mut Link,
        unit: u8,
        guard: &Operation,
        limit: Duration,
    ) -> Result<(), (BusError, Option<Left>)> {
        self.stats.lock().counters.guard_reads += 1;
        match self.single(link, unit, guard, limit).await {
            // A refusal is an answer as well, and `single` has doubted it where it had to. A gateway's word is none.
            (Err(error), left) if !error.is_exception() || error.is_of_gateway() => Err((error, left)),
            _ => Ok(()),
        }
    }

    /// One request on the wire and what its answer says about those before it.
    async fn single(
        &mut self,
        link: &mut Link,
        unit: u8,
        operation: &Operation,
        limit: Duration,
    ) -> (Answer, Option<Left>) {
        let limit = self.limit(unit, operation, limit);
        let stale = self.stale.entry(unit).or_default();
        let (doubts_answer, doubts_exception) = (stale.doubts_answer(operation), stale.doubts_exception(operation));
        let transfer = self.pace.transfer(operation);
        self.stats.lock().counters.requests += 1;
        let sent = Instant::now();
        let mut answer = link.exchange(unit, operation, limit).await;
        let took = sent.elapsed();
        let stale = self.stale.entry(unit).or_default();
        if doubts_exception && matches!(&answer, Err(error) if error.is_exception()) {
            answer = Err(BusError::Ambiguous { asked: operation.of(unit) });
        }
        match &answer {
            Ok(_) if doubts_answer => {}
            Ok(_) => stale.clear(),
            // The unit has said nothing: its answers may still come, and the gateway may mix them up.
            Err(error) if error.is_of_gateway() => stale.note(operation, Instant::now()),
            Err(BusError::Exception { .. }) => stale.clear(),
            Err(_) => {
                stale.note(operation, Instant::now());
                return (answer, Some(Left::Suspect));
            }
        }
        self.backoff.reset();
        self.stats.lock().answered(unit, took.saturating_sub(transfer));
        (answer, None)
    }

    /// The time that an answer is given. A write is given what the caller says: boxes that store a value take longer.
    fn limit(&self, unit: u8, operation: &Operation, asked: Duration) -> Duration {
        if self.pace.character.is_zero() || operation.is_write() {
            return asked;
        }
        let turn = match self.stats.lock().slowest_if_well(unit) {
            Some(slowest) => (slowest * 2).max(self.config.shortest_turn).min(self.config.longest_turn),
            None => self.config.longest_turn,
        };
        asked.min(self.pace.transfer(operation) + turn)
    }

    /// How long a request may wait for its turn. Everybody's comes once per round.
    fn patience(&self) -> Duration {
        self.config.patience.max(self.stats.lock().round(Instant::now()) * 2)
    }

    fn quiet(&self) -> Duration {
        self.pace.gap.max(QUIET)
    }

    /// Drops the link so that nothing late is left in it.
    async fn leave(&mut self, link: Link, left: Left) {
        let worked = link.answers > 0;
        self.stats.lock().counters.discarded_bytes += link.leave(self.quiet()).await as u64;
        match left {
            Left::Closed if !worked => {
                self.is_down("the other side closes the connection without an answer".to_owned())
            }
            Left::Closed | Left::Suspect => {}
        }
    }

    fn is_down(&mut self, why: String) {
        tracing::debug!(bus = %self.name, %why, "no Modbus link");
        self.down = Some(why.into());
        let error = self.not_connected();
        let failed = self.queue.fail_all(&error);
        self.stats.lock().counters.unconnected += failed;
    }

    fn not_connected(&self) -> BusError {
        let why = self.down.clone().unwrap_or_else(|| "the first attempt is under way".into());
        BusError::NotConnected { link: Arc::clone(&self.name), why }
    }

    fn refuse(&mut self, request: Waiting) {
        self.stats.lock().counters.unconnected += 1;
        let error = self.not_connected();
        request.answer(Err(error));
    }

    fn take(&mut self, request: Waiting) {
        let superseded = self.queue.push(request);
        self.stats.lock().counters.superseded += superseded;
    }

    fn expire(&mut self) {
        let expired = self.queue.expire(Instant::now(), self.patience());
        self.stats.lock().counters.expired += expired;
    }

    fn count(&self, answer: &Answer, unit: u8) {
        let mut stats = self.stats.lock();
        match answer {
            Ok(_) => stats.counters.answers += 1,
            Err(BusError::Exception { .. }) => stats.counters.exceptions += 1,
            Err(BusError::Timeout { .. }) => {
                stats.counters.timeouts += 1;
                stats.failed(unit);
            }
            Err(_) => {
                stats.counters.bad_answers += 1;
                stats.failed(unit);
            }
        }
    }

    fn discarded(&self, link: &mut Link) {
        self.stats.lock().counters.discarded_bytes += std::mem::take(&mut link.discarded) as u64;
    }
}

/// Why a link is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It was closed before anything was sent: nobody hears of it, so nobody's pace bounds how often that happens.
    Closed,
    /// Something wrong or nothing came over it.
    Suspect,
}

fn closed_before(operation: &Operation, unit: u8) -> BusError {
    BusError::Broken {
        asked: operation.of(unit),
        why: "closed by the other side before it was sent".to_owned(),
        received: String::new(),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
