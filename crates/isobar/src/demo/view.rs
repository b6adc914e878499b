//! The live view: a picture as a frame of the terminal's size.
//!
//! Invariants: pure; at 80 columns and 24 lines everything important is there, on smaller terminals the end is cut.

use super::frame::{Frame, Look, Size};
use super::picture::{Picture, Row, count, milliseconds, suggestions};

/// Columns that the layout is made for; wider terminals give the rest to the ids.
const COLUMNS: usize = 80;

/// Columns of an endpoint's id in a terminal of [`COLUMNS`]; the sample instances need eight.
const ID_COLUMNS: usize = 9;

/// More columns than that no id gets.
const ID_COLUMNS_MAX: usize = 24;

/// Columns of the bar that shows a share.
const BAR_COLUMNS: usize = 10;

/// Columns of a suggested command, so that what they do stands in a column as well.
const COMMAND_COLUMNS: usize = 44;

/// The picture for a terminal of this size.
pub(super) fn frame(picture: &Picture, size: Size) -> Frame {
    let mut frame = Frame::new(size);
    push_totals(&mut frame, picture);
    frame.skip();
    push_table(&mut frame, picture);
    frame.skip();
    push_selected(&mut frame, picture);
    frame.skip();
    for (command, what) in suggestions(&picture.facts) {
        push_command(&mut frame, &command, what);
    }
    frame.push([("  keys: up, down select   k kill, revive   q quit", Look::Faint)]);
    frame.skip();
    push_events(&mut frame, picture);
    frame
}

/// A command that is wider than the terminal goes on in a second line, as a shell reads it.
fn push_command(frame: &mut Frame, command: &str, what: &str) {
    let room = frame.size().columns.saturating_sub("  ".len());
    let mut rest = command;
    if command.len() > room
        && let Some(begin) = command.get(..room.saturating_sub(" \\".len()))
        && let Some((begin, _)) = begin.rsplit_once(' ')
    {
        frame.push([("  ", Look::Plain), (begin, Look::Plain), (" \\", Look::Plain)]);
        rest = &command[begin.len()..];
    }
    frame.push([(&format!("  {rest:COMMAND_COLUMNS$}  "), Look::Plain), (what, Look::Faint)]);
}

fn push_totals(frame: &mut Frame, picture: &Picture) {
    let facts = &picture.facts;
    let seconds = picture.now.as_secs();
    let time = match facts.lasts {
        Some(lasts) => format!("{seconds} of {} s", lasts.as_secs()),
        None => format!("{seconds} s"),
    };
    frame.push([
        ("isobar demo", Look::Strong),
        (&format!("   http://{}   admin {}   {time}", facts.proxy, facts.admin), Look::Plain),
    ]);
    let (recent, whole) = (&picture.recent, &picture.whole);
    let requests = format!("{:.0} requests/s, {} in all   ", recent.rate, whole.requests);
    let failed = format!("{} failed", whole.failures);
    let look = if whole.failures == 0 { Look::Good } else { Look::Bad };
    let latencies = format!("   p50 {} ms   p99 {} ms", milliseconds(recent.p50), milliseconds(recent.p99));
    frame.push([(&requests, Look::Plain), (&failed, look), (&latencies, Look::Plain)]);
}

fn push_table(frame: &mut Frame, picture: &Picture) {
    let id_columns =
        ID_COLUMNS + frame.size().columns.saturating_sub(COLUMNS).min(ID_COLUMNS_MAX - ID_COLUMNS);
    let head = format!(
        "  {:id_columns$} {:13} {:9} {:>3} {:BAR_COLUMNS$} {:>4} {:>5} {:>5} {:>5} {:>6}",
        "endpoint", "instance", "state", "wt", "share", "", "req/s", "p50", "p99", "failed"
    );
    frame.push([(&head, Look::Strong)]);
    for (at, row) in picture.rows.iter().enumerate() {
        push_row(frame, row, at == picture.selected, id_columns);
    }
}

fn push_row(frame: &mut Frame, row: &Row, selected: bool, id_columns: usize) {
    let marker = if selected { "> " } else { "  " };
    let id = format!("{marker}{:id_columns$.id_columns$} ", row.id);
    let what = format!("{:13.13} ", row.what);
    let state = format!("{:9.9} ", row.state);
    let state_look = match row.state.as_str() {
        "healthy" => Look::Good,
        "unknown" => Look::Plain,
        _ => Look::Bad,
    };
    let weight = format!("{:>3} ", row.weight);
    let bar = bar(row.share);
    let numbers = format!(
        " {:>3.0}% {:>5.0} {:>5} {:>5} {:>6}",
        row.share * 100.0,
        row.recent.rate,
        milliseconds(row.recent.p50),
        milliseconds(row.recent.p99),
        count(row.failed_attempts)
    );
    frame.push([
        (&id, if selected { Look::Strong } else { Look::Plain }),
        (&what, if row.in_trouble { Look::Bad } else { Look::Plain }),
        (&state, state_look),
        (&weight, Look::Plain),
        (&bar, Look::Good),
        (&numbers, Look::Plain),
    ]);
}

