//! The rules that need no wire. Those on real ones are in tests/modbus_bus.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_modbus::Response;

use super::error::{BusError, Mismatch, hex};
use super::operation::{Operation, Priority, Reply};
use super::queue::{Answer, Next, Queue, Turn, Waiting};
use super::rest::Rests;
use super::stale::{Before, Stale};
use super::stats::Stats;
use super::wire::Pace;
use super::{Bus, BusConfig};
use crate::config::model::{Connection, Parity, SerialLine};

fn operations() -> impl Strategy<Value = Operation> {
    let address = 0..=60u16;
    prop_oneof![
        (address.clone(), 1..=40u16).prop_map(|(address, count)| Operation::ReadCoils { address, count }),
        (address.clone(), 1..=40u16).prop_map(|(address, count)| Operation::ReadDiscrete { address, count }),
        (address.clone(), 1..=12u16).prop_map(|(address, count)| Operation::ReadHolding { address, count }),
        (address.clone(), 1..=12u16).prop_map(|(address, count)| Operation::ReadInput { address, count }),
        (address.clone(), any::<bool>()).prop_map(|(address, on)| Operation::WriteCoil { address, on }),
        (14..=16u16, 0..=3u16).prop_map(|(address, value)| Operation::WriteSingle { address, value }),
        (14..=16u16, prop::collection::vec(0..=1u16, 1..=3))
            .prop_map(|(address, values)| Operation::WriteMultiple { address, values }),
    ]
}

fn responses() -> impl Strategy<Value = Response> {
    let bits = || prop::collection::vec(any::<bool>(), 0..=48);
    let registers = || prop::collection::vec(any::<u16>(), 0..=14);
    prop_oneof![
        bits().prop_map(Response::ReadCoils),
        bits().prop_map(Response::ReadDiscreteInputs),
        registers().prop_map(Response::ReadHoldingRegisters),
        registers().prop_map(Response::ReadInputRegisters),
        (0..=60u16, any::<bool>()).prop_map(|(address, on)| Response::WriteSingleCoil(address, on)),
        (14..=16u16, 0..=3u16).prop_map(|(address, value)| Response::WriteSingleRegister(address, value)),
        (14..=16u16, 0..=4u16).prop_map(|(address, count)| Response::WriteMultipleRegisters(address, count)),
        // Only codes without a response of their own arrive as custom ones.
        (17..=u8::MAX).prop_map(|function| Response::Custom(function, Default::default())),
    ]
}

/// What an honest unit answers.
fn honest(operation: &Operation) -> Response {
    let bits = |count: u16| vec![true; usize::from(count.div_ceil(8)) * 8];
    match operation {
        Operation::ReadCoils { count, .. } => Response::ReadCoils(bits(*count)),
        Operation::ReadDiscrete { count, .. } => Response::ReadDiscreteInputs(bits(*count)),
        Operation::ReadHolding { count, .. } => Response::ReadHoldingRegisters(vec![7; usize::from(*count)]),
        Operation::ReadInput { count, .. } => Response::ReadInputRegisters(vec![7; usize::from(*count)]),
        Operation::WriteCoil { address, on } => Response::WriteSingleCoil(*address, *on),
        Operation::PulseCoil { .. } => Response::Custom(5, Default::default()),
        Operation::WriteSingle { address, value } => Response::WriteSingleRegister(*address, *value),
        Operation::WriteMultiple { address, values } => {
            Response::WriteMultipleRegisters(*address, u16::try_from(values.len()).unwrap())
        }
    }
}

