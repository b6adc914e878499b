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

/// Replaces every `${NAME}`; `None`, with findings, if one cannot be replaced.
pub(crate) fn substitute(
    text: &str,
    place: &Place,
    sources: &Sources,
    environment: Environment<'_>,
    reports: &Reports,
) -> Option<String> {
    let mut result = String::new();
    let mut rest = text;
    let mut sound = true;
    for number in 0.. {
        let Some(at) = rest.find("${") else { break };
        let (before, reference) = rest.split_at(at);
        rest = &reference[2..];
        if let Some(before) = before.strip_suffix('$') {
            result.push_str(before);
            result.push_str("${");
            continue;
        }
        result.push_str(before);
        let name = reference.find('}').map(|end| &reference[2..end]).filter(|name| is_variable_name(name));
        let Some(name) = name else {
            reports.add(malformed(&reference_place(number, 2, place, sources)));
            sound = false;
            continue;
        };
        rest = &rest[name.len() + 1..];
        if let Some(value) = environment(name) {
            result.push_str(&value);
        } else {
            reports.add(unset(name, &reference_place(number, name.len() + 3, place, sources)));
            sound = false;
        }
        if result.len() > EXPANDED_MAX {
            reports.add(Diagnostic::error(
                place,
                "this string is longer than 1MiB once its variables are replaced",
            ));
            return None;
        }
    }
    result.push_str(rest);
    sound.then_some(result)
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

/// The place of the reference with that number in its string; the whole string where escapes hide it.
fn reference_place(number: usize, len: usize, place: &Place, sources: &Sources) -> Place {
    let Some((at, _)) = sources.text(place).match_indices("${").nth(number) else { return place.clone() };
    let start = place.span.start + at;
    sources.clamp(place.file, start..(start + len).min(place.span.end))
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
