//! `gridkeeper modbus read|write`: registers of any device, by their address on the wire.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::address;
use crate::codec::model::{Kind, WordOrder};
use crate::config::model::Connection;
use crate::link::modbus::{Bus, BusConfig, BusError, MAX_READ_REGISTERS, Operation, Priority, Reply};

/// For one answer.
const LIMIT: Duration = Duration::from_secs(3);
/// For the link to open.
const OPENING: Duration = Duration::from_secs(3);
/// An address where nobody answers for so long is free.
const FREE: Duration = Duration::from_secs(1);
/// Between two looks whether it is open.
const AGAIN: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the bus is.
    pub connection: Connection,
    /// 1 to 247.
    pub unit: u8,
    /// First register, counted from 0 as on the wire.
    pub register: u16,
}

/// How a read is done and shown.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Values, not registers.
    pub count: u16,
    /// Function 4 instead of 3.
    pub input: bool,
    /// How words make a number.
    pub kind: Kind,
    /// Which word comes first.
    pub order: WordOrder,
}

/// What the installer has agreed to beforehand; the rest is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Consent {
    /// To write.
    pub write: bool,
    /// That only one device is powered, where an address is changed.
    pub only_one_powered: bool,
}

/// Why a tool did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The device, or the wire.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The terminal.
    #[error("{0}")]
    Output(#[from] io::Error),
    /// It was asked for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// Nobody agreed, or somebody else would have been hit: nothing was written.
    #[error("{0}")]
    Declined(String),
    /// What was written is not what is there now.
    #[error("{0}")]
    NotTaken(String),
}

