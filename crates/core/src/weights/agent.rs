//! What an agent beside an endpoint says in one line, in the form of HAProxy's agent check.
//!
//! Words stand in any order, with spaces, tabs or commas between them: a percentage of the configured weight, `maxconn:`
//! with a number, `ready`, `drain` or `maint`, and `up`, `down`, `fail` or `stopped`; of several of one kind the last
//! counts. What a `#` begins is a reason for people.
//!
//! Invariants: a line without a known word is none; a word that is not known, or whose number is absurd, is passed over.
//! Limit: in HAProxy `up` leaves a drain as it is and `ready` a failure; here each lifts both, unless its line says
//! otherwise, since most agents know only one of them.

use std::sync::Arc;

/// Percent past which a percentage is absurd: ten times of what was configured.
const PERCENT_MAX: u32 = 1_000;

/// Whether the endpoint is to take new requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Duty {
    Ready,
    Drain,
    Maint,
}

/// One line of an agent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentLine {
    pub(super) percent: Option<u32>,
    pub(super) connections_max: Option<u32>,
    duty: Option<Duty>,
    /// `Err` with the word and the reason where it does not work.
    operation: Option<Result<(), Arc<str>>>,
}

impl AgentLine {
    /// Reads the line that `bytes` begin with; `None` where it says nothing that is understood.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)).unwrap_or(bytes.len());
        let text = String::from_utf8_lossy(&bytes[..end]);
        let (words, reason) = match text.split_once('#') {
            Some((words, reason)) => (words, reason.trim()),
            None => (&*text, ""),
        };
        let mut line = Self::default();
        for word in words.split([' ', '\t', ',']) {
            line.take(word, reason);
        }
        (line != Self::default()).then_some(line)
    }

    fn take(&mut self, word: &str, reason: &str) {
        let word = word.to_ascii_lowercase();
        if let Some(percent) = word.strip_suffix('%').and_then(number) {
            self.percent = Some(percent).filter(|percent| *percent <= PERCENT_MAX).or(self.percent);
        } else if let Some(max) = word.strip_prefix("maxconn:").and_then(number) {
            self.connections_max = Some(max);
        }
        match word.as_str() {
            "ready" => self.duty = Some(Duty::Ready),
            "drain" => self.duty = Some(Duty::Drain),
            "maint" => self.duty = Some(Duty::Maint),
            "up" => self.operation = Some(Ok(())),
            "down" | "fail" | "failed" | "stopped" => {
                let colon = if reason.is_empty() { "" } else { ": " };
                // For logs and lists: what would break a line there is a blank.
                let reason = reason.replace(char::is_control, " ");
                self.operation = Some(Err(format!("agent: {word}{colon}{reason}").into()));
            }
            _ => {}
        }
    }

    /// Why it takes no new requests after this line, given why it did `before`.
    pub(super) fn rest(&self, before: Option<&'static str>) -> Option<&'static str> {
        match (self.duty, &self.operation) {
            (Some(Duty::Drain), _) => Some("agent: drain"),
            (Some(Duty::Maint), _) => Some("agent: maint"),
            (Some(Duty::Ready), _) | (None, Some(Ok(()))) => None,
            (None, _) => before,
        }
    }

    /// Whether it works; `None` where nothing was said.
    pub(super) fn operation(&self) -> Option<Result<(), Arc<str>>> {
        self.operation.clone().or_else(|| (self.duty == Some(Duty::Ready)).then_some(Ok(())))
    }
}

/// A number without a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> AgentLine {
        AgentLine::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn words_are_read_in_any_order_up_to_the_end_of_the_line() {
        for text in ["ready 75% maxconn:30\n", "maxconn:30,75%\tREADY\r\ndrain", "  75%  maxconn:30 ready \n"]
        {
            let line = line(text);
            assert_eq!((line.percent, line.connections_max), (Some(75), Some(30)), "{text}");
            assert_eq!((line.rest(Some("x")), line.operation()), (None, Some(Ok(()))), "{text}");
        }
    }

    #[test]
    fn each_word_says_what_it_says_and_nothing_else() {
        const BEFORE: Option<&str> = Some("before");
        let down = |text: &str| Some(Err(Arc::from(text)));
        for (text, rest, operation) in [
            ("50%", BEFORE, None),
            ("maxconn:1", BEFORE, None),
            ("drain", Some("agent: drain"), None),
            ("maint", Some("agent: maint"), None),
            ("ready", None, Some(Ok(()))),
            ("up", None, Some(Ok(()))),
            ("up drain", Some("agent: drain"), Some(Ok(()))),
            ("ready down", None, down("agent: down")),
            ("down", BEFORE, down("agent: down")),
            ("fail#disk full", BEFORE, down("agent: fail: disk full")),
            ("stopped # by\u{7}hand\n", BEFORE, down("agent: stopped: by hand")),
            ("down up", None, Some(Ok(()))),
        ] {
            let line = line(text);
            assert_eq!((line.rest(BEFORE), line.operation()), (rest, operation), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_passed_over_and_a_line_of_it_is_none() {
        for text in [
            "",
            "\n",
            "hello",
            "%",
            "-5%",
            "+5%",
            "7 5 %",
            "1001%",
            "99999999999%",
            "maxconn:",
            "maxconn:-1",
            "# up",
        ] {
            assert_eq!(AgentLine::parse(text.as_bytes()), None, "{text}");
        }
        let line = line("1001% 20% nonsense 5000%");
        assert_eq!(line, AgentLine { percent: Some(20), ..AgentLine::default() });
        assert_eq!(AgentLine::parse(b"\xff\xfe\x00up"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reason_that_breaks_a_line(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let down = [b"down ".as_slice(), &bytes].concat();
            for line in [AgentLine::parse(&bytes), AgentLine::parse(&down)].into_iter().flatten() {
                if let Some(Err(reason)) = line.operation() {
                    prop_assert!(!reason.contains(char::is_control));
                }
            }
        }
    }
}
