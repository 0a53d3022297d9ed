//! What every suite reports, in one shape.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// The outcome of a suite.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The suite's name.
    pub suite: &'static str,
    /// Column titles, with units.
    pub columns: Vec<&'static str>,
    /// One per case.
    pub rows: Vec<Row>,
    /// One line that says it all.
    pub summary: String,
}

/// One case.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// One per column.
    pub cells: Vec<Cell>,
    /// Whether it is within its stated tolerance.
    pub passed: bool,
}

/// A cell of the table.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// A name.
    Text(String),
    /// A count.
    Count(u64),
    /// A figure and the decimals with which to print it.
    Figure(f64, usize),
    /// Does not apply.
    None,
}

impl Report {
    /// Whether every case is within its tolerance.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.passed)
    }

    /// The report as JSON: rows are objects with the column titles as keys.
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            let cells = self
                .columns
                .iter()
                .zip(&row.cells)
                .map(|(column, cell)| ((*column).to_owned(), cell.to_json()));
            let verdict = ("passed".to_owned(), Value::Bool(row.passed));
            Value::Object(cells.chain([verdict]).collect::<Map<_, _>>())
        };
        json!({
            "suite": self.suite,
            "passed": self.passed(),
            "summary": self.summary,
            "cases": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

impl Report {
    /// The report as a section of a document: the rows that are beyond their tolerance, how many are within, and the summary.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        let line = |cells: &mut dyn Iterator<Item = String>| {
            let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let bad: Vec<&Row> = self.rows.iter().filter(|row| !row.passed).collect();
        if !bad.is_empty() {
            text += &line(&mut self.columns.iter().map(|&column| column.to_owned()));
            text += &line(&mut self.columns.iter().map(|_| "---".to_owned()));
            text.extend(bad.iter().map(|row| line(&mut row.cells.iter().map(Cell::to_text))));
            text.push('\n');
        }
        let good = self.rows.len() - bad.len();
        let of = self.rows.len();
        let summary = self.summary.trim_end();
        // Writing to a string cannot fail.
        let _ = write!(text, "{good} of {of} rows are within their tolerance.\n\n```text\n{summary}\n```\n");
        text
    }
}

impl Cell {
    /// The cell as text.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Figure(value, _) if value.is_nan() => "-".to_owned(),
            Self::Figure(value, decimals) => format!("{value:.decimals$}"),
            Self::None => "-".to_owned(),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Count(count) => json!(count),
            Self::Figure(value, _) => json!(value),
            Self::None => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_a_document_shows_what_is_wrong() {
        let row = |name: &str, value, passed| Row {
            cells: vec![Cell::Text(name.to_owned()), Cell::Figure(value, 1)],
            passed,
        };
        let mut report = Report {
            suite: "s",
            columns: vec!["case", "error\n%"],
            rows: vec![row("a", 1.0, true), row("b|c", 2.0, false), row("d", 0.5, true)],
            summary: "1 of 3".to_owned(),
        };
        assert_eq!(
            report.to_markdown(),
            "| case | error % |\n| --- | --- |\n| b\\|c | 2.0 |\n\n2 of 3 rows are within their tolerance.\n\n\
             ```text\n1 of 3\n```\n"
        );
        report.rows.truncate(1);
        assert_eq!(report.to_markdown(), "1 of 1 rows are within their tolerance.\n\n```text\n1 of 3\n```\n");
    }
}
