//! One entity of a device message, as Home Assistant's MQTT discovery wants it.

use serde_json::{Map, Value, json};

use crate::mqtt::topics::{Place, Topics};

/// An entity under construction. Its state is a key of the device's state topic unless said otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    platform: &'static str,
    fields: Map<String, Value>,
    /// How the key is read out of the state.
    template: Template,
    /// It is written by a `set` topic.
    commanded: bool,
    /// It says itself that the device is gone, and must be visible then.
    bridge_only: bool,
    /// Another device that its value comes from: without news of that one there is no value.
    source: Option<Place>,
    /// It is there as soon as this key of the state has had a value.
    needs: Option<&'static str>,
    /// The key whose command it sends, where that is not its own.
    setting: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Template {
    /// No state.
    None,
    Plain,
    /// `none` for null, where null means that there is nothing to tell.
    OrNone,
}

impl Component {
    fn new(platform: &'static str, template: Template) -> Self {
        Self {
            platform,
            fields: Map::new(),
            template,
            commanded: false,
            bridge_only: false,
            source: None,
            needs: None,
            setting: None,
        }
    }

    /// A value.
    pub(crate) fn sensor() -> Self {
        Self::new("sensor", Template::Plain)
    }

    /// A boolean.
    pub(crate) fn binary() -> Self {
        // A JSON boolean comes out of the template as Python writes it.
        Self::new("binary_sensor", Template::Plain).with("payload_on", "True").with("payload_off", "False")
    }

    /// A setting with a range; a bare number has no unit.
    pub(crate) fn number(unit: &str, min: f64, max: f64, step: f64) -> Self {
        let mut it = Self::new("number", Template::Plain).with("mode", "box");
        if !unit.is_empty() {
            it = it.unit(unit);
        }
        for (key, value) in [("min", min), ("max", max), ("step", step)] {
            it = it.with(key, number(value));
        }
        it.commanded = true;
        it.config()
    }

    /// A setting with a closed list.
    pub(crate) fn select(options: impl IntoIterator<Item = &'static str>) -> Self {
        let mut it = Self::new("select", Template::Plain).options(options);
        it.commanded = true;
        it
    }

    /// A setting that is on or off.
    pub(crate) fn switch() -> Self {
        let mut it = Self::new("switch", Template::Plain)
            .with("payload_on", "ON")
            .with("payload_off", "OFF")
            .with("state_on", "True")
            .with("state_off", "False");
        it.commanded = true;
        it
    }

    /// Something done once.
    pub(crate) fn button(payload: &str) -> Self {
        let mut it = Self::new("button", Template::None).with("payload_press", payload);
        it.commanded = true;
        it
    }

    /// Messages of a closed list.
    pub(crate) fn event(types: impl IntoIterator<Item = &'static str>) -> Self {
        let types: Vec<_> = types.into_iter().collect();
        Self::new("event", Template::None).with("event_types", json!(types))
    }

    /// Any other key of the platform.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.to_owned(), value.into());
        self
    }

    /// Shown name; left out where Home Assistant names the entity after its class in the user's language.
    pub(crate) fn name(self, name: impl Into<String>) -> Self {
        self.with("name", name.into())
    }

    /// Device class.
    pub(crate) fn class(self, class: &str) -> Self {
        self.with("device_class", class)
    }

    /// Unit of a sensor or number.
    pub(crate) fn unit(self, unit: &str) -> Self {
        self.with("unit_of_measurement", unit)
    }

    /// It goes up and down.
    pub(crate) fn measured(self) -> Self {
        self.with("state_class", "measurement")
    }

    /// It only goes up, or starts again at 0.
    pub(crate) fn counter(self) -> Self {
        self.with("state_class", "total_increasing")
    }

    /// Decimals shown.
    pub(crate) fn digits(self, digits: u8) -> Self {
        self.with("suggested_display_precision", digits)
    }

    /// A closed list of words.
    pub(crate) fn options(self, options: impl IntoIterator<Item = &'static str>) -> Self {
        let options: Vec<_> = options.into_iter().collect();
        self.with("options", json!(options))
    }

    /// A word of a closed list.
    pub(crate) fn words(options: impl IntoIterator<Item = &'static str>) -> Self {
        Self::sensor().class("enum").options(options)
    }

    /// Among the settings of the device.
    pub(crate) fn config(self) -> Self {
        self.with("entity_category", "config")
    }

    /// Among the diagnostics of the device.
    pub(crate) fn diagnostic(self) -> Self {
        self.with("entity_category", "diagnostic")
    }

    /// Disabled until the user wants it.
    pub(crate) fn disabled(self) -> Self {
        self.with("enabled_by_default", false)
    }

    /// Icon of the material design set, where no class gives one.
    pub(crate) fn icon(self, icon: &str) -> Self {
        self.with("icon", format!("mdi:{icon}"))
    }

    /// Null means that there is nothing to tell.
    pub(crate) fn or_none(mut self) -> Self {
        self.template = Template::OrNone;
        self
    }

    /// Available while we are, whatever the device does.
    pub(crate) fn bridge_only(mut self) -> Self {
        self.bridge_only = true;
        self
    }

    /// The value comes from this meter and ages with it.
    pub(crate) fn with_meter(mut self, meter: Option<&str>) -> Self {
        self.source = meter.map(Place::meter);
        self
    }

    /// Not before this key has had a value, where another device's meter measures it: it may not have it at all.
    pub(crate) fn once_seen(mut self, key: &'static str) -> Self {
        self.needs = self.source.is_some().then_some(key);
        self
    }

    /// It is no value of the meter's, and available without it.
    pub(crate) fn without_meter(mut self) -> Self {
        self.source = None;
        self
    }

    /// The key that must have had a value.
    pub(crate) fn needs(&self) -> Option<&'static str> {
        self.needs
    }

    /// Takes a setting back to what the file says; a number has no value for that.
    pub(crate) fn take_back(setting: &'static str, name: &str) -> Self {
        let mut it = Self::button("none").name(name).icon("cancel").config();
        it.setting = Some(setting);
        it
    }

    /// As it stands in the device message.
    pub(crate) fn to_json(&self, key: &str, place: &Place, topics: &Topics) -> Value {
        let mut fields = self.fields.clone();
        fields.insert("platform".into(), self.platform.into());
        fields.entry("unique_id").or_insert_with(|| format!("{}_{key}", topics.object_id(place)).into());
        match self.template {
            Template::None => None,
            Template::Plain => Some(format!("{{{{ value_json.{key} }}}}")),
            Template::OrNone => Some(format!("{{{{ value_json.{key} or 'none' }}}}")),
        }
        .map(|template| fields.entry("value_template").or_insert(template.into()));
        if self.commanded {
            fields.entry("command_topic").or_insert_with(|| topics.set(place, self.setting.unwrap_or(key)).into());
        }
        if self.bridge_only {
            fields.insert("availability".into(), json!([{ "topic": topics.status() }]));
        } else if let Some(source) = &self.source {
            let devices = [place, source].into_iter().filter(|it| **it != Place::Site);
            let topics = std::iter::once(topics.status()).chain(devices.map(|it| topics.availability(it)));
            let topics: Vec<_> = topics.map(|it| json!({ "topic": it })).collect();
            fields.insert("availability".into(), topics.into());
        }
        Value::Object(fields)
    }
}

/// Whole numbers without a point, as Home Assistant shows and sends them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 { json!(value as i64) } else { json!(value) }
}