proptest! {
    #[test]
    fn an_answer_passes_only_with_the_function_length_and_echo_of_its_request(
        operation in operations(),
        response in responses(),
    ) {
        let function = response.function_code().value();
        let confirmed = response == honest(&operation);
        match operation.check(response) {
            Ok(reply) => {
                prop_assert_eq!(function, operation.function());
                match reply {
                    Reply::Registers(values) => prop_assert_eq!(values.len(), operation.count()),
                    Reply::Bits(values) => prop_assert_eq!(values.len(), operation.count()),
                    Reply::Written => prop_assert!(confirmed),
                }
            }
            Err(Mismatch::Function { expected, got }) => prop_assert!(expected != got && got == function),
            Err(Mismatch::Count { expected, got }) => prop_assert!(expected != got),
            Err(Mismatch::Echo { expected, got }) => prop_assert!(expected != got),
        }
    }

    #[test]
    fn an_honest_answer_passes(operation in operations()) {
        prop_assert!(operation.check(honest(&operation)).is_ok());
        prop_assert!(operation.validate(1).is_ok());
    }

    /// Two requests that an honest unit answers alike have the same mark: the mark promises no more than it can keep.
    #[test]
    fn answers_that_look_alike_have_one_mark(one in operations(), other in operations()) {
        if other.check(honest(&one)).is_ok() {
            prop_assert_eq!(one.mark(), other.mark());
        }
    }

    #[test]
    fn what_goes_out_can_be_told_from_all_that_is_late(
        late in prop::collection::vec(operations(), 0..=20),
        operation in operations(),
    ) {
        let mut stale = Stale::default();
        for operation in &late {
            stale.note(operation, Instant::now());
        }
        match stale.before(&operation) {
            Before::Send => {
                let alike: Vec<usize> = (0..late.len()).filter(|at| late[*at].mark() == operation.mark()).collect();
                if let Some(first) = alike.first() {
                    prop_assert!(operation.is_write());
                    let since = late[*first..].iter().filter(|late| late.is_write());
                    prop_assert!(since.clone().all(|late| *late == operation), "a repeated write, nothing else since");
                }
            }
            Before::Ask(guard) => {
                prop_assert!(!guard.is_write());
                prop_assert!(guard.validate(1).is_ok(), "{guard}");
                prop_assert!(late.iter().all(|late| late.mark() != guard.mark()), "{guard}");
            }
            Before::Wait => prop_assert!(late.len() > 8),
        }
    }
}

fn holding(address: u16, count: u16) -> Operation {
    Operation::ReadHolding { address, count }
}

fn write(address: u16, value: u16) -> Operation {
    Operation::WriteSingle { address, value }
}

#[test]
fn the_guard_is_a_part_of_the_same_block_first() {
    let now = Instant::now();
    let mut stale = Stale::default();
    stale.note(&holding(0, 45), now);
    assert_eq!(stale.before(&holding(0, 45)), Before::Ask(holding(0, 44)));
    assert_eq!(stale.before(&holding(10, 3)), Before::Send);
    stale.note(&holding(0, 44), now);
    assert_eq!(stale.before(&holding(0, 45)), Before::Ask(holding(0, 43)));
    stale.note(&holding(0, 43), now);
    assert_eq!(
        stale.before(&holding(0, 45)),
        Before::Ask(Operation::ReadInput { address: 0, count: 1 }),
        "another way"
    );
    stale.clear();
    assert_eq!(stale.before(&holding(0, 45)), Before::Send);
}

#[test]
fn at_the_last_register_there_is_still_a_guard() {
    let mut stale = Stale::default();
    stale.note(&holding(65_535, 1), Instant::now());
    assert_eq!(stale.before(&holding(65_535, 1)), Before::Ask(Operation::ReadInput { address: 65_535, count: 1 }));
}

#[test]
fn a_repeated_set_point_goes_out_at_once_unless_another_came_between() {
    let now = Instant::now();
    let mut stale = Stale::default();
    stale.note(&write(15, 32), now);
    stale.note(&write(15, 6), now);
    assert_eq!(stale.before(&write(15, 6)), Before::Send);
    assert!(
        matches!(stale.before(&write(15, 32)), Before::Ask(_)),
        "its late confirmation would say 32 while 6 stands"
    );
}

