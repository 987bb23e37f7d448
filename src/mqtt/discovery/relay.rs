//! A relay: what it is, why, and the command that overrides its rules for a while.

use super::{Component, Key};
use crate::control::{RelayCommand, RelayReason};
use crate::mqtt::json::Out;
use crate::mqtt::options::RelayInfo;
use crate::status::RelayView;

/// Every key of `<base>/relay/<id>/state`, without `time` and `age_s`.
pub(crate) static KEYS: [Key<RelayView, RelayInfo>; 3] = [
    Key::told(
        "state",
        |it, _| Out::Word(if it.status.on { "on" } else { "off" }),
        |_| Some(Component::binary().with("payload_on", "on").with("payload_off", "off").name("State").class("power")),
    ),
    Key::told(
        "command",
        |it, _| Out::Word(it.status.command.word()),
        |_| {
            let words = RelayCommand::ALL.iter().map(|it| it.word());
            Some(Component::select(words).name("Command").icon("electric-switch"))
        },
    ),
    Key::sentence(
        "reason",
        |it, _| Out::text(it.status.reason.to_string()),
        |it, _| Out::Text(RelayReason { wait: None, surplus: None, ..it.status.reason }.to_string()),
        |_| Some(Component::sensor().name("Reason").icon("comment-text-outline").bridge_only()),
    ),
];
