//! Layers: files in order, then environment variables, then add-on options. Each is checked by itself, key by key, and
//! then the layers are laid on top of each other. A value keeps its place on the way, so that every later message can
//! still name the line or the variable that it came from.

use std::collections::HashMap;

use config::{Config as Layers, ConfigError, Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Severity};
use super::form;
use super::key::{Field, Node, NodeKind, closest, short};
use super::meter_models;
use super::naming::{variable_form, wrong_id};
use super::raw::{SECTIONS, Section};
use super::slip;
use super::source::{At, Inputs, Part, Place, Report, SourceFile};
use crate::feature::{COMES, Purpose, not_yet};

/// Prefix of the variables that belong to us.
pub(super) const PREFIX: &str = "GRIDKEEPER__";
/// Devices of one configuration.
const MAX_DEVICES: usize = 200;

/// One device of the merged configuration.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) section: &'static str,
    /// `None` where it is missing or wrong, which was said.
    pub(super) id: Option<String>,
    /// `charger.left`, or `charger[0]` without an id.
    pub(super) path: String,
    /// Its header in the first layer that has it.
    pub(super) header: At,
    pub(super) table: HashMap<String, Value>,
}

/// All layers on top of each other.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// Plain tables by name.
    pub(super) tables: HashMap<String, HashMap<String, Value>>,
    /// In the order in which they were first named.
    pub(super) devices: Vec<Device>,
    /// Place of each plain table's header.
    pub(super) headers: HashMap<&'static str, At>,
}

/// A device as far as it is known while the layers are read.
struct Known {
    section: &'static str,
    /// Its id, or a stand-in that no id can be.
    key: String,
    valid: bool,
    path: String,
    header: At,
    id_at: At,
    layer: usize,
}

/// Reads all layers and merges them. `false`: some layer is not even well-formed, and what is missing in the result
/// means nothing.
pub(super) fn read(inputs: &Inputs, purpose: Purpose, report: &mut Report) -> (Merged, bool) {
    let mut reader = Reader { purpose, report, known: Vec::new(), headers: HashMap::new(), layer: 0 };
    let mut complete = true;
    let mut layers = Vec::new();
    for file in &inputs.files {
        let (root, well_formed) = reader.parse_toml(file);
        let found = reader.report.found();
        layers.push(reader.read_layer(root));
        if !well_formed {
            // What could be made of the rest still says where the data are, but no more can be said of it.
            reader.report.forget_since(found);
            complete = false;
        }
    }
    let mut options = None;
    if let Some(file) = &inputs.options {
        match reader.parse_json(file) {
            Some(root) => options = Some(reader.read_layer(root)),
            None => complete = false,
        }
    }
    if let (Some(form), Some(file)) = (&mut options, &inputs.options) {
        form::agree(form, &layers, &file.name, reader.report);
    }
    layers.push(reader.read_variables(&inputs.variables, complete));
    layers.extend(options);

    let Reader { known, headers, .. } = reader;
    match merge(layers) {
        Ok(tables) => (sort_out(tables, known, headers), complete),
        Err(error) => {
            report.push(Diagnostic::bare(Severity::Error, "configuration", error.to_string()));
            (Merged::default(), false)
        }
    }
}

