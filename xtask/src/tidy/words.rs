//! Words that sources and type names do not use; docs/glossary.md and CONTRIBUTING.md say why.

/// The list of banned text, kept out of Rust so that it does not ban itself.
const BANNED: &str = include_str!("../../banned.txt");

/// Last words of type names that say nothing.
const EMPTY_WORDS: [&str; 7] = ["Manager", "Helper", "Helpers", "Util", "Utils", "Data", "Info"];
/// Words that other balancers use for what the glossary names differently, and the glossary's word.
const FOREIGN_WORDS: [(&str, &str); 5] = [
    ("Backend", "Endpoint or Cluster"),
    ("Frontend", "Listener"),
    ("Balancer", "Policy or Snapshot"),
    ("Ping", "Probe"),
    ("Warmup", "SlowStart"),
];

/// Lines of `text` with banned text, and what to do instead.
pub(super) fn banned_lines(text: &str) -> Vec<(usize, String)> {
    let rules: Vec<(&str, &str)> = BANNED
        .lines()
        .filter(|line| !line.starts_with("# "))
        .filter_map(|line| line.split_once(": "))
        .collect();
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for (word, instead) in &rules {
            if has_word(line, word) {
                found.push((at + 1, format!("`{word}`: {instead}")));
            }
        }
    }
    found
}

/// Whether `word` stands in `line` with no letter, digit or underscore touching it.
fn has_word(line: &str, word: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    line.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).map(|before| line.as_bytes()[before]);
        let after = line.as_bytes().get(at + word.len()).copied();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// What is wrong with the name of a type, if anything.
pub(super) fn type_name(name: &str) -> Option<String> {
    let words = camel_words(name);
    if let Some(last) = words.last().filter(|last| EMPTY_WORDS.contains(last)) {
        return Some(format!("type `{name}`: `{last}` says nothing; name what it does or holds"));
    }
    let (foreign, ours) = FOREIGN_WORDS.iter().find(|(foreign, _)| words.contains(foreign))?;
    Some(format!("type `{name}`: the glossary's word for `{foreign}` is {ours}"))
}

/// What is wrong with the name of a function, if anything.
pub(super) fn function_name(name: &str) -> Option<String> {
    name.strip_prefix("get_").map(|rest| format!("function `{name}`: call it `{rest}`"))
}

/// `HttpHead2` as `Http`, `Head2`.
fn camel_words(name: &str) -> Vec<&str> {
    let starts: Vec<usize> =
        name.char_indices().filter(|(_, c)| c.is_uppercase()).map(|(at, _)| at).collect();
    starts
        .iter()
        .enumerate()
        .map(|(nth, at)| &name[*at..starts.get(nth + 1).copied().unwrap_or(name.len())])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_text_is_found_as_a_word_only() {
        let (word, _) = BANNED.lines().rev().find_map(|line| line.split_once(": ")).unwrap_or_default();
        let found = banned_lines(&format!("fine\nlet x = {word};\nlet y = {word}s;\n"));
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2]);
        assert!(has_word("(ab)", "ab") && !has_word("abc", "ab") && !has_word("_ab", "ab"));
    }

    #[test]
    fn every_line_of_the_list_is_a_rule() {
        for line in BANNED.lines().filter(|line| !line.starts_with("# ")) {
            let word = line.split_once(": ").map(|(word, _)| word).unwrap_or_default();
            assert_eq!(banned_lines(word).len(), 1, "{line}");
        }
    }

    #[test]
    fn empty_and_foreign_words_are_refused_and_their_letters_are_not() {
        assert!(type_name("PoolManager").is_some());
        assert!(type_name("Data").is_some());
        assert!(type_name("BackendPool").is_some());
        assert!(type_name("Metadata").is_none());
        assert!(type_name("DataFrame").is_none());
        assert!(type_name("Informer").is_none());
        assert!(function_name("get_weight").is_some());
        assert!(function_name("get").is_none());
    }
}
