//! An input: its entity stands on the site's device.

use serde_json::json;

use super::{Component, Key};
use crate::control::InputMeaning;
use crate::mqtt::json::Out;
use crate::mqtt::options::InputInfo;
use crate::mqtt::topics::{Place, Topics};
use crate::status::InputView;

/// Every key of `<base>/input/<id>/state`, without `time` and `age_s`.
pub(crate) static KEYS: [Key<InputView, InputInfo>; 1] =
    [Key::told("active", |it, _| Out::or_null(it.status.active, Out::Flag), |info| Some(entity(info)))];

fn entity(info: &InputInfo) -> Component {
    let icon = match info.meaning {
        InputMeaning::LowTariff => "cash-clock",
        InputMeaning::GridDim => "transmission-tower",
        InputMeaning::Block => "cancel",
    };
    Component::binary().name(info.common.name.as_str()).icon(icon).diagnostic()
}

/// Entities of all inputs for the device message of the site.
pub(crate) fn on_site(inputs: &[InputInfo], topics: &Topics) -> Vec<(String, Component)> {
    let of_input = |info: &InputInfo| {
        let place = Place::input(&info.common.id);
        let available = json!([{ "topic": topics.status() }, { "topic": topics.availability(&place) }]);
        let entity = entity(info)
            .with("unique_id", format!("{}_active", topics.object_id(&place)))
            .with("state_topic", topics.state(&place))
            .with("value_template", "{{ value_json.active }}")
            .with("availability", available)
            .with("availability_mode", "all");
        (format!("input_{}", info.common.id), entity)
    };
    inputs.iter().map(of_input).collect()
}
