//! `--set path=value`: changes single fields of a scenario without touching its file.
//!
//! A value is TOML (`32`, `0.9`, `true`, `["fifo+fgd"]`, `"text"`); bare words are strings. The result goes through the
//! same checks as a file, and a problem that an override causes points at the override.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::{Document, shift, string_value};
use crate::path::{Path, Step, parse_steps};

/// Applies the override `text` to the document; what cannot be applied becomes a problem.
pub(crate) fn apply<'a>(document: &mut Document<'a>, text: &'a str) {
    let start = document.add_source("--set", text);
    let whole = start..start + text.len();
    let Some((path, value)) = text.split_once('=') else {
        let help = Some("write `--set path=value`, such as `--set seed=7`".to_owned());
        document.problem_at(String::new(), whole, "an override without `=`".to_owned(), help);
        return;
    };
    let Some(steps) = parse_steps(path.trim_end()) else {
        let help = Some("write field names and indices, such as `cluster.nodes[0].count`".to_owned());
        document.problem_at(
            String::new(),
            start..start + path.len(),
            format!("malformed path `{path}`"),
            help,
        );
        return;
    };
    let value_start = start + text.len() - value.trim_start().len();
    let value = match parse_value(value.trim(), value_start) {
        Ok(value) => value,
        Err(error) => return document.toml_error(&error, value_start),
    };
    if let Err(blocked) = set(document.root_mut(), &steps, start, value) {
        document.problem_at(blocked.path, blocked.span, blocked.message, None);
    }
}

/// Reads a TOML value, or a bare word as a string.
fn parse_value(text: &str, start: usize) -> Result<Spanned<DeValue<'_>>, toml::de::Error> {
    match DeValue::parse(text) {
        Ok(value) => Ok(shift(value, start)),
        // What starts like a quoted string, an array or a table was meant as one.
        Err(error) if text.starts_with(['"', '\'', '[', '{']) => Err(error),
        Err(_) => Ok(string_value(text, start..start + text.len())),
    }
}

/// Why a path leads nowhere.
struct Blocked {
    path: String,
    span: Range<usize>,
    message: String,
}

/// Puts `value` at the end of `steps`, making the tables on the way where they are missing.
fn set<'a>(
    root: &mut Spanned<DeValue<'a>>,
    steps: &[(Step, Range<usize>)],
    start: usize,
    value: Spanned<DeValue<'a>>,
) -> Result<(), Blocked> {
    let mut target = root;
    let mut path = Path::default();
    for (step, span) in steps {
        let span = start + span.start..start + span.end;
        let kind = target.get_ref().type_str();
        let blocked = |path: &Path, message| Blocked { path: path.to_string(), span: span.clone(), message };
        target = match (step, target.get_mut()) {
            (Step::Key(key), DeValue::Table(table)) => {
                path.push_key(key);
                table
                    .entry(Spanned::new(span.clone(), Cow::Owned(key.clone())))
                    .or_insert_with(|| Spanned::new(span, DeValue::Table(DeTable::new())))
            }
            // A key that happens to be a number, such as a label.
            (Step::Index(index), DeValue::Table(table)) => {
                path.push_key(&index.to_string());
                table
                    .entry(Spanned::new(span.clone(), Cow::Owned(index.to_string())))
                    .or_insert_with(|| Spanned::new(span, DeValue::Table(DeTable::new())))
            }
            (Step::Index(index), DeValue::Array(array)) => {
                let length = array.len();
                let Some(element) = array.get_mut(*index) else {
                    let message = format!("there is no element {index}: the length is {length}");
                    return Err(blocked(&path, message));
                };
                path.push_index(*index);
                element
            }
            (Step::Key(key), _) => {
                return Err(blocked(
                    &path,
                    format!("cannot set `{key}` in it: the file has {} here", article(kind)),
                ));
            }
            (Step::Index(index), _) => {
                return Err(blocked(
                    &path,
                    format!("has no element {index}: the file has {} here", article(kind)),
                ));
            }
        };
    }
    *target = value;
    Ok(())
}

/// The name of a TOML type with its article.
pub(crate) fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}
