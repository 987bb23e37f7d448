//! What of a backup may be shown to everybody who reads a broker: no secret, and no comment, because nobody knows what
//! people write there.

use std::path::Path;

use crate::config::{Inputs, paint, read_bounded};

/// Bytes that are still sent over MQTT.
const MAX_SHOWN: usize = 128 * 1024;
/// Of the stored settings.
const MAX_SETTINGS: u64 = 1024 * 1024;

/// Texts without secrets; `None` where there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The configuration files as TOML, one below the other.
    pub configuration: Option<String>,
    /// The add-on's options as JSON.
    pub options: Option<String>,
    /// Variables of the environment, one in a line.
    pub variables: Option<String>,
    /// The settings that were made at run time, as JSON.
    pub settings: Option<String>,
}

/// Reads the stored settings from `data_dir`, everything else is in `inputs`. Blocks as long as the disk does.
///
/// # Errors
/// When something is not what it should be: what cannot be understood cannot be cleared of secrets.
pub fn shown(inputs: &Inputs, data_dir: &Path) -> Result<Shown, String> {
    let mut configuration = String::new();
    for file in &inputs.files {
        let mut table: toml::Table = file.text.parse().map_err(|_| format!("{} is not TOML", file.name))?;
        paint::clear_toml(&mut table);
        let text = toml::to_string(&table).map_err(|error| format!("{}: {error}", file.name))?;
        configuration.push_str(&format!("# {}\n{text}\n", file.name));
    }
    let options = inputs.options.as_ref().map(|file| {
        let mut value = serde_json::from_str(&file.text).map_err(|_| format!("{} is not JSON", file.name))?;
        paint::clear_json(&mut value);
        Ok::<_, String>(value.to_string())
    });
    let variables: Vec<String> =
        inputs.variables.iter().map(|(name, value)| format!("{name}={}", paint::cleared(name, value))).collect();
    let settings = match read_bounded(&data_dir.join(crate::config::SETTINGS_FILE), MAX_SETTINGS) {
        Ok(bytes) => {
            let value: serde_json::Value =
                serde_json::from_slice(&bytes).map_err(|_| "the stored settings are not JSON".to_owned())?;
            Some(value.to_string())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("the stored settings: {error}")),
    };
    let shown = Shown {
        configuration: (!configuration.is_empty()).then_some(configuration),
        options: options.transpose()?,
        variables: (!variables.is_empty()).then(|| variables.join("\n")),
        settings,
    };
    let texts = [&shown.configuration, &shown.options, &shown.variables, &shown.settings];
    let size: usize = texts.into_iter().flatten().map(String::len).sum();
    if size > MAX_SHOWN {
        return Err(format!("it has {size} bytes, allowed over MQTT are {MAX_SHOWN}: run `gridkeeper backup FILE`"));
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceFile;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile { name: name.into(), base: "/etc".into(), text: text.into(), open_to_all: false }
    }

    const SECRET: &str = "hunter2";

    #[test]
    fn no_secret_is_shown_wherever_it_stands() {
        let texts = [
            "[mqtt]\npassword = \"hunter2\"\n",
            "mqtt.password = 'hunter2'",
            "mqtt = { \"password\" = \"hunter2\", username = \"me\" }",
            "[mqtt]\nurl = \"mqtt://me:hunter2@host:1883\"\n",
            "# password hunter2\n[site]\nname = \"x\" # hunter2\n",
            "[mqtt]\npassword = \"\"\"\nhunter2\n\"\"\"\n",
            "[mqtt]\npasswort = [\"hunter2\"]\n",
            "[web]\naccess_token = { a = \"hunter2\" }\n",
            "[web]\nurl = \"http://host/?token=hunter2&x=1\"\n",
            "[[meter]]\nid = \"a\"\nkey = \"hunter2\"\n[[meter]]\nid = \"b\"\nauth_key = \"hunter2\"\n",
        ];
        let folder = tempfile::tempdir().unwrap();
        for text in texts {
            let inputs = Inputs { files: vec![file("a.toml", text)], ..Inputs::default() };
            let shown = shown(&inputs, folder.path()).unwrap().configuration.unwrap();
            assert!(!shown.contains(SECRET), "{text}:\n{shown}");
            assert!(shown.parse::<toml::Table>().is_ok(), "{shown}");
        }
        let inputs = Inputs {
            options: Some(file(
                "options.json",
                r#"{"mqtt":{"url":"mqtt://me:hunter2@h","password":"hunter2"},"meter":[{"token":"hunter2"}]}"#,
            )),
            variables: vec![
                ("GRIDKEEPER__MQTT__PASSWORD".into(), SECRET.into()),
                ("GRIDKEEPER__MQTT__URL".into(), "mqtt://me:hunter2@host".into()),
                ("GRIDKEEPER__GRID__FUSE_A".into(), "25".into()),
            ],
            ..Inputs::default()
        };
        let shown = shown(&inputs, folder.path()).unwrap();
        assert!(!format!("{shown:?}").contains(SECRET), "{shown:?}");
        assert!(shown.variables.unwrap().contains("GRIDKEEPER__GRID__FUSE_A=25"));
        assert_eq!(shown.configuration, None);
    }

    #[test]
    fn everything_else_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settings.json"), "{\"version\": 1, \"settings\": {}}").unwrap();
        let text = "[grid]\nfuse_a = 25.5\n[mqtt]\npassword_file = \"mqtt.password\"\n[[charger]]\nid = \"left\"\n";
        let inputs = Inputs { files: vec![file("a.toml", text)], ..Inputs::default() };
        let shown = shown(&inputs, folder.path()).unwrap();
        let (mut kept, whole) =
            (shown.configuration.unwrap().parse::<toml::Table>().unwrap(), text.parse::<toml::Table>());
        assert_eq!(kept, whole.unwrap());
        assert!(kept.remove("grid").is_some());
        assert_eq!(shown.settings.unwrap(), r#"{"settings":{},"version":1}"#);
    }

    #[test]
    fn what_cannot_be_understood_is_not_shown() {
        let inputs = Inputs { files: vec![file("a.toml", "password hunter2")], ..Inputs::default() };
        assert_eq!(shown(&inputs, Path::new("/nonexistent")).unwrap_err(), "a.toml is not TOML");
    }
}
