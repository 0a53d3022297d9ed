//! What every suite reports, in one shape.

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
