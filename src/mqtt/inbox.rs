//! Commands and requests: read, bounded, handed to the controller, answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::bucket::Admission;
use super::command::{self, Command, CommandResult, shorten};
use super::discovery::site::LOG_LEVELS;
use super::outbox::Rank;
use super::service::Service;
use super::topics::{Kind, Place};
use crate::backup::Shown;
use crate::control::{among, boolean, pressed};
use crate::device::{Answer, ToControl, Wish};
use crate::event::EventType;
use crate::quantity::Span;

/// Commands that wait for the controller's answer at one time.
const MAX_WAITING: usize = 64;
/// What was accepted is in force and in the picture by then.
const IN_FORCE: Span = Span(500);
/// The answer to a restart goes out before it.
const ANSWER_FIRST: Duration = Duration::from_millis(300);

/// An answered command.
pub(super) struct Answered {
    result: CommandResult,
    place: Place,
    answer: Result<Answer, String>,
}

/// A backup that was asked for, or why there is none.
pub(super) type BackedUp = (CommandResult, Result<Shown, String>);

impl Service {
    pub(super) fn command(
        &mut self,
        place: Option<Place>,
        path: String,
        topic: String,
        payload: Result<Vec<u8>, usize>,
        retained: bool,
    ) {
        if payload.as_ref().is_ok_and(Vec::is_empty) || !self.admit() {
            return;
        }
        let mut result = self.result(topic);
        let command = match self.read(&mut result, payload, retained) {
            Ok(Some(command)) => command,
            Ok(None) => return,
            Err(told) => return self.refuse(result, place.as_ref(), told),
        };
        if let Some(Place::Device(Kind::Input, id)) = &place {
            let outcome = self.tell_input(id, &path, &command.value);
            return match outcome {
                Ok(()) => {
                    result.time = self.stamp();
                    self.publish_result(&self.topics.result(), &result);
                    self.show(place.as_ref(), IN_FORCE);
                }
                Err(refusal) => {
                    result.error = Some(refusal);
                    self.refuse(result, place.as_ref(), true);
                }
            };
        }
        let refusal = match &place {
            Some(Place::Device(Kind::Meter, _)) => "a meter takes no commands".to_owned(),
            None => format!(
                "`{}` is not a setting: allowed are site/set/…, charger/<id>/set/…, relay/<id>/set/… and input/<id>/set/value",
                shorten(&path)
            ),
            Some(Place::Site | Place::Device(Kind::Charger | Kind::Relay | Kind::Input, _)) => String::new(),
        };
        let (Some(place), true) = (place.clone(), refusal.is_empty()) else {
            result.error = Some(refusal);
            return self.refuse(result, place.as_ref(), true);
        };
        if self.waiting.len() >= MAX_WAITING {
            result.error = Some(format!("{MAX_WAITING} commands wait for the controller already"));
            return self.refuse(result, Some(&place), true);
        }
        let (reply, answer) = oneshot::channel();
        let wish = Wish { path, value: command.value, origin: "mqtt", reply };
        if !self.views.control.tell(ToControl::Wish(wish)) {
            result.error = Some("the controller takes no commands at present".to_owned());
            return self.refuse(result, Some(&place), true);
        }
        let patience = self.options.tuning.answer_timeout;
        self.waiting.spawn(async move {
            let answer = match timeout(patience, answer).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err("the controller dropped the command".to_owned()),
                Err(_) => Err(format!("the controller did not answer within {} s", patience.as_secs_f64())),
            };
            Answered { result, place, answer }
        });
    }

    /// Nearly a command: its sender is told the topic that it may have meant. No event, and no state again: whoever only
    /// spreads our own states over topics of his own must not be fed by it.
    pub(super) fn astray(&mut self, meant: &str, topic: String, payload: Result<Vec<u8>, usize>) {
        let ports = &self.views.ports;
        let relay = ports.relays.iter().any(|it| it.topic == topic);
        let taken = relay || ports.inputs.iter().any(|it| it.topic.as_deref() == Some(&topic));
        if taken || self.options.feeds.topics().any(|it| it == topic) || payload.as_ref().is_ok_and(Vec::is_empty) {
            return;
        }
        if self.astray.admit(self.now()) != Admission::Taken {
            return;
        }
        let mut result = self.result(topic);
        if let Ok(Some(Command { value, id })) = payload.as_deref().map_or(Ok(None), command::read) {
            (result.value, result.id) = (Some(value), id);
        }
        let (base, meant) = (self.topics.base(), shorten(meant));
        result.error = Some(format!("this topic takes no commands and nothing was done; send it to `{base}/{meant}`"));
        result.time = self.stamp();
        self.publish_result(&self.topics.result(), &result);
    }

    /// Whether a value for an input of ours is in force: it was heard elsewhere, before and whatever waits here.
    fn tell_input(&self, id: &str, path: &str, value: &str) -> Result<(), String> {
        let setting = path.rsplit('/').next().unwrap_or_default();
        if setting != "value" {
            return Err(format!("an input has no setting `{}`; allowed: value", shorten(setting)));
        }
        if !self.options.inputs.iter().any(|it| it.common.id == id) {
            let there = among(self.options.inputs.iter().map(|it| it.common.id.as_str()));
            return Err(format!("there is no input `{}`; {there}", shorten(id)));
        }
        let port = self.views.ports.inputs.iter().find(|it| it.id == id);
        let port = port.ok_or_else(|| format!("input `{id}` is not told by MQTT: its driver is another one"))?;
        if let Some(topic) = &port.topic {
            return Err(format!("input `{id}` listens to `{topic}`"));
        }
        boolean(value).map_err(|refused| refused.to_string())?;
        if !self.ear.listening.borrow().online {
            return Err("the connection on which inputs listen is down at present: send it again".to_owned());
        }
        Ok(())
    }

    /// What the relays' tasks want said.
    pub(super) fn order_relays(&mut self) {
        for port in &self.views.ports.relays {
            let order = *port.order.borrow();
            if let Some(on) = order {
                let word = if on { "ON" } else { "OFF" };
                self.link.send(|outbox| outbox.set(Rank::State, &port.topic, word.to_owned()));
            }
        }
    }

    /// Reads a payload into `result`. `Err(told)`: refused; `told`: an event is due as well.
    fn read(
        &mut self,
        result: &mut CommandResult,
        payload: Result<Vec<u8>, usize>,
        retained: bool,
    ) -> Result<Option<Command>, bool> {
        let payload = payload.map_err(|size| {
            result.error = Some(format!("the payload has {size} bytes, allowed are 1024"));
            true
        })?;
        let command = command::read(&payload).map_err(|error| {
            result.error = Some(error);
            true
        })?;
        let Some(command) = command else { return Ok(None) };
        result.value = Some(command.value.clone());
        result.id.clone_from(&command.id);
        if retained {
            result.error = Some(
                "a replayed (retained) command is not obeyed: send commands without retain, and delete this one with \
                 an empty retained payload"
                    .to_owned(),
            );
            return Err(!std::mem::replace(&mut self.replay_told, true));
        }
        Ok(Some(command))
    }

    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered { mut result, place, answer } = answered;
        match answer {
            Ok(Answer { outcome: Ok(_), stored }) => {
                result.stored = stored;
                result.time = self.stamp();
                self.publish_result(&self.topics.result(), &result);
                self.show(Some(&place), IN_FORCE);
            }
            Ok(Answer { outcome: Err(error), .. }) | Err(error) => {
                result.error = Some(error);
                self.refuse(result, Some(&place), true);
            }
        }
    }

    fn refuse(&mut self, mut result: CommandResult, place: Option<&Place>, told: bool) {
        result.time = self.stamp();
        self.publish_result(&self.topics.result(), &result);
        self.show(place, Span::ZERO);
        if told {
            let subject = place.map_or("bridge", Place::subject);
            let value = result.value.as_deref().map(|it| format!(" `{}`", shorten(it))).unwrap_or_default();
            let error = result.error.as_deref().unwrap_or("refused");
            self.raise(EventType::CommandRefused, subject, format!("{}{value}: {error}", shorten(&result.topic)));
        }
    }

    /// The accepted state goes out again, whatever became of the command: a switch that was refused must snap back.
    /// What was accepted is seen when it is in force; `after` is for the case that it changes nothing.
    fn show(&mut self, place: Option<&Place>, after: Span) {
        if let Some(place) = place {
            self.publisher.force(place, self.now() + after);
            self.look(false);
        }
    }

    pub(super) fn request(&mut self, name: &str, topic: String, payload: Result<Vec<u8>, usize>, retained: bool) {
        if payload.as_ref().is_ok_and(Vec::is_empty) || !self.admit() {
            return;
        }
        let mut result = self.result(topic);
        let command = self.read(&mut result, payload, retained);
        match command {
            Ok(Some(command)) if name == "backup" => return self.back_up(result, &command.value),
            Ok(Some(command)) => result.error = self.carry_out(name, &command.value).err(),
            Ok(None) | Err(_) if result.error.is_none() => return,
            Ok(None) | Err(_) if name == "backup" => return self.backed_up((result, Ok(Shown::default()))),
            Ok(None) | Err(_) => {}
        }
        result.time = self.stamp();
        self.publish_result(&self.topics.response(name), &result);
        self.renew();
    }

    fn carry_out(&mut self, name: &str, value: &str) -> Result<(), String> {
        let requests = &self.options.requests;
        match (name, &requests.log_level, &requests.restart) {
            ("log_level", Some(set), _) => {
                if !LOG_LEVELS.contains(&value) {
                    return Err(format!("`{}` is no log level: allowed are {}", shorten(value), LOG_LEVELS.join(", ")));
                }
                set(value)?;
                value.clone_into(&mut self.log_level);
                Ok(())
            }
            ("restart", _, Some(restart)) => {
                pressed(value).map_err(|refused| refused.to_string())?;
                let up = self.now();
                if up < restart.not_before {
                    let (up, least) = (up.as_secs_f64().floor(), restart.not_before.as_secs_f64());
                    return Err(format!("it was restarted {up} s ago; allowed {least} s after the last time"));
                }
                tracing::warn!("restart asked for over MQTT");
                let restart = Arc::clone(&restart.begin);
                tokio::spawn(async move {
                    sleep(ANSWER_FIRST).await;
                    restart();
                });
                Ok(())
            }
            ("log_level" | "restart", ..) => Err(format!("{name} cannot be done here: only `gridkeeper run` can")),
            _ => Err(format!("`{}` is no request: allowed are restart, log_level, backup", shorten(name))),
        }
    }

    /// The disk may hang: it is read elsewhere, once at a time.
    fn back_up(&mut self, result: CommandResult, value: &str) {
        let job = pressed(value).map_err(|refused| refused.to_string()).and_then(|()| {
            if !self.backups.is_empty() {
                return Err("a backup is under way already".to_owned());
            }
            let job = self.options.requests.backup.clone();
            job.ok_or_else(|| {
                "backup cannot be done here: only `gridkeeper run` with a valid configuration can".to_owned()
            })
        });
        match job {
            Ok(job) => _ = self.backups.spawn_blocking(move || (result, job())),
            Err(error) => self.backed_up((result, Err(error))),
        }
    }

    pub(super) fn backed_up(&mut self, (mut result, shown): BackedUp) {
        let shown = shown.unwrap_or_else(|error| {
            result.error = Some(error);
            Shown::default()
        });
        result.time = self.stamp();
        let (topic, payload) = (self.topics.response("backup"), result.with_backup(shown));
        self.link.send(|outbox| outbox.push(topic, payload));
    }

    fn admit(&mut self) -> bool {
        match self.bucket.admit(self.now()) {
            Admission::Taken => true,
            Admission::Dropped => false,
            Admission::Flooded => {
                let rate = self.options.tuning.commands_per_second;
                let detail = format!("more than {rate} commands a second: the rest is dropped without an answer");
                self.raise(EventType::CommandRefused, "bridge", detail);
                false
            }
        }
    }

    fn result(&self, topic: String) -> CommandResult {
        CommandResult { topic, value: None, error: None, id: None, stored: None, time: None }
    }

    fn publish_result(&self, topic: &str, result: &CommandResult) {
        self.link.send(|outbox| outbox.push(topic.to_owned(), result.to_json()));
    }
}
