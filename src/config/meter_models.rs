//! Model files of Modbus meters: those in the binary, and those in `<data_dir>/models`, which go first.

use std::io::Read as _;
use std::path::Path;

use super::key::closest;
use crate::codec::model::{Model, ModelErrors};

/// No model file is longer; the same bound as when it is parsed.
const LONGEST: u64 = 64 * 1024;

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        /// Every model of the binary: name and content.
        const EMBEDDED: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../config/models/", $name, ".toml"))),)*
        ];
    };
}

embedded![
    "abb-ab",
    "acrel-acr10r",
    "acrel-acr10r-d16te4",
    "acrel-adl3000",
    "acrel-adl400",
    "acrel-adw300",
    "acrel-single-phase",
    "carlo-gavazzi-em1xx",
    "carlo-gavazzi-em24",
    "carlo-gavazzi-em24-e1",
    "carlo-gavazzi-em3xx",
    "carlo-gavazzi-em3xx-s27",
    "carlo-gavazzi-em5xx",
    "chint-ddsu666",
    "chint-dtsu666",
    "eastron-sdm120",
    "eastron-sdm630",
    "eastron-sdm72",
    "eastron-sdm72-v2",
    "entes-emm",
    "entes-mpr",
    "esp-p1-modbus",
    "gossen-energymid",
    "inepro-pro",
    "iskra-mc",
    "iskra-wm3m4",
    "janitza-umg",
    "kostal-ksem",
    "shelly-pro-3em",
    "siemens-pac",
    "siemens-pac1600",
    "smartstuff-p1",
    "smartstuff-p1-float",
    "smartstuff-p1-tcp",
    "solaredge-meter",
    "sunspec-meter",
    "sunspec-meter-float",
];

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is none of this name.
    #[error("there is no model {0:?}")]
    Unknown(String),
    /// The user's file cannot be read.
    #[error("{file}: {error}")]
    Unreadable {
        /// Its path.
        file: String,
        /// As the system says it.
        error: std::io::Error,
    },
    /// Something in the user's file is wrong.
    #[error("{file}: {errors}")]
    Wrong {
        /// Its path.
        file: String,
        /// What stands in it.
        text: String,
        /// All of it.
        errors: ModelErrors,
    },
}

/// Names of the models in the binary, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|it| it.0)
}

/// Every model in the binary.
#[must_use]
pub fn embedded() -> Vec<Model> {
    EMBEDDED.iter().map(|(name, text)| Model::parse(name, text).expect("a test reads every embedded model")).collect()
}

/// The models in the binary, and those of the user by their names in `own`, that a name which no model has may be meant
/// for, best first: a type on the meter's front, a part of a name, a maker, a slip of the pen. At most three.
#[must_use]
pub fn near(name: &str, own: &[String]) -> Vec<String> {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let wanted = plain(name);
    if wanted.len() < 3 {
        return Vec::new();
    }
    let all: Vec<&str> = own.iter().map(String::as_str).chain(names().map(|it| it as &str)).collect();
    let slip = closest(name, all);
    let rank = |model: &Model| {
        let (id, types) = (plain(&model.id), model.fits.iter().map(|it| plain(it)).collect::<Vec<_>>());
        if types.contains(&wanted) {
            Some(0)
        } else if slip == Some(model.id.as_str()) {
            Some(1)
        } else if id.contains(&wanted) || types.iter().any(|it| it.contains(&wanted)) {
            Some(2)
        } else if wanted.contains(&id) || types.iter().any(|it| it.len() > 3 && wanted.contains(it)) {
            Some(3)
        } else if plain(&model.vendor) == wanted {
            Some(4)
        } else {
            None
        }
    };
    let mut found: Vec<(u8, String)> = embedded().into_iter().filter_map(|it| Some((rank(&it)?, it.id))).collect();
    found.extend(own.iter().filter(|it| slip == Some(it.as_str())).map(|it| (1, it.clone())));
    found.sort();
    found.dedup_by(|a, b| a.1 == b.1);
    found.into_iter().map(|it| it.1).take(3).collect()
}

/// Names of the user's own files; none where they cannot be listed.
#[must_use]
pub fn own_names(data_dir: &Path) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(data_dir.join("models")) else { return Vec::new() };
    let name = |it: std::fs::DirEntry| Some(it.file_name().to_str()?.strip_suffix(".toml")?.to_owned());
    files.flatten().filter_map(name).collect()
}

