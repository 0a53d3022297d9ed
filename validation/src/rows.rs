//! Tables of the data folder.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::DataError;
use crate::openb::open;

/// All rows of a CSV file, plain or compressed, with their lines.
pub(crate) fn read_rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<(u64, T)>, DataError> {
    let mut reader = csv::Reader::from_reader(open(path)?);
    let headers = reader.headers().map_err(|error| DataError::csv(path, &error))?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| DataError::csv(path, &error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let row =
            record.deserialize(Some(&headers)).map_err(|error| bad_row(path, line, &headers, &error))?;
        rows.push((line, row));
    }
    if rows.is_empty() {
        return Err(DataError::Line { path: path.to_owned(), line: 2, expected: "a row".to_owned() });
    }
    Ok(rows)
}

/// Says which column is wrong.
fn bad_row(path: &Path, line: u64, headers: &csv::StringRecord, error: &csv::Error) -> DataError {
    let csv::ErrorKind::Deserialize { err, .. } = error.kind() else { return DataError::csv(path, error) };
    let column = err.field().and_then(|field| headers.get(field as usize));
    let message = match column {
        Some(column) => format!("line {line}, column `{column}`: {}", err.kind()),
        None => format!("line {line}: {}", err.kind()),
    };
    DataError::Csv { path: path.to_owned(), message }
}
