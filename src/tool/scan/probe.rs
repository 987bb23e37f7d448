//! Who answers at one address.

use std::time::Duration;

use crate::codec::model::{COMMON, Chain, ChainStep, Identity, MAKER, Model, Poll, Quantity, Sign, Sure, Table};
use crate::link::modbus::{Bus, BusError, Operation, Priority, Reply};

/// Most devices answer or refuse this one; Carlo Gavazzi's say what they are.
const FIRST_ASKED: u16 = 0x000B;
/// Asked as well where somebody is likely to be: some meters are silent about registers that they lack.
const ALSO_ASKED: [(Table, u16, u16); 2] = [(Table::Input, 0, 2), (Table::Holding, 0, 2)];
/// Register 9 of a TeltoCharge, and the registers of an EVSE-DIN that every one of them has (manual: 1000 set-point,
/// 1002 vehicle state 1 to 5, 1005 firmware).
const TELTOCHARGE_ID: (u16, u16) = (9, crate::device::charger::teltocharge::registers::EVSE_ID);
const EVSE_DIN: (u16, u16) = (1000, 7);
/// Mains, for guesses.
const VOLTAGE: std::ops::RangeInclusive<f64> = 180.0..=260.0;
const FREQUENCY: std::ops::RangeInclusive<f64> = 45.0..=65.0;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Meter,
    Charger,
}

/// Something that a unit may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Kind,
    /// Model or driver.
    pub(super) id: String,
    pub(super) name: String,
    /// It says so itself; else its values look like it.
    recognised: bool,
    sure: Sure,
}

impl Found {
    pub(super) fn how_sure(&self) -> String {
        let facts = match self.sure {
            Sure::TwoSources => "",
            Sure::OneSource => "; its registers have one source",
            Sure::Doubtful => "; its registers are doubtful",
        };
        let how = if self.recognised { "recognised" } else { "a guess: its values look like it" };
        format!("{how}{facts}")
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// No good answer, and what came of the question.
    Silent(BusError),
    /// Something, and what it may be.
    Answers(Vec<Found>),
}

/// One unit on a bus.
pub(super) struct Probe<'a> {
    pub(super) bus: &'a Bus,
    pub(super) unit: u8,
    /// For one answer where the bus does not shorten it.
    pub(super) limit: Duration,
    pub(super) models: &'a [Model],
    /// Worth more than one question.
    pub(super) likely: bool,
}

