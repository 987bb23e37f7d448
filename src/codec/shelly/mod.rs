//! What Shelly devices answer. Generation 1 has a REST interface of its own, all later ones share an RPC interface
//! (shelly-api-docs.shelly.cloud, gen1 and gen2).
//!
//! Energies come in Wh (`emeters`, `EMData`, `EM1Data`, `aenergy`) or in watt-minutes (`meters` of generation 1).
//! Currents are sizes; the direction is the sign of the active power.

pub mod gen1;
pub mod rpc;

#[cfg(test)]
mod tests;

use super::json::{self, Fields, Malformed};

/// Who a device says it is (`GET /shelly`, which needs no login on any generation).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// 1, or as the device says.
    pub generation: u8,
    /// Type code, such as `SPEM-003CEBEU` or `SHEM-3`.
    pub model: Option<String>,
    /// 12 hexadecimal digits.
    pub mac: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// It wants a login for everything else.
    pub auth: bool,
    /// Three phases as one meter, not three meters of one phase.
    pub triphase: Option<bool>,
}

/// Reads the answer of `/shelly`.
///
/// # Errors
/// When it is no JSON object, or not that of a Shelly.
pub fn device(body: &[u8]) -> Result<Device, Malformed> {
    let map = json::object(body)?;
    let fields = Fields::new("", &map);
    let text = |key| Ok::<_, Malformed>(fields.text(key)?.map(|it: &str| it.chars().take(64).collect::<String>()));
    let Some(mac) = text("mac")? else {
        return Err(Malformed::new("", "has no `mac`: this is no Shelly"));
    };
    let generation = match fields.number("gen")? {
        None => 1,
        Some(number) if (2.0..=99.0).contains(&number) => number as u8,
        Some(number) => return Err(Malformed::new("gen", format!("= {number} is no generation"))),
    };
    let (model, firmware, auth) = if generation == 1 { ("type", "fw", "auth") } else { ("model", "ver", "auth_en") };
    Ok(Device {
        generation,
        model: text(model)?,
        mac: Some(mac),
        firmware: text(firmware)?,
        auth: fields.flag(auth)?.unwrap_or(false),
        triphase: text("profile")?.and_then(|it| match it.as_str() {
            "triphase" => Some(true),
            "monophase" => Some(false),
            _ => None,
        }),
    })
}

/// For how many seconds a device has been running: from the `/status` of generation 1, or from `Sys.GetStatus`. It is no
/// time of a measurement, but where it stands still the answers are old ones.
///
/// # Errors
/// When it is not a number.
pub fn uptime(body: &[u8]) -> Result<Option<i64>, Malformed> {
    let map = json::object(body)?;
    Ok(Fields::new("", &map).number("uptime")?.map(|it| it as i64))
}
