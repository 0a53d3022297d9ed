//! The only place that writes to the terminal.

use std::error::Error;
use std::io::{self, Write};

use foretell_scenarios::{InvalidScenario, Problem, ScenarioError};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report};

/// Narrowest and widest terminal that tables are laid out for.
const WIDTHS: (u16, u16) = (72, 200);

/// Width for tables: the terminal's, or 80 where there is none.
pub(crate) fn width() -> u16 {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || terminal_size::terminal_size().map(|(terminal_size::Width(width), _)| width);
    columns.or_else(terminal).unwrap_or(80).clamp(WIDTHS.0, WIDTHS.1)
}

/// Prints text and a newline to standard output.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Prints what is amiss and no error to standard error.
pub(crate) fn print_warning(text: &str) {
    // Nothing is left to be done if standard error is gone.
    let _ = writeln!(anstream::stderr().lock(), "warning: {text}");
}

/// Whether whoever read standard output has gone: no error for a command that prints.
pub(crate) fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints an error and its causes to standard error. A problem of a scenario is shown in the text that it is in.
pub(crate) fn print_error(error: &(dyn Error + 'static)) {
    let mut text = String::new();
    if let Some(ScenarioError::Invalid(invalid)) = error.downcast_ref() {
        for problem in &invalid.problems {
            render(invalid, problem, &mut text);
        }
    } else {
        text = format!("error: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            // Many errors repeat their cause in their own message.
            let message = error.to_string();
            if !text.contains(&message) {
                text = format!("{text}: {message}");
            }
            cause = error.source();
        }
    }
    // Nothing is left to be done if standard error is gone.
    let _ = writeln!(anstream::stderr().lock(), "{}", text.trim_end());
}

fn render(invalid: &InvalidScenario, problem: &Problem, text: &mut String) {
    let source = &invalid.sources[problem.source_index];
    let message = match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path}: {}", problem.message),
    };
    let mut diagnostic = MietteDiagnostic::new(message)
        .with_label(LabeledSpan::new_primary_with_span(None, problem.span.clone()));
    if let Some(help) = &problem.help {
        diagnostic = diagnostic.with_help(help);
    }
    let report =
        Report::new(diagnostic).with_source_code(NamedSource::new(&source.name, source.text.clone()));
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(width().into());
    // Formatting into a string does not fail.
    let _ = handler.render_report(text, report.as_ref());
}