#[test]
fn late_answers_are_forgotten_after_a_while() {
    let (now, life) = (Instant::now(), Duration::from_secs(10));
    let mut stale = Stale::default();
    stale.note(&holding(0, 1), now);
    stale.expire(now + life - Duration::from_millis(1), life);
    assert!(stale.doubts_answer(&holding(5, 1)) && stale.doubts_exception(&holding(5, 9)));
    stale.expire(now + life, life);
    assert!(!stale.doubts_answer(&holding(5, 1)) && !stale.doubts_exception(&holding(5, 9)));
}

#[test]
fn the_silence_on_a_serial_line() {
    let pace = |baud, parity, stop| {
        let line = SerialLine { path: "/dev/null".into(), baud, parity, stop };
        Pace::of(&BusConfig { gap: Duration::ZERO, ..BusConfig::new(Connection::Serial(line)) })
    };
    let slow = pace(None, None, None);
    assert_eq!(slow.character.as_micros(), 1041, "9600 8N1 has 10 bits");
    assert_eq!(slow.gap.as_micros(), 3645);
    assert_eq!(pace(Some(9600), Some(Parity::Even), Some(2)).character.as_micros(), 1250);
    assert_eq!(pace(Some(115_200), None, None).gap, Duration::from_micros(1750));
    // 8 bytes there, 95 back.
    assert_eq!(slow.transfer(&holding(0, 45)).as_millis(), 107);
    let tcp = Connection::Tcp { host: "box".to_owned(), port: 502 };
    assert_eq!(Pace::of(&BusConfig::new(tcp)), Pace { character: Duration::ZERO, gap: Duration::ZERO });
}

/// Longer than any test.
const ROUND: Duration = Duration::from_secs(3600);

struct Requests {
    room: Arc<Semaphore>,
    now: Instant,
}

impl Requests {
    fn request(&self, unit: u8, operation: Operation, priority: Priority) -> (Waiting, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let permit = Arc::clone(&self.room).try_acquire_owned().unwrap();
        let limit = Duration::from_secs(1);
        (Waiting { unit, operation, limit, priority, queued: self.now, reply, permit }, answer)
    }
}

fn priorities() -> impl Strategy<Value = Priority> {
    prop::sample::select(vec![Priority::Reduction, Priority::SetPoint, Priority::Poll, Priority::Slow])
}

proptest! {
    /// Whatever comes: each request is sent or answered, the most urgent first, and no write is sent behind a newer one
    /// to the same register.
    #[test]
    fn the_queue_keeps_the_order_of_writes(
        requests in prop::collection::vec((1..=2u8, operations(), priorities()), 1..=20),
    ) {
        let all = Requests { room: Arc::new(Semaphore::new(64)), now: Instant::now() };
        let mut queue = Queue::default();
        let mut answers = Vec::new();
        let mut replaced = 0;
        for (unit, operation, priority) in &requests {
            let (mut request, answer) = all.request(*unit, operation.clone(), *priority);
            // The number of the request, to know it again.
            request.limit = Duration::from_secs(answers.len() as u64);
            answers.push(answer);
            replaced += queue.push(request);
        }
        let mut sent = Vec::new();
        while let Next::Now(request) = queue.next(all.now, ROUND, |_| Turn { free_at: all.now, polled: None }) {
            sent.push(request.limit.as_secs() as usize);
        }
        prop_assert_eq!(sent.len() as u64 + replaced, requests.len() as u64);
        let overlap = |a: usize, b: usize| requests[a].0 == requests[b].0 && requests[a].1.writes_overlap(&requests[b].1);
        for (at, newer) in sent.iter().enumerate() {
            for older in &sent[at + 1..] {
                prop_assert!(older > newer || !overlap(*older, *newer), "{} was sent behind {}", older, newer);
            }
        }
        // What overtook a more urgent one is a write that had to go before another.
        for pair in sent.windows(2) {
            if requests[pair[0]].2 > requests[pair[1]].2 {
                let shared = |later: &usize| *later > pair[0] && overlap(pair[0], *later);
                prop_assert!(sent.iter().any(shared));
            }
        }
        for (at, answer) in answers.iter_mut().enumerate() {
            match answer.try_recv() {
                Ok(Err(BusError::Superseded { .. })) => {
                    let newer = |later: &usize| *later > at && requests[at].1.writes_same(&requests[*later].1);
                    prop_assert!(!sent.contains(&at) && (0..requests.len()).any(|later| newer(&later)));
                }
                Ok(other) => prop_assert!(false, "{:?}", other),
                Err(_) => prop_assert!(sent.contains(&at)),
            }
        }
    }
}

