//! "Did you mean": the nearest of the names that would have been right.

/// How alike two names must be, from 0 to 1, before one is offered for the other: a slip of a letter or two passes,
/// another word does not.
const ALIKE_MIN: f64 = 0.7;

/// Words of other load balancers, and what they are called here.
const ELSEWHERE: [(&str, &str); 37] = [
    ("address", "listen"),
    ("algorithm", "policy"),
    ("backend", "service"),
    ("backends", "endpoints"),
    ("backends", "services"),
    ("balance", "policy"),
    ("bind", "listen"),
    ("cluster", "service"),
    ("clusters", "services"),
    ("domain", "host"),
    ("entrypoints", "listeners"),
    ("fall", "unhealthy_after"),
    ("frontend", "listeners"),
    ("frontends", "listeners"),
    ("lb-policy", "policy"),
    ("ip-hash", "client-ip"),
    ("least-conn", "least-request"),
    ("least-connections", "least-request"),
    ("leastconn", "least-request"),
    ("log", "access_log"),
    ("path", "http"),
    ("path-prefix", "path"),
    ("port", "listen"),
    ("prefix", "path"),
    ("proxy-pass", "service"),
    ("rise", "healthy_after"),
    ("remote-addr", "client-ip"),
    ("rr", "round-robin"),
    ("server-name", "host"),
    ("servers", "endpoints"),
    ("source", "client-ip"),
    ("strategy", "policy"),
    ("targets", "endpoints"),
    ("upstream", "service"),
    ("uri", "path"),
    ("upstreams", "endpoints"),
    ("upstreams", "services"),
];

/// The candidate nearest to `written`, if any is near enough.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase().replace('_', "-");
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let mut here = ELSEWHERE.iter().filter(|(word, _)| *word == written).map(|(_, here)| *here);
    if let Some(known) = here.find_map(|here| candidates.iter().find(|candidate| **candidate == here)) {
        return Some(known);
    }
    candidates
        .into_iter()
        .map(|candidate| (likeness(&written, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// A plural, an abbreviation or a single slip is near, however short the name.
fn likeness(written: &str, candidate: &str) -> f64 {
    let candidate = candidate.to_lowercase().replace('_', "-");
    let part =
        written.len() >= 3 && (candidate.starts_with(written) || written.starts_with(candidate.as_str()));
    let slip = written.len() >= 3 && strsim::damerau_levenshtein(written, &candidate) == 1;
    let distance = strsim::normalized_damerau_levenshtein(written, &candidate);
    if part || slip {
        distance.max(ALIKE_MIN)
    } else {
        distance.max(strsim::jaro_winkler(written, &candidate) - 0.15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference_page::tables;

    #[test]
    fn a_key_that_lacks_a_letter_is_recognised() {
        for section in tables() {
            for key in section.spec.available().filter(|key| key.len() > 3) {
                for at in 0..key.len() {
                    let slip = format!("{}{}", &key[..at], &key[at + 1..]);
                    let known: Vec<_> = section.spec.available().filter(|known| *known == slip).collect();
                    if known.is_empty() {
                        assert_eq!(nearest(&slip, section.spec.available()), Some(key), "{slip}");
                    }
                }
            }
        }
    }

    #[test]
    fn another_word_is_not_taken_for_a_slip() {
        let keys = ["endpoints", "policy", "protocol", "pool", "connect_timeout"];
        for word in ["cache", "x", "maximum", "rate_limit", "gzip"] {
            assert_eq!(nearest(word, keys), None, "{word}");
        }
    }

    #[test]
    fn words_of_other_load_balancers_lead_to_ours() {
        assert_eq!(nearest("servers", ["policy", "endpoints"]), Some("endpoints"));
        assert_eq!(nearest("upstreams", ["services", "listeners"]), Some("services"));
        assert_eq!(nearest("leastconn", ["p2c", "least-request"]), Some("least-request"));
    }
}