/// A bus that ends with the value.
struct Line {
    bus: Bus,
    cancel: CancellationToken,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Line {
    fn open(connection: &Connection) -> Self {
        let cancel = CancellationToken::new();
        Self { bus: Bus::spawn(BusConfig::new(connection.clone()), cancel.clone()), cancel }
    }

    async fn ask(&self, unit: u8, operation: Operation) -> Result<Reply, BusError> {
        let begun = tokio::time::Instant::now();
        loop {
            match self.bus.call(unit, operation.clone(), LIMIT, Priority::SetPoint).await {
                // The bus opens its link by itself; what stands in the way is known after the first attempts.
                Err(BusError::NotConnected { .. }) if begun.elapsed() < OPENING => tokio::time::sleep(AGAIN).await,
                answer => return answer,
            }
        }
    }

    /// Somebody else answers there, if only with a refusal: a device that answers to every address shows there what it
    /// shows at its own, `now`. It is asked first what is not asked there after the write: an answer to that could be the
    /// late one to this.
    async fn is_taken(&self, unit: u8, register: u16, now: Option<&[u16]>) -> bool {
        let operation = Operation::ReadInput { address: register, count: 1 };
        match self.bus.call(unit, operation, FREE, Priority::SetPoint).await {
            Ok(_) => {}
            Err(error) if error.is_exception() && !error.is_of_gateway() => {}
            Err(_) => return false,
        }
        let count = now.map_or(1, |now| u16::try_from(now.len()).unwrap_or(1));
        let there = self.words(unit, false, register, count).await;
        !there.is_ok_and(|there| now == Some(there.as_slice()))
    }

    async fn words(&self, unit: u8, input: bool, address: u16, count: u16) -> Result<Vec<u16>, BusError> {
        let operation =
            if input { Operation::ReadInput { address, count } } else { Operation::ReadHolding { address, count } };
        match self.ask(unit, operation).await? {
            Reply::Registers(words) => Ok(words),
            Reply::Bits(_) | Reply::Written => Ok(Vec::new()),
        }
    }
}

/// Reads registers and shows them, one value per line: address, number, hexadecimal.
///
/// # Errors
/// When the device does not answer, refuses, or more is asked for than one request carries.
pub async fn read(target: &Target, reading: Reading, out: &mut dyn Write) -> Result<(), ToolError> {
    let width = reading.kind.words();
    let Some(count) = reading.count.checked_mul(width).filter(|it| (1..=MAX_READ_REGISTERS).contains(it)) else {
        let most = MAX_READ_REGISTERS / width;
        return Err(ToolError::Usage(format!("{} values in one request; allowed: 1 to {most}", reading.count)));
    };
    let line = Line::open(&target.connection);
    let words = line.words(target.unit, reading.input, target.register, count).await?;
    // Wider than an address: what follows the last one is not one any more.
    for (value, address) in words.chunks(usize::from(width)).zip((u32::from(target.register)..).step_by(width.into())) {
        let hex: Vec<String> = value.iter().map(|word| format!("{word:04X}")).collect();
        let number = reading.kind.read(value, reading.order).map_or_else(|| "-".to_owned(), |it| it.to_string());
        writeln!(out, "{address:>5}  0x{address:04X}  {number:>14}  {}", hex.join(" "))?;
    }
    Ok(())
}

/// Writes registers after showing what is there now and asking; then reads them back.
///
/// Where the write changes an address, or looks as if it did, it asks as well whether only one device is powered, and looks
/// whether the new address is free. A device whose address is in the register answers from its new one: where the old is
/// silent afterwards, the value is tried as an address.
///
/// # Errors
/// When nobody agreed, when the new address is taken, when the device does not answer or refuses, or when it holds something
/// else afterwards.
pub async fn write(
    target: &Target,
    values: &[u16],
    consent: Consent,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    let Some((first, rest)) = values.split_first() else {
        return Err(ToolError::Usage("no value to write".to_owned()));
    };
    let count = u16::try_from(values.len()).unwrap_or(u16::MAX);
    let line = Line::open(&target.connection);
    let before = match line.words(target.unit, false, target.register, count).await {
        Ok(words) => Some(words),
        // Some registers can only be written.
        Err(BusError::Exception { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    writeln!(
        out,
        "unit {}, register {}: {} now, {} will be written.",
        target.unit,
        target.register,
        before.as_deref().map_or_else(|| "not readable".to_owned(), shown),
        shown(values)
    )?;
    if let Some(why) = address::suspicion(target.unit, target.register, before.as_deref(), values) {
        writeln!(
            out,
            "This changes an address: {why}. Every powered device that answers as unit {} will take the new one, and two \
             at one address cannot be told apart any more.",
            target.unit
        )?;
        if let Some(unit) = address::of(values)
            && line.is_taken(unit, target.register, before.as_deref()).await
        {
            return Err(ToolError::Declined(format!("nothing was written: unit {unit} answers already")));
        }
        if !consent.only_one_powered && !agrees("Is only this one device powered? [y/N] ", input, out)? {
            let refused = "nothing was written: switch all other devices off, then say --only-one-powered or answer y";
            return Err(ToolError::Declined(refused.to_owned()));
        }
    }
    if !consent.write && !agrees("A wrong register can make a device dangerous or useless. Write? [y/N] ", input, out)?
    {
        return Err(ToolError::Declined("nothing was written; answer y, or say --yes".to_owned()));
    }
    let operation = if rest.is_empty() {
        Operation::WriteSingle { address: target.register, value: *first }
    } else {
        Operation::WriteMultiple { address: target.register, values: values.to_vec() }
    };
    let written = match line.ask(target.unit, operation).await {
        // Some devices know only one of the two functions.
        Err(BusError::Exception { code: 1, .. }) if rest.is_empty() => {
            let operation = Operation::WriteMultiple { address: target.register, values: values.to_vec() };
            line.ask(target.unit, operation).await
        }
        other => other,
    };
    // A write that may have been obeyed is not over, nor is one that was confirmed: what is there now counts.
    let doubt = match written {
        Ok(_) => None,
        Err(error) if error.may_have_been_obeyed() => Some(error),
        Err(error) => return Err(error.into()),
    };
    match line.words(target.unit, false, target.register, count).await {
        Ok(words) if words == values => {
            writeln!(out, "written; it reads {} now.", shown(&words))?;
            return Ok(());
        }
        Ok(words) => {
            let sentence = format!("it reads {} now; {} was written", shown(&words), shown(values));
            return Err(ToolError::NotTaken(sentence));
        }
        Err(error) if doubt.is_none() && error.is_exception() && !error.is_of_gateway() => {
            writeln!(out, "written and confirmed; the register cannot be read back.")?;
            return Ok(());
        }
        Err(_) => {}
    }
    if let Some(unit) = address::of(values)
        && line.words(unit, false, target.register, count).await.is_ok_and(|words| words == values)
    {
        writeln!(out, "written; the device answers as unit {unit} now.")?;
        return Ok(());
    }
    match doubt {
        Some(error) => Err(error.into()),
        None => {
            let sentence = format!("unit {} confirmed it and does not answer any more", target.unit);
            Err(ToolError::NotTaken(sentence))
        }
    }
}

/// Asks, and waits for the answer. Where there is nobody to answer, what follows begins a line of its own.
pub(crate) fn agrees(question: &str, input: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<bool> {
    write!(out, "{question}")?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    if !answer.ends_with('\n') {
        writeln!(out)?;
    }
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn shown(words: &[u16]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let _ = write!(text, "{}{word} (0x{word:04X})", if index == 0 { "" } else { ", " });
    }
    text
}