#[test]
fn a_unit_that_is_not_free_lets_others_pass() {
    let all = Requests { room: Arc::new(Semaphore::new(64)), now: Instant::now() };
    let later = all.now + Duration::from_secs(1);
    let mut queue = Queue::default();
    let (one, _first) = all.request(1, holding(0, 1), Priority::Poll);
    let (two, _second) = all.request(2, holding(0, 1), Priority::Slow);
    queue.push(one);
    queue.push(two);
    let free = |request: &Waiting| Turn { free_at: if request.unit == 1 { later } else { all.now }, polled: None };
    assert!(matches!(queue.next(all.now, ROUND, free), Next::Now(request) if request.unit == 2));
    assert!(matches!(queue.next(all.now, ROUND, free), Next::Later(at) if at == later));
    assert!(matches!(queue.next(later, ROUND, free), Next::Now(request) if request.unit == 1));
    assert!(matches!(queue.next(later, ROUND, free), Next::Empty));
}

#[test]
fn of_polls_the_unit_whose_last_is_longest_ago_is_next_and_of_writes_the_oldest() {
    let all = Requests { room: Arc::new(Semaphore::new(64)), now: Instant::now() };
    let ago = |seconds: u64| all.now - Duration::from_secs(seconds);
    // Unit 3 was never polled.
    let turn = |request: &Waiting| Turn {
        free_at: all.now,
        polled: match request.unit {
            1 => Some(ago(1)),
            2 => Some(ago(2)),
            _ => None,
        },
    };
    for (priority, order) in [(Priority::Poll, [3, 2, 1]), (Priority::SetPoint, [1, 2, 3])] {
        let mut queue = Queue::default();
        let mut answers = Vec::new();
        for unit in 1..=3 {
            let (request, answer) = all.request(unit, holding(0, 1), priority);
            queue.push(request);
            answers.push(answer);
        }
        for unit in order {
            assert!(
                matches!(queue.next(all.now, ROUND, turn), Next::Now(request) if request.unit == unit),
                "{priority:?}"
            );
        }
    }
}

#[test]
fn a_dead_unit_rests_until_the_others_had_their_turn() {
    let now = Instant::now();
    let ms = Duration::from_millis;
    let (cost, round) = (ms(100), ms(800));
    let mut rests = Rests::default();
    rests.timed_out(9, cost, BTreeSet::from([1, 2]), round, now);
    assert_eq!(rests.free_at(9, Priority::SetPoint, now), now, "one failure may have been noise");
    assert_eq!(rests.free_at(9, Priority::Poll, now), now + round);
    rests.asked(1);
    assert_eq!(rests.free_at(9, Priority::Poll, now), now + round);
    rests.asked(2);
    assert_eq!(rests.free_at(9, Priority::Poll, now), now, "once per round");
    rests.timed_out(9, cost, BTreeSet::from([1]), round, now);
    assert_eq!(rests.free_at(9, Priority::Reduction, now), now + round);
    rests.asked(1);
    assert_eq!(rests.free_at(9, Priority::Poll, now), now + 4 * cost, "a fifth of the wire");
    rests.timed_out(9, ms(1000), BTreeSet::from([1]), ms(9000), now);
    assert_eq!(rests.free_at(9, Priority::Poll, now), now + ms(2500));
    // A second dead one is no reason to wait, and alone there is none.
    rests.timed_out(8, cost, BTreeSet::from([9]), round, now);
    assert_eq!(rests.free_at(8, Priority::Poll, now), now);
    assert_eq!(rests.free_at(1, Priority::Poll, now), now);
    rests.answered(9);
    assert_eq!(rests.free_at(9, Priority::Poll, now), now);
}