/// Every model: the user's own first, then those of the binary whose names no file of the user has. Beside them why files
/// of the user cannot be used.
#[must_use]
pub fn with_own(data_dir: &Path) -> (Vec<Model>, Vec<Unusable>) {
    let mut own = own_names(data_dir);
    own.sort();
    let (mut models, mut unusable) = (Vec::new(), Vec::new());
    for name in &own {
        match find(name, data_dir) {
            Ok(model) => models.push(model),
            Err(error) => unusable.push(error),
        }
    }
    models.extend(embedded().into_iter().filter(|it| !own.contains(&it.id)));
    (models, unusable)
}

/// The model of this name: the user's own, or that of the binary.
pub fn find(name: &str, data_dir: &Path) -> Result<Model, Unusable> {
    // The name becomes part of a path.
    let letter = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-' || it == '_';
    if name.is_empty() || !name.chars().all(letter) {
        return Err(Unusable::Unknown(name.to_owned()));
    }
    let file = data_dir.join("models").join(format!("{name}.toml"));
    match std::fs::File::open(&file) {
        Ok(open) => {
            let mut text = String::new();
            let unreadable = |error| Unusable::Unreadable { file: file.display().to_string(), error };
            open.take(LONGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
            match Model::parse(name, &text) {
                Ok(model) => Ok(model),
                Err(errors) => Err(Unusable::Wrong { file: file.display().to_string(), text, errors }),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (_, text) =
                EMBEDDED.iter().find(|it| it.0 == name).ok_or_else(|| Unusable::Unknown(name.to_owned()))?;
            Ok(Model::parse(name, text).expect("a test reads every embedded model"))
        }
        Err(error) => Err(Unusable::Unreadable { file: file.display().to_string(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded_and_right() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/models");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        assert_eq!(names().collect::<Vec<_>>(), files, "list every file of config/models, in alphabetical order");
        for (name, text) in EMBEDDED {
            Model::parse(name, text).unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(embedded().len(), files.len());
    }

    #[test]
    fn a_name_that_no_model_has_leads_to_those_that_are_meant() {
        for (name, first) in [
            ("sdm630", "eastron-sdm630"),
            ("eastron-sdm631", "eastron-sdm630"),
            ("SDM630-Modbus V2", "eastron-sdm630"),
            ("EM340", "carlo-gavazzi-em3xx"),
            ("ET112", "carlo-gavazzi-em1xx"),
            ("PAC2200", "siemens-pac"),
            ("Chint", "chint-ddsu666"),
            ("my-mtr", "my-meter"),
        ] {
            let found = near(name, &["my-meter".to_owned()]);
            assert_eq!(found.first().map(String::as_str), Some(first), "{name}: {found:?}");
            assert!(found.len() <= 3, "{found:?}");
        }
        for name in ["", "x", "toaster"] {
            assert!(near(name, &[]).is_empty(), "{name}");
        }
    }

    #[test]
    fn the_user_s_file_goes_first_and_a_name_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find("eastron-sdm630", folder.path()).unwrap().vendor, "Eastron");
        std::fs::create_dir(folder.path().join("models")).unwrap();
        let file = folder.path().join("models/eastron-sdm630.toml");
        let text = EMBEDDED.iter().find(|it| it.0 == "eastron-sdm630").unwrap().1;
        std::fs::write(&file, text.replace("vendor = \"Eastron\"", "vendor = \"Mine\"")).unwrap();
        assert_eq!(find("eastron-sdm630", folder.path()).unwrap().vendor, "Mine");
        std::fs::write(&file, "format = 2").unwrap();
        assert!(matches!(find("eastron-sdm630", folder.path()), Err(Unusable::Wrong { .. })));
        std::fs::write(folder.path().join("models/mine.toml"), text).unwrap();
        let (models, unusable) = with_own(folder.path());
        assert_eq!(models.first().map(|it| it.id.as_str()), Some("mine"));
        assert!(!models.iter().any(|it| it.id == "eastron-sdm630"), "the user's own one is meant, and it is wrong");
        assert_eq!((models.len(), unusable.len()), (names().count(), 1));
        for name in ["", "../models/x", "a/b", "Eastron", "none-such"] {
            assert!(matches!(find(name, folder.path()), Err(Unusable::Unknown(_))), "{name}");
        }
    }
}
