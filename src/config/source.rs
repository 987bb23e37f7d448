//! The texts that a configuration is read from, and where each value of it stood.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use serde::{Deserialize, Serialize};

use super::diagnostic::{Diagnostic, Severity};
use super::paint;

/// A configuration file is refused above this size.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// Where a configuration is looked for when none is named, best first.
pub const DEFAULT_FILES: [&str; 2] = ["/etc/gridkeeper/gridkeeper.toml", "gridkeeper.toml"];
/// The same in the Home Assistant add-on, where it goes first: the folder that people reach from there.
pub const ADD_ON_FILE: &str = "/config/gridkeeper.toml";

/// One file, read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// As it was named.
    pub name: String,
    /// Relative paths in it start here.
    pub base: PathBuf,
    /// Its text.
    pub text: String,
    /// Others than the owner and the group may read it.
    pub open_to_all: bool,
}

impl SourceFile {
    /// Reads a file, bounded.
    pub(super) fn read(path: &Path) -> Result<Self, Box<Diagnostic>> {
        let name = path.display().to_string();
        let fail = |text: String| {
            let help = "name a readable file, for example -c /etc/gridkeeper/gridkeeper.toml";
            Box::new(Diagnostic::bare(Severity::Error, name.clone(), text).help(help))
        };
        let bytes = read_bounded(path, MAX_BYTES).map_err(|error| fail(format!("cannot be read: {error}")))?;
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
                let lossy = SourceText::new(name, String::from_utf8_lossy(error.as_bytes()).into_owned(), &base);
                let byte =
                    Diagnostic::at(Severity::Error, &Arc::new(lossy), good..good + 1, "the file is not UTF-8 text");
                return Err(Box::new(byte.help("save the file as UTF-8")));
            }
        };
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self { name, base, text, open_to_all: open_to_all(path) })
    }
}

impl std::fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Everything a configuration was made from; kept so that the last good one can be loaded again.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// In order, a later one lies on top.
    pub files: Vec<SourceFile>,
    /// The variables that begin with `GRIDKEEPER__`, sorted.
    pub variables: Vec<(String, String)>,
    /// Add-on options.
    pub options: Option<SourceFile>,
    /// Default of `storage.data_dir`.
    pub default_data_dir: PathBuf,
}

impl std::fmt::Debug for Inputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Reads at most `limit` bytes; a longer file is an error.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(std::io::Error::new(std::io::ErrorKind::IsADirectory, "it is a folder"));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, format!("it is longer than {limit} bytes")));
    }
    Ok(bytes)
}

/// Whether anybody on the machine may read it.
#[cfg(unix)]
pub(super) fn open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o004 != 0)
}

/// Unknown here, so no warning.
#[cfg(not(unix))]
pub(super) fn open_to_all(_path: &Path) -> bool {
    false
}

/// Of a longer line only the mark is shown, and of the mark only so much.
const LINE_SHOWN: usize = 400;
const MARK_SHOWN: usize = 60;

/// A text, and the version of it that may be shown.
#[derive(Debug)]
pub(super) struct SourceText {
    name: String,
    text: String,
    shown: String,
}

impl SourceText {
    /// Finds what looks like a secret and paints it over in the shown version. `base`: where relative paths in it start.
    pub(super) fn new(name: String, text: String, base: &Path) -> Self {
        let shown = paint::paint_over(&text, &|path| base.join(path).is_file());
        Self { name, text, shown }
    }

    /// A text that holds no secret.
    fn open(name: String, text: String) -> Self {
        let shown = paint::tame(&text);
        Self { name, text, shown }
    }

    /// As long as the text, with stars for what must not be shown.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Line and column in characters, both from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.clip(offset..offset).start];
        let line_start = before.rfind('\n').map_or(0, |it| it + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// Brings a span inside the text, onto character boundaries and not past the end of its first line. What stands at
    /// the very end of a line is shown at its last character.
    pub(super) fn clip(&self, span: Range<usize>) -> Range<usize> {
        let down = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let mut start = down(span.start);
        let line = self.line_around(start);
        if start == line.end && start > line.start {
            start = down(start - 1);
        }
        let longest = if line.len() > LINE_SHOWN { start + MARK_SHOWN } else { line.end };
        start..down(span.end.min(longest)).clamp(start, line.end)
    }

    /// The line, without its end, that a place on a character boundary is in.
    fn line_around(&self, at: usize) -> Range<usize> {
        let start = self.text[..at].rfind('\n').map_or(0, |it| it + 1);
        let end = self.text[start..].find('\n').map_or(self.text.len(), |it| start + it);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        start..end.max(at)
    }
}

/// The report is drawn from the shown version: always the whole line, never its neighbours.
impl SourceCode for SourceText {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let marked = self.clip(span.offset()..span.offset() + span.len());
        let (number, column) = self.position(marked.start);
        let line = self.line_around(marked.start);
        // Without context lines the caller asks where the mark itself stands.
        let whole = before > 0 && line.len() <= LINE_SHOWN;
        let (part, column) = if whole { (line, 0) } else { (marked, column - 1) };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            &self.shown.as_bytes()[part.clone()],
            SourceSpan::from(part),
            number - 1,
            column,
            1,
        )))
    }
}

/// Where a value stood: an index into [`Places`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct At(usize);

impl At {
    /// As the layering library carries it.
    pub(super) fn to_origin(self) -> String {
        self.0.to_string()
    }

    /// Back from there.
    pub(super) fn from_origin(origin: Option<&str>) -> Option<Self> {
        origin.and_then(|it| it.parse().ok()).map(Self)
    }
}

