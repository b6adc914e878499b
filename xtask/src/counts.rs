//! Reads the closing lines of test runners, so that the gate can close with one count of them all.

/// Tests that ran, added up over runners.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed or ran out of time.
    pub(crate) failed: u64,
    /// Tests that were there and did not run.
    pub(crate) skipped: u64,
}

impl Counts {
    /// Adds what one line of output says, if it is a runner's closing line.
    pub(crate) fn take(&mut self, line: &str) {
        // cargo test: `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; ...`
        // nextest:    `     Summary [   0.1s] 4 tests run: 3 passed (1 slow), 1 failed, 2 skipped`
        let line = line.trim_start();
        let told = if let Some(rest) = line.strip_prefix("test result: ") {
            rest.split_once(". ").map(|(_, counts)| counts)
        } else if line.starts_with("Summary [") {
            line.split_once("run: ").map(|(_, counts)| counts)
        } else {
            None
        };
        for part in told.unwrap_or_default().split([',', ';']) {
            let mut words = part.split_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
            match words.next() {
                Some("passed") => self.passed += number,
                // `3 timed out`, `1 exec failed`
                Some("failed" | "timed" | "exec") => self.failed += number,
                Some("ignored" | "skipped") => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Adds another count to this one.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The name of the test that a line reports as failed, as both runners write it.
pub(crate) fn failed_test(line: &str) -> Option<&str> {
    let line = line.trim();
    if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
        return Some(name);
    }
    // nextest: `        FAIL [   0.005s] (1/3) crate::binary module::test`, in older versions without the place
    let rest = line.strip_prefix("FAIL [").or_else(|| line.strip_prefix("TIMEOUT ["))?;
    let name = rest.split_once(']')?.1.trim();
    Some(if name.starts_with('(') {
        name.split_once(')').map_or(name, |(_, name)| name.trim())
    } else {
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> (u64, u64, u64) {
        let mut counts = Counts::default();
        counts.take(line);
        (counts.passed, counts.failed, counts.skipped)
    }

    #[test]
    fn both_runners_closing_lines_are_read() {
        assert_eq!(
            told(
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s"
            ),
            (3, 0, 1)
        );
        assert_eq!(told("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured"), (3, 2, 0));
        assert_eq!(
            told("     Summary [   0.1s] 4 tests run: 3 passed (1 slow), 1 failed, 2 skipped"),
            (3, 1, 2)
        );
        assert_eq!(told("     Summary [   9s] 2/4 tests run: 1 passed, 1 timed out, 2 skipped"), (1, 1, 2));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(told("running 3 tests"), (0, 0, 0));
        assert_eq!(told("the summary: 3 passed, 4 failed"), (0, 0, 0));
    }

    #[test]
    fn a_failed_test_is_named() {
        assert_eq!(failed_test("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(failed_test("        FAIL [   0.005s] (1/3) isobar-core a::b"), Some("isobar-core a::b"));
        assert_eq!(failed_test("        FAIL [   0.005s] isobar-core a::b"), Some("isobar-core a::b"));
        assert_eq!(failed_test("test a::b ... ok"), None);
    }
}
