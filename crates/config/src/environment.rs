//! `${NAME}` in string values, replaced from the environment; `$${` stands for a literal `${`.
//!
//! The environment is a function that the caller hands in, so that tests and `check` decide what is visible. A value
//! from the environment is taken as it is: it is not searched for `${` again.

use crate::diagnose::{Diagnostic, Reports};
use crate::place::{Place, Sources};

/// Looks up a variable.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Bytes a string value may grow to. The longest legal value is a response body of 64 KiB.
const EXPANDED_MAX: usize = 1 << 20;

/// Replaces every `${NAME}`; what cannot be replaced is reported and left as it is.
pub(crate) fn substitute(
    text: &str,
    place: &Place,
    sources: &Sources,
    environment: Environment<'_>,
    reports: &Reports,
) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            result.push_str(before);
            result.push_str("${");
            rest = &reference[2..];
            continue;
        }
        result.push_str(before);
        let name = reference.find('}').map(|end| &reference[2..end]).filter(|name| is_variable_name(name));
        let Some(name) = name else {
            reports.add(malformed(&reference_place("${", place, sources)));
            result.push_str(reference);
            return result;
        };
        let written = &reference[..name.len() + 3];
        if let Some(value) = environment(name) {
            result.push_str(&value);
        } else {
            reports.add(unset(name, &reference_place(written, place, sources)));
            result.push_str(written);
        }
        rest = &reference[written.len()..];
        if result.len() > EXPANDED_MAX {
            reports.add(Diagnostic::error(
                place,
                "this string is longer than 1 MiB once its variables are replaced",
            ));
            return result;
        }
    }
    result.push_str(rest);
    result
}

fn malformed(place: &Place) -> Diagnostic {
    Diagnostic::error(place, "`${` must be followed by a variable's name and `}`")
        .help("write ${NAME}, with letters, digits and _ in the name, or $${ for a literal ${")
}

fn unset(name: &str, place: &Place) -> Diagnostic {
    Diagnostic::error(place, format!("the environment variable `{name}` is not set"))
        .label("used here")
        .help(format!("set {name}, or write $${{{name}}} for the literal text"))
}

/// The place of a reference within its string; the whole string where escapes hide it.
fn reference_place(written: &str, place: &Place, sources: &Sources) -> Place {
    let Some(at) = sources.text(place).find(written) else { return place.clone() };
    let start = place.span.start + at;
    Place { file: place.file, span: start..start + written.len() }
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
