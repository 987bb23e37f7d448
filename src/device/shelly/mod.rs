//! One Shelly, whatever its generation: who it is, its relays and its inputs. Its measurements are read by
//! `device::meter::shelly`, through the same link.

use std::time::Duration;

use crate::codec::shelly::{self as codec, Device, gen1, rpc};
use crate::config::model::{HttpAddress, Secret};
use crate::link::http::{self, Client, Limits, Login, Trust};

pub use super::http::Error;

#[cfg(test)]
mod tests;

/// A link to one Shelly. It finds out by itself what generation it is, again after each time that it was not there.
#[derive(Debug)]
pub struct Shelly {
    http: Client,
    device: Option<Device>,
}

impl Shelly {
    /// A link that is not opened yet. The user of generation 2 and later is always `admin`.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(address: &HttpAddress, login: Option<(String, Secret)>, limits: Limits) -> Result<Self, Error> {
        let login = match login {
            Some((username, password)) => Login::Password { username, password },
            None => Login::None,
        };
        Ok(Self { http: Client::new(address, login, Trust::Nobody, limits)?, device: None })
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn describe(&self) -> &str {
        self.http.describe()
    }

    /// Who it is; asked once.
    ///
    /// # Errors
    /// When it does not answer, or is no Shelly.
    pub async fn identify(&mut self) -> Result<Device, Error> {
        if let Some(device) = &self.device {
            return Ok(device.clone());
        }
        let device = codec::device(&self.http.get("/shelly").await?)?;
        if device.generation > 1 {
            self.http.refuse_basic();
        }
        self.device = Some(device.clone());
        Ok(device)
    }

    /// Another device may stand at this address next time.
    pub fn forget(&mut self) {
        self.device = None;
    }

    /// The bare result of `GET` of path and query.
    ///
    /// # Errors
    /// When it does not answer. Silence makes it unknown again.
    pub async fn get(&mut self, uri: &str) -> Result<Vec<u8>, Error> {
        let answer = self.http.get(uri).await;
        if answer.as_ref().is_err_and(http::Error::is_silence) {
            self.forget();
        }
        Ok(answer?)
    }

    async fn is_gen1(&mut self) -> Result<bool, Error> {
        Ok(self.identify().await?.generation == 1)
    }

    /// Switches a relay on or off. With `back_after` the device itself switches it back after that time, unless this
    /// is called again before: the dead-man's timer (`toggle_after`, or `timer` on generation 1). Each call starts it
    /// anew, which the documentation does not say outright.
    ///
    /// # Errors
    /// [`Error::Refused`] for a time of less than a second; else when the device does not answer or has no such relay.
    pub async fn switch(&mut self, channel: u8, on: bool, back_after: Option<Duration>) -> Result<(), Error> {
        let seconds = match back_after.map(|it| it.as_secs()) {
            Some(0) => return Err(Error::Refused("a relay cannot switch back in less than a second".to_owned())),
            other => other,
        };
        let uri = if self.is_gen1().await? {
            let turn = if on { "on" } else { "off" };
            let timer = seconds.map(|it| format!("&timer={it}")).unwrap_or_default();
            format!("/relay/{channel}?turn={turn}{timer}")
        } else {
            let timer = seconds.map(|it| format!("&toggle_after={it}")).unwrap_or_default();
            format!("/rpc/Switch.Set?id={channel}&on={on}{timer}")
        };
        let answer = self.get(&uri).await?;
        if self.is_gen1().await? && gen1::relay(&answer)? != on {
            return Err(Error::Refused(format!(
                "relay {channel} did not switch: the device may be locked or overloaded"
            )));
        }
        Ok(())
    }

    /// Whether a relay is on; `None` while the device does not know.
    ///
    /// # Errors
    /// When the device does not answer or has no such relay.
    pub async fn output(&mut self, channel: u8) -> Result<Option<bool>, Error> {
        if self.is_gen1().await? {
            Ok(Some(gen1::relay(&self.get(&format!("/relay/{channel}")).await?)?))
        } else {
            Ok(rpc::output(&self.get(&format!("/rpc/Switch.GetStatus?id={channel}")).await?)?)
        }
    }

    /// The level of an input; `None` for one in mode `button`, which has no level.
    ///
    /// # Errors
    /// When the device does not answer or has no such input.
    pub async fn input(&mut self, channel: u8) -> Result<Option<bool>, Error> {
        if self.is_gen1().await? {
            Ok(gen1::input(&self.get("/status").await?, channel)?)
        } else {
            Ok(rpc::input(&self.get(&format!("/rpc/Input.GetStatus?id={channel}")).await?)?)
        }
    }
}
