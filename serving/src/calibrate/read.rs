//! Compressed tables of values separated by commas.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use thiserror::Error;

/// Why a table of timings was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file or folder.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
    /// Its form.
    #[error("{}: {error}", path.display())]
    Table {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// A column that is not there.
    #[error("{}: no column `{column}`", path.display())]
    Column {
        /// Which file.
        path: PathBuf,
        /// Which column.
        column: String,
    },
    /// Something that is not a number.
    #[error("{}:{line}: `{column}` should be a number, found `{found}`", path.display())]
    Number {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// Which column.
        column: String,
        /// What is there.
        found: String,
    },
    /// Tables in Parquet, which this build does not read.
    #[error(
        "{}: aiconfigurator's tables are in Parquet, which this build does not read: build with `--features aiconfigurator`",
        path.display()
    )]
    NotBuilt {
        /// Which folder.
        path: PathBuf,
    },
    /// Nothing of the kind in a folder.
    #[error("{}: no file `{wanted}`", path.display())]
    None {
        /// Which folder.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
    },
}

impl ReadError {
    /// Whether there is no such file, rather than one that cannot be read.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::File { error, .. } => error.kind() == std::io::ErrorKind::NotFound,
            Self::None { .. } => true,
            _ => false,
        }
    }
}

/// A table, by column.
pub(crate) struct Table {
    path: PathBuf,
    columns: BTreeMap<String, usize>,
    rows: Vec<(u64, csv::StringRecord)>,
}

impl Table {
    /// Reads a table; one that ends in `.gz` is decompressed.
    pub(crate) fn read(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|error| ReadError::File { path: path.to_owned(), error })?;
        let text: Box<dyn Read> = if path.extension().is_some_and(|ending| ending == "gz") {
            Box::new(GzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let wrong = |error: csv::Error| ReadError::Table { path: path.to_owned(), error: error.to_string() };
        let mut reader = csv::Reader::from_reader(text);
        let header = reader.headers().map_err(wrong)?.clone();
        let columns = header.iter().enumerate().map(|(place, name)| (name.to_owned(), place)).collect();
        let mut rows = Vec::new();
        for row in reader.into_records() {
            let row = row.map_err(wrong)?;
            rows.push((row.position().map_or(0, csv::Position::line), row));
        }
        Ok(Self { path: path.to_owned(), columns, rows })
    }

    /// Whether it has a column.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    fn place(&self, column: &str) -> Result<usize, ReadError> {
        let missing = || ReadError::Column { path: self.path.clone(), column: column.to_owned() };
        self.columns.get(column).copied().ok_or_else(missing)
    }

    /// A column as text.
    pub(crate) fn texts(&self, column: &str) -> Result<Vec<&str>, ReadError> {
        let place = self.place(column)?;
        Ok(self.rows.iter().map(|(_, row)| row.get(place).unwrap_or_default()).collect())
    }

    /// A column of numbers; what is empty is not a number (NaN).
    pub(crate) fn numbers(&self, column: &str) -> Result<Vec<f64>, ReadError> {
        let place = self.place(column)?;
        let mut numbers = Vec::with_capacity(self.rows.len());
        for (line, row) in &self.rows {
            let found = row.get(place).unwrap_or_default();
            numbers.push(if found.is_empty() {
                f64::NAN
            } else {
                found.parse().map_err(|_| ReadError::Number {
                    path: self.path.clone(),
                    line: *line,
                    column: column.to_owned(),
                    found: found.to_owned(),
                })?
            });
        }
        Ok(numbers)
    }
}

/// Names of the files of a folder, sorted.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, ReadError> {
    let wrong = |error| ReadError::File { path: folder.to_owned(), error };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        names.push(entry.map_err(wrong)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