/// A bar of [`BAR_COLUMNS`]; any share that is not zero shows.
fn bar(share: f64) -> String {
    let filled = ((share * BAR_COLUMNS as f64).round() as usize).min(BAR_COLUMNS);
    let filled = if share > 0.0 { filled.max(1) } else { 0 };
    format!("{:BAR_COLUMNS$}", "#".repeat(filled))
}

fn push_selected(frame: &mut Frame, picture: &Picture) {
    let Some(row) = picture.rows.get(picture.selected) else { return frame.skip() };
    let reason = if row.reason.is_empty() { String::new() } else { format!(": {}", row.reason) };
    frame.push([
        (&format!("> {}", row.id), Look::Strong),
        (&format!(" at {} is {}{reason}", row.address, row.state), Look::Plain),
    ]);
}

/// As many of the newest events as there is room for, the newest last.
fn push_events(frame: &mut Frame, picture: &Picture) {
    frame.push([("events", Look::Strong)]);
    let room = frame.room();
    for event in &picture.events[picture.events.len().saturating_sub(room)..] {
        frame.push([("  ", Look::Plain), (event, Look::Faint)]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::demo::picture::tests::picture;

    fn text(frame: &Frame) -> String {
        let line = |line: &Vec<crate::demo::frame::Piece>| -> String {
            line.iter().map(|piece| piece.text.as_str()).collect()
        };
        frame.lines().iter().map(|pieces| line(pieces) + "\n").collect()
    }

    const USUAL: Size = Size { columns: 80, lines: 24 };

    #[test]
    fn names_states_shares_hints_and_events_fit_the_usual_terminal() {
        let picture = picture();
        let text = text(&frame(&picture, USUAL));
        for row in &picture.rows {
            let line = text
                .lines()
                .find(|line| line.get(2..).is_some_and(|line| line.starts_with(&row.id)))
                .unwrap();
            assert!(line.contains(&row.what) && line.contains(&row.state), "{line}");
            assert!(line.contains(&format!("{:.0}%", row.share * 100.0)), "{line}");
        }
        for part in [
            "http://127.0.0.1:8080",
            "1 of 30 s",
            "0 failed",
            "> flapping at 127.0.0.1:9001 is unhealthy: 3 probes failed",
            "curl -i",
            "isobar drain demo plain-1",
            "isobar weight demo",
            "q quit",
            "sample instance killed",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 80) && text.lines().count() <= 24, "{text}");
    }

    #[test]
    fn a_command_that_is_too_wide_goes_on_in_the_next_line_as_a_shell_reads_it() {
        let mut picture = picture();
        picture.facts.program = format!("/{}/isobar", "x".repeat(40));
        picture.facts.admin = ([127, 0, 0, 1], 45_678).into();
        let text = text(&frame(&picture, USUAL)).replace("\\\n", "");
        for (command, _) in suggestions(&picture.facts) {
            let words: Vec<_> = command.split(' ').collect();
            let is_shown = |line: &str| line.split_whitespace().take(words.len()).eq(words.iter().copied());
            assert!(text.lines().any(is_shown), "{command} is missing in\n{text}");
        }
    }

    #[test]
    fn the_table_is_aligned_and_its_last_column_fits() {
        let mut picture = picture();
        picture.rows[0].failed_attempts = Some(123_456);
        let frame = frame(&picture, USUAL);
        let text = text(&frame);
        let lines: Vec<_> = text.lines().skip(3).take(2).collect();
        assert_eq!(lines[0].len(), 80, "{text}");
        assert!(lines[0].ends_with("failed") && lines[1].ends_with("123456"), "{text}");
    }

    #[test]
    fn no_size_panics_or_is_exceeded() {
        for selected in [0, 4, 100] {
            let picture = Picture { selected, ..picture() };
            for columns in [0, 1, 2, 20, 79, 80, 81, 200, 1_000] {
                for lines in [0, 1, 2, 5, 24, 100] {
                    let frame = frame(&picture, Size { columns, lines });
                    assert!(frame.lines().len() <= lines);
                    for line in text(&frame).lines() {
                        assert!(line.len() <= columns, "{columns}x{lines}: {line}");
                    }
                }
            }
        }
        let empty = Picture { rows: Vec::new(), events: Vec::new(), ..picture() };
        assert!(!frame(&empty, USUAL).lines().is_empty());
    }

    #[test]
    fn the_newest_events_are_shown_where_not_all_fit() {
        let events: Vec<String> = (0..50).map(|n| format!("event {n};")).collect();
        let text = text(&frame(&Picture { events, ..picture() }, USUAL));
        assert!(text.ends_with("event 49;\n") && !text.contains("event 0;"), "{text}");
    }

    #[test]
    fn a_bar_shows_any_share_and_never_more_than_all() {
        let lengths = [0.0, 0.001, 0.5, 1.0].map(|share| bar(share).trim_end().len());
        assert_eq!(lengths, [0, 1, 5, 10]);
        assert!([0.0, 0.3, 1.0, 9.0].iter().all(|share| bar(*share).len() == BAR_COLUMNS));
    }
}