#[test]
fn the_round_is_the_sum_of_the_last_polls() {
    let now = Instant::now();
    let ms = Duration::from_millis;
    let mut stats = Stats::default();
    stats.finished(1, &holding(0, 45), Priority::Poll, ms(80), now);
    stats.finished(1, &holding(0, 45), Priority::Poll, ms(90), now);
    stats.finished(1, &holding(100, 2), Priority::Poll, ms(20), now);
    stats.finished(1, &write(15, 6), Priority::SetPoint, ms(500), now);
    stats.finished(2, &holding(0, 45), Priority::Poll, ms(300), now);
    assert_eq!(stats.round(now), ms(410));
    assert_eq!(stats.round(now + Duration::from_secs(61)), Duration::ZERO);
    stats.set_pause(2, ms(100));
    stats.finished(2, &holding(0, 45), Priority::Poll, ms(300), now);
    assert_eq!(stats.free_at(2, now), now + ms(100));
    assert_eq!(stats.free_at(1, now), now);
}

#[test]
fn only_recent_answers_count_as_slowest() {
    let mut stats = Stats::default();
    stats.answered(1, Duration::from_millis(250));
    assert_eq!(stats.slowest_if_well(1), Some(Duration::from_millis(250)));
    stats.failed(1);
    assert_eq!(stats.slowest_if_well(1), None, "a silent unit gets the longest time again");
    for _ in 0..16 {
        stats.answered(1, Duration::from_millis(30));
    }
    assert_eq!(stats.slowest_if_well(1), Some(Duration::from_millis(30)));
}

#[test]
fn errors_say_what_was_expected_and_what_came() {
    let asked = holding(16, 2).of(3);
    let timeout =
        BusError::Timeout { asked: asked.clone(), after: Duration::from_millis(300), received: hex(&[3, 3, 4], 3) };
    let text = "unit 3, read of 2 holding registers from 16: no complete answer within 300 ms, came 03 03 04";
    assert_eq!(timeout.to_string(), text);
    let count = BusError::WrongCount { asked: asked.clone(), expected: 2, got: 1 };
    assert_eq!(count.to_string(), format!("{asked}: expected 2 values, the answer has 1"));
    assert!(hex(&[0xFF; 300], 700).ends_with("… (700 bytes)"));
    assert!(count.may_have_been_obeyed());
    let refused = |code| BusError::Exception { asked: asked.clone(), code, name: super::exception_name(code) };
    assert!(!refused(2).may_have_been_obeyed());
    assert!(refused(10).may_have_been_obeyed() && refused(11).may_have_been_obeyed());
}

/// In paused time, where nothing but timers moves.
#[tokio::test(start_paused = true)]
async fn a_link_that_cannot_be_opened_is_tried_less_and_less() {
    let line = SerialLine { path: "/nonexistent/port".into(), baud: None, parity: None, stop: None };
    let cancel = tokio_util::sync::CancellationToken::new();
    let bus = Bus::spawn(BusConfig::new(Connection::Serial(line)), cancel.clone());
    tokio::time::sleep(Duration::from_secs(120)).await;
    let failed = bus.counters().failed_opens;
    // 50 ms doubled up to 30 s, each shortened by a quarter at most.
    assert!((11..=18).contains(&failed), "{failed} attempts in two minutes");
    let error = bus.call(1, holding(0, 1), Duration::from_secs(1), Priority::Poll).await.unwrap_err();
    assert!(matches!(error, BusError::NotConnected { .. }), "{error:?}");
    cancel.cancel();
}
