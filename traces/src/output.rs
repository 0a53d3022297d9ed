//! Rows written to a CSV file that appears under its name only when it is whole.

use std::fmt::{Display, Write as _};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::TraceError;
use crate::record::InvalidField;

/// A CSV file that is being written, compressed if its name ends in `.gz`.
pub(crate) struct RowWriter {
    target: PathBuf,
    partial: PathBuf,
    /// `None` once the file is closed.
    output: Option<csv::Writer<Output>>,
    /// Lines so far.
    lines: u64,
    /// Where numbers are formatted, kept for its memory.
    number: String,
}

/// The fields of one row, appended in order.
pub(crate) struct Fields<'a> {
    output: &'a mut csv::Writer<Output>,
    number: &'a mut String,
}

impl Fields<'_> {
    pub(crate) fn text(&mut self, text: &str) -> csv::Result<()> {
        self.output.write_field(text)
    }

    pub(crate) fn number(&mut self, value: impl Display) -> csv::Result<()> {
        self.number.clear();
        // Formatting a number into memory does not fail.
        let _ = write!(self.number, "{value}");
        self.output.write_field(&*self.number)
    }

    pub(crate) fn number_or_blank(&mut self, value: Option<impl Display>) -> csv::Result<()> {
        match value {
            Some(value) => self.number(value),
            None => self.text(""),
        }
    }
}

impl RowWriter {
    /// Begins a file with these columns.
    pub(crate) fn create(path: &Path, columns: &[&str]) -> Result<Self, TraceError> {
        // The file takes its name at the end: a link keeps what it leads to, and a device is nothing to replace.
        let resolved = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let path = resolved.as_path();
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(TraceError::file(
                path,
                "expected the name of a file to write, got a folder or a device",
            ));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".partial-{}", std::process::id()));
        let partial = PathBuf::from(partial);
        let io_error = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => TraceError::file(path, "the folder to write it in does not exist"),
            _ => TraceError::io(path, &error),
        };
        let file = BufWriter::with_capacity(1 << 16, File::create(&partial).map_err(io_error)?);
        let output = if path.extension().is_some_and(|extension| extension == "gz") {
            Output::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
        } else {
            Output::Plain(file)
        };
        let mut output = csv::Writer::from_writer(output);
        let header = output.write_record(columns);
        let target = path.to_owned();
        let writer = Self { target, partial, output: Some(output), lines: 1, number: String::new() };
        // Dropping the writer discards what is there of the file.
        header.map_err(|error| TraceError::file(path, error.to_string()))?;
        Ok(writer)
    }

    /// Appends a row of a record that has been checked: an invalid one would not read back.
    pub(crate) fn write(
        &mut self,
        checked: Result<(), InvalidField>,
        fields: impl FnOnce(&mut Fields<'_>) -> csv::Result<()>,
    ) -> Result<(), TraceError> {
        let line = self.lines + 1;
        checked.map_err(|error| TraceError {
            column: Some(error.column.to_owned()),
            ..TraceError::line(
                &self.target,
                line,
                format!("expected {}, got {:?}", error.expected, error.got),
            )
        })?;
        self.lines = line;
        let Some(output) = &mut self.output else { return Ok(()) };
        let written = fields(&mut Fields { output, number: &mut self.number });
        // Ends the row.
        written
            .and_then(|()| output.write_record(None::<&[u8]>))
            .map_err(|error| TraceError::line(&self.target, line, error.to_string()))
    }

    /// Puts the file in place.
    pub(crate) fn finish(mut self) -> Result<(), TraceError> {
        let Some(output) = self.output.take() else { return Ok(()) };
        let closed =
            output.into_inner().map_err(|error| io::Error::other(error.to_string())).and_then(Output::close);
        let placed = closed.and_then(|()| std::fs::rename(&self.partial, &self.target));
        if placed.is_err() {
            self.discard();
        }
        placed.map_err(|error| TraceError::io(&self.target, &error))
    }

    fn discard(&self) {
        // It may not be there; then there is nothing to discard.
        let _ = std::fs::remove_file(&self.partial);
    }
}

impl Drop for RowWriter {
    fn drop(&mut self) {
        if self.output.is_some() {
            self.discard();
        }
    }
}

enum Output {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Output {
    fn close(self) -> io::Result<()> {
        match self {
            Self::Plain(mut file) => file.flush(),
            Self::Gzip(encoder) => encoder.finish()?.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(file) => file.flush(),
        }
    }
}
