//! The JSON Schema of the file, made from the same description that checks it.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::key::{Field, Kind};
use super::raw::{self, Section};
use crate::feature::{self, Purpose};

/// The whole file.
struct Document;

/// The schema of one table.
pub(super) fn table(section: &Section) -> Schema {
    let accepted = || section.fields.iter().filter(|it| it.status.accepts(Purpose::Run));
    let properties: Map<String, Value> = accepted().map(|it| (it.name.to_owned(), key(it))).collect();
    let mut schema = json_schema!({
        "description": section.doc.trim(),
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if section.list {
        let required: Vec<&str> =
            accepted().map(|it| it.name).filter(|it| ["id", "driver", "kind"].contains(it)).collect();
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn list(items: Value, most: usize) -> Value {
    json!({"type": "array", "items": items, "minItems": 1, "maxItems": most, "uniqueItems": true})
}

fn key(field: &Field) -> Value {
    let mut schema = match field.kind {
        Kind::Text { .. } if field.name == "id" => json!({"type": "string", "pattern": "^[a-z0-9_-]{1,32}$"}),
        Kind::Text { max } => json!({"type": "string", "maxLength": max}),
        Kind::Number { min, max, .. } => json!({"type": "number", "minimum": min, "maximum": max}),
        Kind::Current { max } => {
            json!({"anyOf": [{"const": 0}, {"type": "number", "minimum": 6, "maximum": max}]})
        }
        Kind::Whole { min, max, .. } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Choice(numbers) => json!({"type": "integer", "enum": numbers}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Word { now, listed, .. } => {
            let words: Vec<&str> = feature::words(now, listed, Purpose::Run).collect();
            json!({"type": "string", "enum": words})
        }
        Kind::Lines => json!({
            "type": "array",
            "items": {"type": "string", "enum": ["L1", "L2", "L3"]},
            "minItems": 1,
            "maxItems": 3,
            "uniqueItems": true,
        }),
        Kind::Texts { most } => list(json!({"type": "string"}), most),
        Kind::Addresses { most } => {
            json!({"type": "array", "items": {"type": "string"}, "maxItems": most, "uniqueItems": true})
        }
        Kind::Words(words) => list(json!({"type": "string", "enum": words}), words.len()),
        Kind::Active => json!({
            "anyOf": [{"type": "string", "enum": ["high", "low"]}, list(json!({"type": "string"}), 16)],
        }),
        Kind::PhaseSwitching => json!({"type": "string", "enum": ["auto", "never"]}),
        Kind::Any => json!({}),
    };
    let mut description = field.doc.trim().to_owned();
    if !field.drivers.is_empty() {
        description.push_str(&format!(" Only with driver {}.", field.drivers.join(", ")));
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), description.into());
        if field.secret {
            schema.insert("writeOnly".to_owned(), true.into());
        }
    }
    schema
}

impl JsonSchema for Document {
    fn schema_name() -> Cow<'static, str> {
        "Gridkeeper configuration".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let devices = |items: Schema| json!({"type": "array", "items": items});
        json_schema!({
            "description": "Made by `gridkeeper schema`. Units are in the names of the keys; times are seconds and may have decimals.",
            "type": "object",
            "properties": {
                "site": generator.subschema_for::<raw::Site>(),
                "grid": generator.subschema_for::<raw::Grid>(),
                "control": generator.subschema_for::<raw::Control>(),
                "timing": generator.subschema_for::<raw::Timing>(),
                "mqtt": generator.subschema_for::<raw::Mqtt>(),
                "web": generator.subschema_for::<raw::Web>(),
                "storage": generator.subschema_for::<raw::Storage>(),
                "influx": generator.subschema_for::<raw::Influx>(),
                "meter": devices(generator.subschema_for::<raw::Meter>()),
                "circuit": devices(generator.subschema_for::<raw::Circuit>()),
                "charger": devices(generator.subschema_for::<raw::Charger>()),
                "input": devices(generator.subschema_for::<raw::Input>()),
                "relay": devices(generator.subschema_for::<raw::Relay>()),
                "serve": devices(generator.subschema_for::<raw::Serve>()),
            },
            "additionalProperties": false,
        })
    }
}

/// The schema as text, with a line end.
///
/// # Errors
/// None that can happen with the tables of this program.
pub fn schema() -> serde_json::Result<String> {
    let root = SchemaSettings::draft07().into_generator().into_root_schema_for::<Document>();
    let mut text = serde_json::to_string_pretty(&root)?;
    text.push('\n');
    Ok(text)
}