impl Probe<'_> {
    /// Asks one register; only who answers that, and be it with a refusal, is asked more.
    ///
    /// # Errors
    /// When there is no link, and when the unit does not answer.
    pub(super) async fn run(&self) -> Result<Presence, BusError> {
        self.knock().await?;
        let mut found = self.chargers().await?;
        if found.is_empty() {
            found = self.recognised().await?;
        }
        if found.is_empty() {
            found = self.guesses().await?;
        }
        Ok(Presence::Answers(found))
    }

    /// Whether anybody is there. Of several failures the one is told that says most.
    async fn knock(&self) -> Result<(), BusError> {
        let Err(mut why) = self.read(Table::Holding, FIRST_ASKED, 1).await else { return Ok(()) };
        for (table, address, count) in ALSO_ASKED.into_iter().filter(|_| self.likely) {
            if matches!(why, BusError::NotConnected { .. }) {
                break;
            }
            match self.read(table, address, count).await {
                Ok(_) => return Ok(()),
                Err(BusError::NotConnected { .. }) => break,
                Err(error) if is_unreadable(&error) && !is_unreadable(&why) => why = error,
                Err(_) => {}
            }
        }
        Err(why)
    }

    /// `None` for a proper refusal.
    async fn read(&self, table: Table, address: u16, count: u16) -> Result<Option<Vec<u16>>, BusError> {
        let operation = match table {
            Table::Holding => Operation::ReadHolding { address, count },
            Table::Input => Operation::ReadInput { address, count },
        };
        match self.bus.call(self.unit, operation, self.limit, Priority::Poll).await {
            Ok(Reply::Registers(words)) => Ok(Some(words)),
            Ok(Reply::Bits(_) | Reply::Written) => Ok(None),
            // A gateway that says that nobody is behind it.
            Err(error) if error.is_of_gateway() => Err(error),
            Err(BusError::Exception { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same, where silence is no more than a refusal: some meters do not answer for registers that they lack.
    async fn ask(&self, table: Table, address: u16, count: u16) -> Result<Option<Vec<u16>>, BusError> {
        match self.read(table, address, count).await {
            Err(error @ BusError::NotConnected { .. }) => Err(error),
            Err(_) => Ok(None),
            answer => answer,
        }
    }

    async fn chargers(&self) -> Result<Vec<Found>, BusError> {
        let charger = |id: &str, name: &str, recognised| Found {
            kind: Kind::Charger,
            id: id.to_owned(),
            name: name.to_owned(),
            recognised,
            sure: Sure::TwoSources,
        };
        for table in [Table::Holding, Table::Input] {
            if self.ask(table, TELTOCHARGE_ID.0, 1).await?.as_deref() == Some(&[TELTOCHARGE_ID.1]) {
                return Ok(vec![charger("teltocharge", "Teltonika TeltoCharge", true)]);
            }
        }
        let evse = self.ask(Table::Holding, EVSE_DIN.0, EVSE_DIN.1).await?;
        let looks = |words: &Vec<u16>| matches!(words[..], [_, _, 1..=5, cable, _, firmware, _] if cable <= 80 && (1..=99).contains(&firmware));
        Ok(evse.filter(looks).map(|_| charger("evse-din", "EVSE-DIN or EVSE-WB", false)).into_iter().collect())
    }

    /// Models whose identity the unit shows; what several models ask for is read once.
    async fn recognised(&self) -> Result<Vec<Found>, BusError> {
        type Place = (Table, u16, u16);
        let mut answers: Vec<(Place, Option<Vec<u16>>)> = Vec::new();
        let mut found = Vec::new();
        for model in self.models {
            for identity in &model.identity {
                let place = (identity.table, identity.address, identity.count);
                if !answers.iter().any(|it| it.0 == place) {
                    answers.push((place, self.ask(place.0, place.1, place.2).await?));
                }
                let words = answers.iter().find(|it| it.0 == place).and_then(|it| it.1.as_deref());
                if words.is_some_and(|words| shows(identity, words)) {
                    found.push(self.meter(model, &identity.model, true));
                    break;
                }
            }
        }
        found.extend(self.sunspec().await?);
        Ok(found)
    }

    /// Models that read a block of the unit's SunSpec chain. Of two that read the same one the chain's own names decide.
    async fn sunspec(&self) -> Result<Vec<Found>, BusError> {
        let (mut blocks, mut makers) = (Vec::new(), Vec::new());
        let mut chain = Chain::new();
        loop {
            let (header, inside) = (chain.next(), chain.is_inside());
            let answer = self.ask(Table::Holding, header, 2).await?.and_then(|words| words.first_chunk::<2>().copied());
            // Nothing is looked for, so that the whole chain is walked.
            let Ok(ChainStep::Read(_)) = chain.take(answer, &[]) else { break };
            let Some([number, _]) = answer.filter(|_| inside) else { continue };
            blocks.push(number);
            if number == COMMON
                && let Some(words) = self.ask(Table::Holding, header + 2, MAKER).await?
            {
                makers.push(text(&words));
            }
        }
        let reads = |model: &&Model| model.sunspec.iter().any(|it| blocks.contains(it));
        let is_of_maker = |model: &Model| model.maker.as_ref().map(|it| makers.iter().any(|name| name.starts_with(it)));
        let fitting: Vec<&Model> =
            self.models.iter().filter(reads).filter(|it| is_of_maker(it) != Some(false)).collect();
        // One for every maker gives way to one for this maker.
        let gives_way = |model: &Model| {
            let same = |other: &&Model| other.maker.is_some() && other.sunspec == model.sunspec;
            model.maker.is_none() && fitting.iter().any(same)
        };
        Ok(fitting.iter().filter(|it| !gives_way(it)).map(|it| self.meter(it, "", true)).collect())
    }

    /// Models whose values are those of a mains connection; also such as have an identity, because not every unit of a
    /// family shows the one that is known. First those that see it on most phases: a meter of three may answer as one of
    /// one, and not the other way.
    async fn guesses(&self) -> Result<Vec<Found>, BusError> {
        let mut found = Vec::new();
        for model in self.models.iter().filter(|it| it.sunspec.is_empty()) {
            let phases = self.looks_like(model).await?;
            if phases > 0 {
                found.push((phases, self.meter(model, "", false)));
            }
        }
        found.sort_by_key(|it| std::cmp::Reverse(it.0));
        Ok(found.into_iter().map(|it| it.1).collect())
    }

    /// On how many phases the unit has a mains voltage if it is of this model; 0 where it is not.
    async fn looks_like(&self, model: &Model) -> Result<usize, BusError> {
        let mut mains = Mains::default();
        for poll in model.polls.iter().filter(|it| measures(it, Quantity::Voltage) || measures(it, Quantity::Frequency))
        {
            let answer = self.ask(poll.table, poll.first, poll.count).await?;
            if !mains.goes_on(poll, answer.as_deref()) {
                return Ok(0);
            }
        }
        Ok(if mains.is_there(model) { mains.phases() } else { 0 })
    }

    fn meter(&self, model: &Model, type_name: &str, recognised: bool) -> Found {
        let name = if type_name.is_empty() { &model.name } else { type_name };
        Found {
            kind: Kind::Meter,
            id: model.id.clone(),
            name: format!("{} {name}", model.vendor),
            recognised,
            sure: model.sure,
        }
    }
}

/// Bytes came, and they make no answer.
pub(super) fn is_unreadable(error: &BusError) -> bool {
    match error {
        BusError::Garbled { .. } | BusError::WrongCount { .. } | BusError::WrongFunction { .. } => true,
        BusError::Timeout { received, .. } | BusError::Broken { received, .. } => !received.is_empty(),
        _ => false,
    }
}

fn measures(poll: &Poll, quantity: Quantity) -> bool {
    poll.values.iter().any(|it| it.key.quantity == quantity)
}

/// What a model's own polls say of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mains {
    voltage: [Option<f64>; 3],
    frequency: Option<f64>,
}

impl Mains {
    /// Takes an answer, or a refusal; `false` when the unit is not of this model.
    fn goes_on(&mut self, poll: &Poll, answer: Option<&[u16]>) -> bool {
        // An optional poll that is refused says nothing.
        let Some(words) = answer else { return poll.optional };
        for decoded in poll.decode(words) {
            let Ok(value) = decoded.value else { continue };
            match (decoded.key.quantity, decoded.key.phase) {
                (Quantity::Voltage, Some(phase)) => self.voltage[phase.index()] = Some(value),
                (Quantity::Frequency, _) => self.frequency = Some(value),
                _ => {}
            }
        }
        self.voltage[0].is_none_or(|it| VOLTAGE.contains(&it))
    }

    /// Phases with a voltage of the mains.
    fn phases(&self) -> usize {
        self.voltage.iter().flatten().filter(|it| VOLTAGE.contains(it)).count()
    }

    /// A voltage, and a frequency where the model cannot be without one, of the mains.
    fn is_there(&self, model: &Model) -> bool {
        let needed = model.polls.iter().any(|it| !it.optional && measures(it, Quantity::Frequency));
        self.voltage[0].is_some_and(|it| VOLTAGE.contains(&it))
            && self.frequency.map_or(!needed, |it| FREQUENCY.contains(&it))
    }
}

/// Whether the registers hold what the model's file says.
fn shows(identity: &Identity, words: &[u16]) -> bool {
    match &identity.sign {
        Sign::Word(wanted) => words.first().is_some_and(|word| wanted.contains(word)),
        Sign::Between(low, high) => words.first().is_some_and(|word| (low..=high).contains(&word)),
        Sign::Text(wanted) => text(words).starts_with(wanted),
    }
}

/// Two characters per word.
fn text(words: &[u16]) -> String {
    words.iter().flat_map(|word| word.to_be_bytes()).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An optional frequency, then the voltage.
    const POLLS: &str = r#"
[[poll]]
every = "slow"
from = 0
count = 1
optional = true
values = [{ is = "frequency", at = 0 }]
[[poll]]
every = "cycle"
from = 10
count = 2
values = [{ is = "voltage", on = ["L1"], at = 10 }, { is = "current", on = ["L1"], at = 11 }]
"#;

    #[test]
    fn a_refused_optional_poll_says_neither_yes_nor_no() {
        let model = Model::with_polls(POLLS);
        let like = |answers: [Option<&[u16]>; 2]| {
            let mut mains = Mains::default();
            model.polls.iter().zip(answers).all(|(poll, answer)| mains.goes_on(poll, answer)) && mains.is_there(&model)
        };
        assert!(like([Some(&[50]), Some(&[230, 5])]));
        assert!(like([None, Some(&[230, 5])]), "without the frequency, which not all of them have");
        assert!(!like([None, Some(&[0, 5])]), "no mains");
        assert!(!like([None, None]));
        assert!(!like([Some(&[7]), Some(&[230, 5])]));
    }
}