/// One layer for the layering library.
#[derive(Clone, Debug)]
pub(super) struct Layer(pub(super) Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

fn merge(layers: Vec<Layer>) -> Result<HashMap<String, Value>, ConfigError> {
    layers.into_iter().fold(Layers::builder(), |it, layer| it.add_source(layer)).build()?.cache.into_table()
}

fn sort_out(mut tables: HashMap<String, Value>, known: Vec<Known>, headers: HashMap<&'static str, At>) -> Merged {
    let mut merged = Merged { headers, ..Merged::default() };
    for section in SECTIONS {
        let table = match tables.remove(section.name).map(|it| it.kind) {
            Some(ValueKind::Table(table)) => table,
            _ => HashMap::new(),
        };
        if section.list {
            let mut table = table;
            for it in known.iter().filter(|it| it.section == section.name) {
                let Some(ValueKind::Table(keys)) = table.remove(&it.key).map(|it| it.kind) else { continue };
                let id = it.valid.then(|| it.key.clone());
                let path = it.path.clone();
                merged.devices.push(Device { section: section.name, id, path, header: it.header, table: keys });
            }
        } else {
            merged.tables.insert(section.name.to_owned(), table);
        }
    }
    merged
}

struct Reader<'a> {
    purpose: Purpose,
    report: &'a mut Report,
    known: Vec<Known>,
    headers: HashMap<&'static str, At>,
    layer: usize,
}

