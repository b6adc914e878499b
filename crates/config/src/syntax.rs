//! Syntax errors, told to somebody who has not read the TOML specification.
//!
//! The parser goes on after an error and often reports the same slip again further down; what is only an echo is left
//! out here. Its messages are matched by their beginnings: one that is unknown is passed on as it is.

use toml::de::Error;

use crate::diagnose::{Diagnostic, Echo, FINDINGS_MAX};
use crate::place::{FileId, Place, Sources};

/// The errors of one file in order, one a line.
pub(crate) fn refine(sources: &Sources, file: FileId, errors: &[Error]) -> Vec<Diagnostic> {
    let mut errors: Vec<(Place, &str)> = errors
        .iter()
        .map(|error| (sources.clamp(file, error.span().unwrap_or(0..0)), error.message()))
        .collect();
    errors.sort_by_key(|(place, _)| place.span.start);
    drop_after_unclosed_list(&mut errors);
    errors.dedup_by_key(|(place, _)| sources.line_and_column(file, place.span.start).0);
    errors.truncate(FINDINGS_MAX);
    errors.iter().map(|(place, message)| finding(sources, place, message)).collect()
}

/// A list that is never closed swallows the rest of the file, one error after another: the first is where it began to.
fn drop_after_unclosed_list(errors: &mut Vec<(Place, &str)>) {
    let in_list = |message: &str| message.starts_with("missing comma") || message.contains("in array");
    if !errors.iter().any(|(_, message)| message.starts_with("unclosed array")) {
        return;
    }
    if let Some(first) = errors.iter().position(|(_, message)| in_list(message)) {
        errors.truncate(first + 1);
        errors[first].1 = UNCLOSED_LIST;
    }
}

const UNCLOSED_LIST: &str = "the list above is not closed";

fn finding(sources: &Sources, place: &Place, message: &str) -> Diagnostic {
    let written = sources.text(place);
    let told = message.split(", expected ").next().unwrap_or(message);
    let help = match told {
        UNCLOSED_LIST => "close it with ]".to_owned(),
        "string values must be quoted" => format!("write \"{}\"", written.trim_matches('"')),
        "duplicate key" => "it is written above as well: keep one of them".to_owned(),
        "key with no value" => "write key = value".to_owned(),
        "invalid basic string" => {
            "close the string with a double quote on its line; write \\\\ for a backslash".to_owned()
        }
        "missing comma between array elements" => "put a comma between the values".to_owned(),
        _ if told.starts_with("unclosed table") => {
            "close the header with ], or with ]] for [[...]]".to_owned()
        }
        _ => String::new(),
    };
    let (message, help) = match (help.is_empty(), message.split_once(", expected ")) {
        (true, Some((problem, expected))) => (problem, format!("expected {expected}")),
        _ => (told, help),
    };
    let echo = if told == UNCLOSED_LIST { Echo::SyntaxToEnd } else { Echo::Syntax };
    let finding = Diagnostic::error(place, format!("this is not TOML: {message}")).echo(echo);
    if help.is_empty() { finding } else { finding.help(help) }
}
