//! Paths of fields: `cluster.nodes[0].type`.

use std::fmt;
use std::ops::Range;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into the field of a table.
    Key(String),
    /// Into the element of an array.
    Index(usize),
}

/// A path from the top of a scenario file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// Parses `a.b[0].c`, `a.b.0.c` or `a."odd key".c`; `None` if it is malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(Self(parse_steps(text)?.into_iter().map(|(step, _)| step).collect()))
    }

    pub(crate) fn push_key(&mut self, key: &str) {
        self.0.push(Step::Key(key.to_owned()));
    }

    pub(crate) fn push_index(&mut self, index: usize) {
        self.0.push(Step::Index(index));
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let dot = if i > 0 { "." } else { "" };
                    let bare = !key.is_empty() && key.chars().all(is_bare);
                    // A key of digits would read back as an index.
                    if bare && key.parse::<usize>().is_err() {
                        write!(f, "{dot}{key}")?;
                    } else {
                        write!(f, "{dot}\"{key}\"")?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// The steps of a path, each with its bytes in `text`.
pub(crate) fn parse_steps(text: &str) -> Option<Vec<(Step, Range<usize>)>> {
    let mut steps = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (step, span) = if let Some(inside) = rest.strip_prefix('[') {
            let length = inside.find(']')?;
            (Step::Index(inside[..length].parse().ok()?), at..at + length + 2)
        } else {
            // Keys are separated by a dot; there is none before the first.
            let start = at + if steps.is_empty() { 0 } else { rest.strip_prefix('.').map(|_| 1)? };
            let rest = &text[start..];
            if let Some(inside) = rest.strip_prefix('"') {
                let length = inside.find('"')?;
                (Step::Key(inside[..length].to_owned()), start..start + length + 2)
            } else {
                let length = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
                let word = &rest[..length];
                if word.is_empty() {
                    return None;
                }
                let step = word.parse().map_or_else(|_| Step::Key(word.to_owned()), Step::Index);
                (step, start..start + length)
            }
        };
        at = span.end;
        steps.push((step, span));
    }
    if steps.is_empty() { None } else { Some(steps) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_keys_and_indices() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Path::parse(text).map(|path| path.to_string()).as_deref(), expected, "{text}");
        };
        check("seed", Some("seed"));
        check("cluster.nodes[0].type", Some("cluster.nodes[0].type"));
        check("cluster.nodes.0.type", Some("cluster.nodes[0].type"));
        check("a.\"b.c/d\".e", Some("a.\"b.c/d\".e"));
        check("", None);
        check(".seed", None);
        check("seed.", None);
        check("a..b", None);
        check("a[b]", None);
        check("a[0", None);
        check("a[0]b", None);
        check("a.\"b", None);
        check("a b", None);
    }

    proptest! {
        #[test]
        fn a_written_path_reads_back(steps in prop::collection::vec(prop_oneof![
            "[^\"]{0,6}".prop_map(Step::Key),
            (0..100_usize).prop_map(Step::Index),
        ], 1..6)) {
            let path = Path(steps);
            prop_assert_eq!(Path::parse(&path.to_string()), Some(path));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = Path::parse(&text);
        }
    }
}
