//! "Did you mean": the nearest of the names that would have been right.

/// How alike two names must be, from 0 to 1, before one is offered for the other: a slip of a letter or two passes,
/// another word does not.
const ALIKE_MIN: f64 = 0.7;

/// The candidate nearest to `written`, if any is near enough.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase().replace('_', "-");
    candidates
        .into_iter()
        .map(|candidate| (likeness(&written, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// A plural or an abbreviation is as near as a slip.
fn likeness(written: &str, candidate: &str) -> f64 {
    let candidate = candidate.to_lowercase().replace('_', "-");
    let part =
        written.len() >= 3 && (candidate.starts_with(written) || written.starts_with(candidate.as_str()));
    let distance = strsim::normalized_damerau_levenshtein(written, &candidate);
    if part {
        distance.max(ALIKE_MIN)
    } else {
        distance.max(strsim::jaro_winkler(written, &candidate) - 0.15)
    }
}