/// Kinds of place.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In a file.
    File {
        /// Which.
        file: usize,
        /// The key, or the header of a table.
        key: Range<usize>,
        /// The value.
        value: Range<usize>,
    },
    /// An environment variable.
    Variable(String),
    /// In the add-on options.
    Option,
}

/// Which half of `key = value` is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The name.
    Key,
    /// What it is set to.
    Value,
}

/// The places of all values, and what was found to be wrong.
#[derive(Debug, Default)]
pub(super) struct Report {
    sources: Vec<Arc<SourceText>>,
    bases: Vec<PathBuf>,
    options: Option<(String, PathBuf)>,
    places: Vec<Place>,
    found: Vec<(usize, usize, Diagnostic)>,
}

impl Report {
    /// Takes a file in; its number.
    pub(super) fn add_file(&mut self, file: &SourceFile) -> usize {
        self.sources.push(Arc::new(SourceText::new(file.name.clone(), file.text.clone(), &file.base)));
        self.bases.push(file.base.clone());
        self.sources.len() - 1
    }

    /// Takes a model file of a meter in; its number. `None`: that was done before.
    pub(super) fn add_model_file(&mut self, name: &str, text: &str) -> Option<usize> {
        if self.sources.iter().any(|it| it.name() == name) {
            return None;
        }
        self.sources.push(Arc::new(SourceText::open(name.to_owned(), text.to_owned())));
        self.bases.push(PathBuf::new());
        Some(self.sources.len() - 1)
    }

    /// What of a file may be shown; empty for one that was never taken in.
    pub(super) fn shown(&self, file: usize) -> &str {
        self.sources.get(file).map_or("", |it| it.shown())
    }

    /// Takes the add-on options in.
    pub(super) fn set_options(&mut self, file: &SourceFile) {
        self.options = Some((file.name.clone(), file.base.clone()));
    }

    /// Takes a place in.
    pub(super) fn place(&mut self, place: Place) -> At {
        self.places.push(place);
        At(self.places.len() - 1)
    }

    /// The place.
    pub(super) fn get(&self, at: At) -> Option<&Place> {
        self.places.get(at.0)
    }

    /// The place in words, for a message about another one.
    pub(super) fn describe(&self, at: At) -> String {
        match self.get(at) {
            Some(Place::File { file, value, .. }) => match self.sources.get(*file) {
                Some(source) => format!("in line {} of {}", source.position(value.start).0, source.name()),
                None => "elsewhere".to_owned(),
            },
            Some(Place::Variable(name)) => format!("by variable {name}"),
            Some(Place::Option) => "in the add-on options".to_owned(),
            None => "elsewhere".to_owned(),
        }
    }

    /// Where a relative path written there starts.
    pub(super) fn base(&self, at: At) -> PathBuf {
        match self.get(at) {
            Some(Place::File { file, .. }) => self.bases.get(*file).cloned().unwrap_or_default(),
            Some(Place::Option) => self.options.as_ref().map(|it| it.1.clone()).unwrap_or_default(),
            Some(Place::Variable(_)) | None => PathBuf::new(),
        }
    }

    /// Adds what was found.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        let file = self.sources.iter().position(|it| it.name() == diagnostic.file).unwrap_or(usize::MAX);
        let offset = diagnostic.picture.as_ref().map_or(0, |it| it.span.start);
        self.found.push((file, offset, diagnostic));
    }

    /// Adds what was found at a place.
    pub(super) fn say(
        &mut self,
        severity: Severity,
        (at, part): (At, Part),
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let message = message.into();
        let diagnostic = match self.get(at) {
            Some(Place::File { file, key, value }) => {
                let span = if part == Part::Key { key.clone() } else { value.clone() };
                match self.sources.get(*file) {
                    Some(source) => Diagnostic::at(severity, source, span, message),
                    None => Diagnostic::bare(severity, "configuration", message),
                }
            }
            Some(Place::Variable(name)) => {
                Diagnostic::bare(severity, "environment", format!("variable {name}: {message}"))
            }
            Some(Place::Option) => {
                let name = self.options.as_ref().map_or("options", |it| it.0.as_str());
                Diagnostic::bare(severity, name, format!("option {path}: {message}"))
            }
            None => Diagnostic::bare(severity, "configuration", message),
        };
        let help = help.into();
        let diagnostic = if help.is_empty() { diagnostic } else { diagnostic.help(help) };
        self.push(if path.is_empty() { diagnostic } else { diagnostic.key(path) });
    }

    /// Shorthand for an error at the value.
    pub(super) fn error(&mut self, at: At, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.say(Severity::Error, (at, Part::Value), path, message, help);
    }

    /// Shorthand for a warning at the value.
    pub(super) fn warn(&mut self, at: At, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.say(Severity::Warning, (at, Part::Value), path, message, help);
    }

    /// How much was found so far, for [`Report::forget_since`].
    pub(super) fn found(&self) -> usize {
        self.found.len()
    }

    /// Takes back what was found later: it follows from something that was said already.
    pub(super) fn forget_since(&mut self, found: usize) {
        self.found.truncate(found);
    }

    /// Number of errors so far.
    pub(super) fn errors(&self) -> usize {
        self.found.iter().filter(|it| it.2.severity == Severity::Error).count()
    }

    /// Whether an error concerns this table, or nobody knows which.
    pub(super) fn has_error_in(&self, table: &str) -> bool {
        self.found.iter().any(|it| {
            it.2.severity == Severity::Error
                && it
                    .2
                    .key_path
                    .as_deref()
                    .is_none_or(|path| path.split(['.', '[']).next() == Some(table) || path.is_empty())
        })
    }

    /// Everything, in the order of the files and of the lines in them.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|it| (it.0, it.1));
        self.found.into_iter().map(|it| it.2).collect()
    }
}