impl Reader<'_> {
    /// What could be made of a file, and whether it was well-formed.
    fn parse_toml(&mut self, file: &SourceFile) -> (Node, bool) {
        let number = self.report.add_file(file);
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        for slip in slip::explain(&file.text, self.report.shown(number), &errors) {
            let at = self.report.place(Place::File { file: number, key: 0..0, value: slip.span });
            let message = format!("this is not TOML: {}", slip.message);
            self.report.error(at, "", message, slip.help);
        }
        let whole = table.span();
        (self.table_node(number, table.get_ref(), whole.clone(), whole), errors.is_empty())
    }

    fn table_node(
        &mut self,
        file: usize,
        table: &DeTable<'_>,
        key: std::ops::Range<usize>,
        value: std::ops::Range<usize>,
    ) -> Node {
        let at = self.report.place(Place::File { file, key, value });
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let kind = NodeKind::Table(
            entries
                .into_iter()
                .map(|(key, value)| {
                    (key.get_ref().to_string(), self.value_node(file, value.get_ref(), key.span(), value.span()))
                })
                .collect(),
        );
        Node { at, kind }
    }

    fn value_node(
        &mut self,
        file: usize,
        value: &DeValue<'_>,
        key: std::ops::Range<usize>,
        span: std::ops::Range<usize>,
    ) -> Node {
        let kind = match value {
            DeValue::Table(table) => return self.table_node(file, table, key, span),
            DeValue::String(text) => NodeKind::Text(text.to_string()),
            DeValue::Integer(it) => match i64::from_str_radix(it.as_str(), it.radix()) {
                Ok(it) => NodeKind::Whole(it),
                Err(_) => NodeKind::Other("a number beyond 64 bits"),
            },
            DeValue::Float(it) => match it.as_str().parse() {
                Ok(it) => NodeKind::Number(it),
                Err(_) => NodeKind::Other("a number that cannot be read"),
            },
            DeValue::Boolean(it) => NodeKind::Flag(*it),
            DeValue::Datetime(_) => NodeKind::Other("a date or time"),
            DeValue::Array(items) => NodeKind::List(
                items.iter().map(|it| self.value_node(file, it.get_ref(), it.span(), it.span())).collect(),
            ),
        };
        Node { at: self.report.place(Place::File { file, key, value: span }), kind }
    }

    fn parse_json(&mut self, file: &SourceFile) -> Option<Node> {
        self.report.set_options(file);
        match serde_json::from_str::<serde_json::Value>(&file.text) {
            Ok(value @ serde_json::Value::Object(_)) => Some(self.json_node(&value)),
            Ok(_) => {
                self.say_options(file, "the add-on options are not a JSON object");
                None
            }
            Err(error) => {
                // The library's text quotes nothing of the file but tells line and column.
                self.say_options(file, &format!("the add-on options are not JSON: {error}"));
                None
            }
        }
    }

    fn say_options(&mut self, file: &SourceFile, message: &str) {
        self.report.push(
            Diagnostic::bare(Severity::Error, file.name.clone(), message)
                .help("allowed: the keys of the TOML file, nested"),
        );
    }

    fn json_node(&mut self, value: &serde_json::Value) -> Node {
        use serde_json::Value as Json;
        let kind = match value {
            Json::Null => NodeKind::Other("null"),
            Json::Bool(it) => NodeKind::Flag(*it),
            Json::Number(it) => match (it.as_i64(), it.as_f64()) {
                (Some(it), _) => NodeKind::Whole(it),
                (None, Some(it)) => NodeKind::Number(it),
                (None, None) => NodeKind::Other("a number beyond 64 bits"),
            },
            Json::String(it) => NodeKind::Text(it.clone()),
            Json::Array(items) => NodeKind::List(items.iter().map(|it| self.json_node(it)).collect()),
            // An option that was never filled in comes as null: not written.
            Json::Object(entries) => NodeKind::Table(
                entries
                    .iter()
                    .filter(|it| !it.1.is_null())
                    .map(|(key, it)| (key.clone(), self.json_node(it)))
                    .collect(),
            ),
        };
        Node { at: self.report.place(Place::Option), kind }
    }

    /// Checks one file or the options; what fits goes into the layer.
    fn read_layer(&mut self, root: Node) -> Layer {
        self.layer += 1;
        let mut layer: Map<String, Value> = Map::new();
        let NodeKind::Table(entries) = root.kind else { return Layer(layer) };
        for (name, node) in entries {
            let Some(section) = SECTIONS.iter().find(|it| it.name == name) else {
                self.unknown_table(&name, &node);
                continue;
            };
            if !section.status.accepts(self.purpose) {
                let shown = if section.list { format!("`[[{name}]]`") } else { format!("`[{name}]`") };
                self.report.say(Severity::Error, (node.at, Part::Key), &name, not_yet(&shown), remove());
                continue;
            }
            let value = if section.list { self.read_list(section, node) } else { self.read_plain(section, node) };
            if let Some(value) = value {
                layer.insert(name, value);
            }
        }
        Layer(layer)
    }

    fn unknown_table(&mut self, name: &str, node: &Node) {
        let name = &short(name);
        let home = home_of(name);
        let help = match (closest(name, SECTIONS.iter().map(|it| it.name)), home.first()) {
            (_, Some(_)) => format!("`{name}` belongs in {}", home.join(" or ")),
            (Some(close), None) => format!("did you mean `{close}`?"),
            (None, None) => format!("allowed: {}", SECTIONS.map(|it| it.name).join(", ")),
        };
        let what = if matches!(node.kind, NodeKind::Table(_) | NodeKind::List(_)) { "table" } else { "key" };
        self.report.say(Severity::Error, (node.at, Part::Key), name, format!("unknown {what} `{name}`"), help);
    }

    fn read_plain(&mut self, section: &'static Section, node: Node) -> Option<Value> {
        let name = section.name;
        let NodeKind::Table(entries) = node.kind else {
            let message = format!("`{name}` is {}, but a table is needed", node.is());
            self.report.say(Severity::Error, (node.at, Part::Key), name, message, format!("write [{name}]"));
            return None;
        };
        self.headers.entry(name).or_insert(node.at);
        Some(Value::new(None, self.read_keys(section, name, entries)))
    }

    fn read_list(&mut self, section: &'static Section, node: Node) -> Option<Value> {
        let name = section.name;
        let at = node.at;
        let is = node.is();
        let (items, message, help) = match node.kind {
            NodeKind::List(items) => (items, None, String::new()),
            // `[charger.left]`: what is in them is looked at all the same.
            NodeKind::Table(keys) if section.has_ids() && !keys.is_empty() && keys.iter().all(|it| it.1.is_table()) => {
                let ids: Vec<String> = keys.iter().map(|it| format!("id = \"{}\"", short(&it.0))).collect();
                let help = format!("write [[{name}]] for each, with {} below it", ids.join(" or "));
                let message = format!("`[{name}.…]` is a table, but a list of tables is needed");
                (keys.into_iter().map(with_id).collect(), Some(message), help)
            }
            NodeKind::Table(keys) => {
                let message = format!("`[{name}]` is one table, but a list of tables is needed");
                let help = format!("write [[{name}]], with two brackets on each side, also where there is only one");
                (vec![Node { at, kind: NodeKind::Table(keys) }], Some(message), help)
            }
            _ => {
                let message = format!("`{name}` is {is}, but a list of tables is needed");
                self.report.say(Severity::Error, (at, Part::Key), name, message, format!("write [[{name}]]"));
                return None;
            }
        };
        if let Some(message) = message {
            // At the begin of the header, before what is wrong below it.
            self.report.error(at, name, message, help);
        }
        let mut devices: Map<String, Value> = Map::new();
        for (index, item) in items.into_iter().enumerate() {
            let NodeKind::Table(entries) = item.kind else {
                let message = format!("`{name}` holds {}, but tables are needed", item.is());
                self.report.error(item.at, name, message, format!("write [[{name}]]"));
                continue;
            };
            if self.known.len() >= MAX_DEVICES {
                self.report.error(item.at, name, format!("more than {MAX_DEVICES} devices"), "take some out");
                return None;
            }
            let key = if section.has_ids() {
                self.identify(section.name, index, item.at, &entries)
            } else {
                self.number(section.name, index, item.at)
            };
            let path = if key.starts_with('#') { format!("{name}[{index}]") } else { format!("{name}.{key}") };
            let keys = self.read_keys(section, &path, entries);
            devices.insert(key, Value::new(None, keys));
        }
        Some(Value::new(None, devices))
    }

    /// What stands in for the id in a list whose tables have none: no two are the same.
    fn number(&mut self, section: &'static str, index: usize, header: At) -> String {
        let key = format!("#{}-{index}", self.layer);
        let path = format!("{section}[{index}]");
        let layer = self.layer;
        self.known.push(Known { section, key: key.clone(), valid: false, path, header, id_at: header, layer });
        key
    }

    /// The device's id, or a stand-in so that the rest of it can still be checked.
    fn identify(&mut self, section: &'static str, index: usize, header: At, entries: &[(String, Node)]) -> String {
        let stand_in = format!("#{}-{index}", self.layer);
        let path = format!("{section}[{index}].id");
        let id = entries.iter().find(|it| it.0 == "id").map(|it| &it.1);
        let layer = self.layer;
        let known = |key: String, valid: bool, id_at: At| {
            let path = if valid { format!("{section}.{key}") } else { format!("{section}[{index}]") };
            Known { section, key, valid, path, header, id_at, layer }
        };
        let Some(id) = id else {
            let message = format!("`[[{section}]]` has no `id`");
            let help = "give it one, unique over all kinds: 1 to 32 of a-z, 0-9, _ and -";
            self.report.error(header, &path, message, help);
            self.known.push(known(stand_in.clone(), false, header));
            return stand_in;
        };
        let complaint = match &id.kind {
            NodeKind::Text(text) => wrong_id(text),
            // Wrong type: said with the other keys.
            _ => Some(String::new()),
        };
        if let Some(complaint) = complaint {
            if !complaint.is_empty() {
                self.report.error(
                    id.at,
                    &path,
                    complaint,
                    "allowed: 1 to 32 of a-z, 0-9, _ and -; not grid, site or set",
                );
            }
            self.known.push(known(stand_in.clone(), false, id.at));
            return stand_in;
        }
        let NodeKind::Text(text) = &id.kind else { return stand_in };
        let same = |it: &&Known| it.valid && variable_form(&it.key) == variable_form(text);
        match self.known.iter().find(same) {
            // The same device in a later file: its keys lie on top.
            Some(before) if before.key == *text && before.section == section && before.layer != layer => {}
            Some(before) => {
                let (before_key, before_section, before_at) = (before.key.clone(), before.section, before.id_at);
                let place = self.describe(before_at);
                let message = if before_key == *text {
                    format!("the id `{text}` is used twice: first by a {before_section} {place}")
                } else {
                    format!("the ids `{text}` and `{before_key}` ({place}) differ only in - and _")
                };
                self.report.error(
                    id.at,
                    &format!("{section}.{text}.id"),
                    message,
                    "choose another id: it must be unique over all kinds",
                );
                self.known.push(known(stand_in.clone(), false, id.at));
                return stand_in;
            }
            None => self.known.push(known(text.clone(), true, id.at)),
        }
        text.clone()
    }

    /// A place in words, for a message about another one.
    fn describe(&self, at: At) -> String {
        self.report.describe(at)
    }

    fn read_keys(&mut self, section: &Section, path: &str, entries: Vec<(String, Node)>) -> Map<String, Value> {
        let mut keys = Map::new();
        for (name, node) in entries {
            let path = format!("{path}.{}", short(&name));
            match section.fields.iter().find(|it| it.name == name) {
                Some(field) => {
                    let value = self.read_key(field, &path, &node);
                    keys.insert(name, value);
                }
                None => self.unknown_key(section, &path, &name, &node),
            }
        }
        keys
    }

    /// The value with its place; nil stands for a wrong one.
    fn read_key(&mut self, field: &Field, path: &str, node: &Node) -> Value {
        let origin = node.at.to_origin();
        if !field.status.accepts(self.purpose) {
            let message = not_yet(&format!("`{}`", field.name));
            self.report.say(Severity::Error, (node.at, Part::Key), path, message, remove());
            return Value::new(Some(&origin), ValueKind::Nil);
        }
        match field.check(node, self.purpose) {
            Ok(kind) => Value::new(Some(&origin), kind),
            Err(mut complaint) => {
                let message = format!("`{}` {}", field.name, complaint.message);
                if let (NodeKind::Text(text), "driver") = (&node.kind, field.name)
                    && path.starts_with("meter")
                    && let Some(model) = meter_models::near(text, &[]).first()
                {
                    complaint.help = format!("write driver = \"modbus\" and model = {model:?}; {}", complaint.help);
                }
                self.report.error(node.at, path, message, complaint.help);
                Value::new(Some(&origin), ValueKind::Nil)
            }
        }
    }

    fn unknown_key(&mut self, section: &Section, path: &str, name: &str, node: &Node) {
        let accepted = || section.fields.iter().filter(|it| it.status.accepts(self.purpose)).map(|it| it.name);
        let home = home_of(name);
        let help = match (closest(name, accepted()), home.is_empty()) {
            (Some(close), _) => format!("did you mean `{close}`?"),
            (None, false) => format!("`{name}` belongs in {}", home.join(" or ")),
            (None, true) => format!("allowed: {}", accepted().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("unknown key `{}` in {}", short(name), header_of(section));
        self.report.say(Severity::Error, (node.at, Part::Key), path, message, help);
    }

    /// Checks the environment. Devices are known by then, unless a file could not be read.
    fn read_variables(&mut self, variables: &[(String, String)], complete: bool) -> Layer {
        self.layer += 1;
        let mut layer: Map<String, Value> = Map::new();
        for (name, value) in variables {
            let at = self.report.place(Place::Variable(name.clone()));
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let said = self.report.found();
            let Some((section, device, field)) = self.find_variable(rest, at) else {
                if !complete {
                    self.report.forget_since(said);
                }
                continue;
            };
            let path = match &device {
                Some(id) => format!("{}.{id}.{}", section.name, field.name),
                None => format!("{}.{}", section.name, field.name),
            };
            let node = field.node_from_text(at, value);
            let value = self.read_key(field, &path, &node);
            let table =
                layer.entry(section.name.to_owned()).or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
            let ValueKind::Table(table) = &mut table.kind else { continue };
            let table = match device {
                None => table,
                Some(id) => {
                    match &mut table.entry(id).or_insert_with(|| Value::new(None, Map::<String, Value>::new())).kind {
                        ValueKind::Table(it) => it,
                        _ => continue,
                    }
                }
            };
            table.insert(field.name.to_owned(), value);
        }
        Layer(layer)
    }

    /// Table, device and key that a variable means.
    fn find_variable(&mut self, rest: &str, at: At) -> Option<(&'static Section, Option<String>, &'static Field)> {
        let (table, rest) = rest.split_once("__").unwrap_or((rest, ""));
        let path = table.to_lowercase();
        let mut fail = |message: String, help: String| {
            self.report.error(at, &path, message, help);
            None
        };
        let Some(section) = SECTIONS.iter().find(|it| variable_form(it.name) == table) else {
            let close = closest(table, SECTIONS.iter().map(|it| it.name));
            let help = match close {
                Some(close) => format!("did you mean {PREFIX}{}…?", variable_form(close)),
                None => format!("allowed: {PREFIX}<TABLE>__<KEY> with a table of the file"),
            };
            return fail(format!("there is no table `{}`", short(&table.to_lowercase())), help);
        };
        if !section.status.accepts(self.purpose) {
            return fail(not_yet(&format!("`{}`", section.name)), remove());
        }
        if section.list && !section.has_ids() {
            let message = format!("a {} has no id that a variable could name", header_of(section));
            return fail(message, "write it in a file".to_owned());
        }
        let (device, key) = if section.list {
            let ids = self.known.iter().filter(|it| it.valid && it.section == section.name).map(|it| &it.key);
            let found = ids
                .clone()
                .filter_map(|id| Some((id, rest.strip_prefix(&variable_form(id))?.strip_prefix("__")?)))
                .max_by_key(|it| it.0.len());
            let Some((id, key)) = found else {
                let ids: Vec<String> = ids.map(|it| variable_form(it)).collect();
                let id = rest.split_once("__").map_or(rest, |it| it.0);
                let help = if ids.is_empty() {
                    format!("the files configure no {}", section.name)
                } else {
                    format!(
                        "allowed: {PREFIX}{}__<ID>__<KEY> with ID one of {}",
                        variable_form(section.name),
                        ids.join(", ")
                    )
                };
                return fail(format!("there is no {} `{}`", section.name, short(&id.to_lowercase())), help);
            };
            (Some(id.clone()), key)
        } else {
            (None, rest)
        };
        let named = |it: &&Field| it.name != "id" && variable_form(it.name) == key;
        let Some(field) = section.fields.iter().find(named) else {
            let names = || section.fields.iter().map(|it| it.name).filter(|it| *it != "id");
            let help = match closest(&key.to_lowercase(), names()) {
                Some(close) => format!("did you mean …{}?", variable_form(close)),
                None => format!("allowed: {}", names().map(variable_form).collect::<Vec<_>>().join(", ")),
            };
            return fail(format!("{} has no key `{}`", header_of(section), short(&key.to_lowercase())), help);
        };
        Some((section, device, field))
    }
}

/// `[charger.left]` as `[[charger]]` with its id.
fn with_id((name, node): (String, Node)) -> Node {
    let Node { at, kind } = node;
    let NodeKind::Table(mut keys) = kind else { return Node { at, kind } };
    if !keys.iter().any(|it| it.0 == "id") {
        keys.push(("id".to_owned(), Node { at, kind: NodeKind::Text(name) }));
    }
    Node { at, kind: NodeKind::Table(keys) }
}

/// The tables that have this key.
fn home_of(name: &str) -> Vec<String> {
    SECTIONS.iter().filter(|it| it.fields.iter().any(|it| it.name == name)).map(|it| header_of(it)).collect()
}

/// As it is written.
pub(super) fn header_of(section: &Section) -> String {
    if section.list { format!("[[{}]]", section.name) } else { format!("[{}]", section.name) }
}

/// What to do about something of a later version.
fn remove() -> String {
    format!("take it out; {COMES}")
}
