//! Findings as text: with the source line and a caret for people, on one line each for editors and logs.
//!
//! Invariant: control characters of a configuration never reach a terminal raw. Only the lines between the first and
//! the last marked one are handed to the renderer, so that one finding costs the size of its lines, not of its file.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str,
};

use crate::diagnose::{Diagnostic, Diagnostics, Severity};
use crate::place::{FileId, Place, Sources};

impl Diagnostics {
    /// Every finding with its source line, marked, and its help; `colour` adds terminal colours.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for finding in &self.list {
            text.push_str(&renderer.render(&[self.group(finding)]));
            text.push_str("\n\n");
        }
        if self.omitted > 0 {
            let _ = writeln!(text, "and {} more findings\n", self.omitted);
        }
        text
    }

    /// Every finding as `file:line:column: message (help)`.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.list.iter().map(|finding| self.line(finding)).collect();
        if self.omitted > 0 {
            lines.push(format!("and {} more findings", self.omitted));
        }
        lines
    }

    fn line(&self, finding: &Diagnostic) -> String {
        let mut line = String::new();
        if let Some(place) = &finding.place {
            let (row, column) = self.sources.line_and_column(place.file, place.span.start);
            let _ = write!(line, "{}:{row}:{column}: ", self.sources.file(place.file).path.display());
        }
        if finding.severity == Severity::Warning {
            line.push_str("warning: ");
        }
        line.push_str(&finding.message);
        if let Some(help) = &finding.help {
            let _ = write!(line, " ({help})");
        }
        normalize_untrusted_str(&line).replace('\n', " ")
    }

    fn group<'a>(&'a self, finding: &'a Diagnostic) -> Group<'a> {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(normalize_untrusted_str(&finding.message));
        let mut group = Group::with_title(title);
        if let Some(place) = &finding.place {
            let here: Vec<_> = finding.related.iter().filter(|(other, _)| other.file == place.file).collect();
            let mut marks = vec![(&place.span, finding.label.as_str(), AnnotationKind::Primary)];
            marks.extend(
                here.iter().map(|(other, words)| (&other.span, words.as_str(), AnnotationKind::Context)),
            );
            group = group.element(snippet(&self.sources, place.file, &marks));
            for (other, words) in finding.related.iter().filter(|(other, _)| other.file != place.file) {
                let marks = [(&other.span, words.as_str(), AnnotationKind::Context)];
                group = group.element(snippet(&self.sources, other.file, &marks));
            }
        }
        if let Some(help) = &finding.help {
            group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
        }
        group
    }
}

type Mark<'a> = (&'a Range<usize>, &'a str, AnnotationKind);

fn snippet<'a>(sources: &'a Sources, file: FileId, marks: &[Mark<'a>]) -> Snippet<'a, Annotation<'a>> {
    let source = sources.file(file);
    let first = marks.iter().map(|(span, ..)| span.start).min().unwrap_or(0);
    let last = marks.iter().map(|(span, ..)| span.end).max().unwrap_or(0);
    let Place { span: window, .. } = whole_lines(sources, file, first..last);
    let (line, _) = sources.line_and_column(file, window.start);
    let annotations = marks.iter().map(|(span, label, kind)| {
        let shifted = span.start - window.start..span.end - window.start;
        let annotation = kind.span(shifted);
        if label.is_empty() { annotation } else { annotation.label(normalize_untrusted_str(label)) }
    });
    Snippet::source(&source.text[window.clone()])
        .line_start(line)
        .path(source.path.display().to_string())
        .annotations(annotations)
}

/// Widens a span to the lines it touches.
fn whole_lines(sources: &Sources, file: FileId, span: Range<usize>) -> Place {
    let text = &sources.file(file).text;
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at);
    let end = span.end + text[span.end..end].trim_end_matches('\r').len();
    sources.clamp(file, start..end)
}
