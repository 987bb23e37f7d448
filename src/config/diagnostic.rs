//! What is wrong with a configuration, where, and what is allowed; with a picture of the line.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use serde::Serialize;

use super::model::{Mqtt, Site, Storage, Web};
use super::source::SourceText;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is not accepted.
    Error,
    /// Accepted, but somebody should look at it.
    Warning,
}

/// One thing to say about a configuration. `Display` is the report for people, with a picture of the line and without
/// colour; its JSON has the fields that are public here.
#[derive(Clone, Serialize)]
pub struct Diagnostic {
    /// The file as it was named, the add-on options file, or `environment`.
    pub file: String,
    /// Line, from 1; `None` where no line can be named.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// Error or warning.
    pub severity: Severity,
    /// One sentence: what was found. Never holds a secret.
    pub message: String,
    /// What is allowed, or what to do.
    pub help: Option<String>,
    /// The key as `grid.fuse_a` or `charger.left.unit`.
    pub key_path: Option<String>,
    /// What the picture is made of.
    #[serde(skip)]
    pub(super) picture: Option<Picture>,
}

/// A marked stretch of a source.
#[derive(Clone)]
pub(super) struct Picture {
    /// The file.
    pub(super) source: Arc<SourceText>,
    /// Bytes that are marked.
    pub(super) span: Range<usize>,
}

impl Diagnostic {
    /// About no particular place of a source.
    #[must_use]
    pub(super) fn bare(severity: Severity, file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: None,
            column: None,
            severity,
            message: message.into(),
            help: None,
            key_path: None,
            picture: None,
        }
    }

    /// About a stretch of a source.
    pub(super) fn at(
        severity: Severity,
        source: &Arc<SourceText>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        let span = source.clip(span);
        let (line, column) = source.position(span.start);
        Self {
            file: source.name().to_owned(),
            line: Some(line),
            column: Some(column),
            severity,
            message: message.into(),
            help: None,
            key_path: None,
            picture: Some(Picture { source: Arc::clone(source), span }),
        }
    }

    /// What is allowed, or what to do.
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The key that it is about.
    #[must_use]
    pub(super) fn key(mut self, path: impl Into<String>) -> Self {
        self.key_path = Some(path.into());
        self
    }

    /// The report for people, with colour when asked for.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn render(&self, to: &mut dyn fmt::Write, colour: bool) -> fmt::Result {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        GraphicalReportHandler::new_themed(theme)
            .with_width(120)
            .with_context_lines(1)
            .with_links(false)
            .without_syntax_highlighting()
            .render_report(&mut Writer(to), &Shown(self))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.render(f, false)
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.severity, self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, " {}", self.message)
    }
}

/// The report wants a writer of known size.
struct Writer<'a>(&'a mut dyn fmt::Write);

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(text)
    }
}

/// The view of a diagnostic that the report is drawn from.
struct Shown<'a>(&'a Diagnostic);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.picture.is_none() {
            write!(f, "{}: ", self.0.file)?;
        }
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.0.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help.as_ref().map(|it| Box::new(it) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.picture.as_ref().map(|it| &*it.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let picture = self.0.picture.as_ref()?;
        let span = LabeledSpan::new_primary_with_span(None, picture.span.clone());
        Some(Box::new(std::iter::once(span)))
    }
}

/// Why a configuration is not accepted: errors first in the order of the files, warnings among them.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    /// At least one of them is an error.
    pub list: Vec<Diagnostic>,
    /// What could be used all the same.
    pub usable: Box<Usable>,
}

/// The tables of a refused configuration that are right in themselves: enough to say on MQTT and on the page that it
/// was refused.
#[derive(Clone, Debug)]
pub struct Usable {
    /// `[site]`
    pub site: Option<Site>,
    /// `[mqtt]`; `Some(None)`: right, and without a broker.
    pub mqtt: Option<Option<Mqtt>>,
    /// `[web]`
    pub web: Option<Web>,
    /// `[storage]`; the default where the table is wrong.
    pub storage: Storage,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for it in &self.list {
            writeln!(f, "{it}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
