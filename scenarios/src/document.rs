//! The text of a scenario with its overrides, as one tree in which every value knows where it was written.
//!
//! The sources (the file, then each override) are laid end to end in one space of byte offsets, so that a span says
//! both which source it is of and where in it.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::error::{InvalidScenario, Problem, Source};
use crate::path::{Path, Step};

pub(crate) struct Document<'a> {
    sources: Vec<Source>,
    /// Offset of the first byte of each source.
    starts: Vec<usize>,
    root: Spanned<DeValue<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Document<'a> {
    /// Parses the file; syntax errors become problems.
    pub(crate) fn parse(name: &str, text: &'a str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let root = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        let source = Source { name: name.to_owned(), text: text.to_owned() };
        let mut document = Self { sources: vec![source], starts: vec![0], root, problems: Vec::new() };
        for error in errors {
            document.toml_error(&error, 0);
        }
        document
    }

    /// Adds a source and returns the offset of its first byte.
    pub(crate) fn add_source(&mut self, name: &str, text: &str) -> usize {
        // One byte of distance tells the end of a source from the start of the next.
        let start = self
            .starts
            .last()
            .zip(self.sources.last())
            .map_or(0, |(start, last)| start + last.text.len() + 1);
        self.starts.push(start);
        self.sources.push(Source { name: name.to_owned(), text: text.to_owned() });
        start
    }

    pub(crate) fn root(&self) -> &Spanned<DeValue<'a>> {
        &self.root
    }

    pub(crate) fn root_mut(&mut self) -> &mut Spanned<DeValue<'a>> {
        &mut self.root
    }

    /// The tree as the deserialiser wants it.
    pub(crate) fn to_table(&self) -> Spanned<DeTable<'a>> {
        let table = self.root.get_ref().as_table().cloned().unwrap_or_default();
        Spanned::new(self.root.span(), table)
    }

    /// Where the value at `path` was written, or else the nearest table or array around it.
    fn span_of(&self, path: &Path) -> Range<usize> {
        let mut value = &self.root;
        for (depth, step) in path.0.iter().enumerate() {
            let inner = match step {
                Step::Key(key) => value.get_ref().get(key.as_str()),
                Step::Index(index) => value.get_ref().get(*index),
            };
            match inner {
                Some(inner) => value = inner,
                // A problem with the file as a whole points at its first line.
                None if depth == 0 => return 0..0,
                None => break,
            }
        }
        value.span()
    }

    /// Records a problem with the value at `path`.
    pub(crate) fn problem(&mut self, path: &str, message: impl Into<String>, help: Option<String>) {
        let span = Path::parse(path).map_or(0..0, |path| self.span_of(&path));
        self.problem_at(path.to_owned(), span, message.into(), help);
    }

    /// Records a problem at a span of the common space of offsets.
    pub(crate) fn problem_at(
        &mut self,
        path: String,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        let source_index = self.starts.partition_point(|&start| start <= span.start).saturating_sub(1);
        let start = self.starts[source_index];
        let span = span.start - start..span.end.max(span.start) - start;
        self.problems.push(Problem { path, message, help, source_index, span });
    }

    /// Records an error of the TOML parser in the source that starts at `start`.
    pub(crate) fn toml_error(&mut self, error: &toml::de::Error, start: usize) {
        let span = error.span().unwrap_or(0..0);
        self.problem_at(
            String::new(),
            start + span.start..start + span.end,
            error.message().to_owned(),
            None,
        );
    }

    pub(crate) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The result, unless anything was recorded: then all of that, in the order of the text.
    pub(crate) fn finish<T>(mut self, result: Option<T>) -> Result<T, InvalidScenario> {
        match result {
            Some(result) if self.problems.is_empty() => Ok(result),
            _ => {
                self.problems.sort_by_key(|problem| (problem.source_index, problem.span.start));
                Err(InvalidScenario { sources: self.sources, problems: self.problems })
            }
        }
    }
}

/// Moves the spans of a value by `offset`.
pub(crate) fn shift(value: Spanned<DeValue<'_>>, offset: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let inner = match value.into_inner() {
        DeValue::Array(array) => {
            DeValue::Array(array.into_iter().map(|element| shift(element, offset)).collect::<DeArray<'_>>())
        }
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    let span = key.span();
                    let key = Spanned::new(span.start + offset..span.end + offset, key.into_inner());
                    (key, shift(value, offset))
                })
                .collect(),
        ),
        other => other,
    };
    Spanned::new(span.start + offset..span.end + offset, inner)
}

/// A string value.
pub(crate) fn string_value(text: &str, span: Range<usize>) -> Spanned<DeValue<'_>> {
    Spanned::new(span, DeValue::String(Cow::Borrowed(text)))
}
