//! Regular expressions in routes.
//!
//! Invariants: a pattern matches a whole value, never a part of it; matching is linear in the value's length
//! (the engine never backtracks). Limits: the compiled program and its lazy automaton are bounded below.

use regex::bytes::{Regex, RegexBuilder};

/// Most bytes of a compiled program: room for hundreds of alternatives, while ten thousand routes with the
/// largest pattern cannot be had by accident.
const PROGRAM_MAX: usize = 1 << 20;

/// Most bytes of the automaton that a thread builds while it matches; past it the engine starts over or
/// falls back to a slower one that needs no memory.
const AUTOMATON_MAX: usize = 256 << 10;

/// A compiled expression that must match the whole value; equal to another of the same text.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    whole: Regex,
}

impl Pattern {
    /// Compiles `text`, in the syntax of the `regex` crate.
    ///
    /// # Errors
    /// The engine's own explanation, for the person who wrote the pattern.
    pub fn new(text: &str) -> Result<Self, String> {
        let compile = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(PROGRAM_MAX)
                .dfa_size_limit(AUTOMATON_MAX)
                .build()
                .map_err(|error| error.to_string())
        };
        // Alone first: `a)|(b` must not become valid by the group around it, and the message shows the
        // text as it was written.
        compile(text)?;
        Ok(Self { text: text.into(), whole: compile(&format!("^(?:{text})$"))? })
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether all of `value` matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        self.whole.is_match(value)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pattern_matches_only_the_whole_value() {
        let pattern = Pattern::new("/a|/b").unwrap();
        assert!(pattern.matches(b"/a") && pattern.matches(b"/b"));
        assert!(!pattern.matches(b"/a/b") && !pattern.matches(b"x/b") && !pattern.matches(b"/a\n"));
    }

    #[test]
    fn a_pattern_cannot_leave_its_anchors() {
        assert!(Pattern::new("a)|(b").is_err());
        let pattern = Pattern::new("(?m)a|b").unwrap();
        assert!(pattern.matches(b"b") && !pattern.matches(b"a\nb"));
    }

    #[test]
    fn a_pattern_over_the_bound_is_an_error_that_names_it() {
        let error = Pattern::new("[a-z]{1000}{1000}").unwrap_err();
        assert!(error.contains("1048576"), "{error}");
    }

    #[test]
    fn patterns_are_equal_by_their_text() {
        assert_eq!(Pattern::new("a+").unwrap(), Pattern::new("a+").unwrap());
        assert_ne!(Pattern::new("a+").unwrap(), Pattern::new("aa*").unwrap());
    }
}
