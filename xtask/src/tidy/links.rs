//! Links in Markdown: every relative one leads to a file or folder that exists, every anchor to a heading.
//!
//! Limits: inline links only (`[text](target)`), which are the only ones in use here; what stands in code, fenced or
//! between backticks, is no link. Anchors are those that GitHub makes of headings.

use std::fs;
use std::path::Path;

/// Each link of `text`, the page at `path`, that leads nowhere, with its line.
pub(super) fn check(path: &Path, text: &str) -> Vec<(usize, String)> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut wrong = Vec::new();
    for (line, target) in
        prose(text).flat_map(|(line, prose)| targets(&prose).into_iter().map(move |one| (line, one)))
    {
        let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
        // `https:`, `mailto:`; the network is not asked.
        if file.contains(':') {
            continue;
        }
        let aim = if file.is_empty() { path.to_owned() } else { folder.join(file) };
        if file.starts_with('/') || !aim.exists() {
            wrong.push((line, format!("link to `{target}`: there is no such file; links are relative")));
        } else if !anchor.is_empty() && !has_anchor(&aim, anchor) {
            wrong.push((line, format!("link to `{target}`: no heading there has this anchor")));
        }
    }
    wrong
}

fn has_anchor(page: &Path, anchor: &str) -> bool {
    fs::read_to_string(page).is_ok_and(|text| anchors(&text).any(|one| one == anchor))
}

/// The lines outside fenced code, counted from 1, without what stands between backticks.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then(|| (number, line.split('`').step_by(2).collect::<Vec<_>>().join("`")))
    })
}

/// The targets of the links in a line, without their titles.
fn targets(line: &str) -> Vec<String> {
    line.split("](").skip(1).filter_map(|behind| behind.split([')', ' ']).next()).map(str::to_owned).collect()
}

/// What a link may name behind `#`: each heading in lower case, punctuation left out, hyphens for spaces.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    prose_headings(text).map(|heading| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The texts of the headings; those in fenced code are comments of a shell.
fn prose_headings(text: &str) -> impl Iterator<Item = &str> {
    let outside: Vec<usize> = prose(text).map(|(number, _)| number).collect();
    let lines = (1..).zip(text.lines()).filter(move |(number, _)| outside.binary_search(number).is_ok());
    lines.filter(|(_, line)| line.starts_with('#')).map(|(_, line)| line.trim_start_matches('#').trim())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The complaints about a page `docs/page.md` beside which `other.md` exists.
    fn complaints(text: &str) -> Vec<(usize, String)> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("docs")).unwrap();
        fs::write(folder.path().join("docs/other.md"), "# Other\n\n## What `it` is, now\n").unwrap();
        fs::write(folder.path().join("top.md"), "").unwrap();
        let page = folder.path().join("docs/page.md");
        fs::write(&page, text).unwrap();
        check(&page, text)
    }

    #[test]
    fn links_to_what_exists_and_to_other_hosts_pass() {
        let text = "[a](other.md) [b](../top.md \"title\") [c](../docs) [d](https://example.com/x) [e](mailto:a@b)\n";
        assert_eq!(complaints(text), []);
    }

    #[test]
    fn a_link_to_a_file_that_is_not_there_is_told_with_its_line() {
        let found = complaints("fine\n\n[a](other.md) and ![b](absent.png)\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].0 == 3 && found[0].1.contains("absent.png"), "{found:?}");
    }

    #[test]
    fn an_absolute_path_is_refused_even_where_it_exists() {
        assert_eq!(complaints("[a](/)\n").len(), 1);
    }

    #[test]
    fn an_anchor_must_be_a_heading_of_its_page() {
        let text = "# Here it is\n[a](#here-it-is) [b](other.md#what-it-is-now)\n";
        assert_eq!(complaints(text), []);
        assert_eq!(complaints("[a](#nowhere)\n[b](other.md#nowhere)\n[c](../top.md#top)\n").len(), 3);
    }

    #[test]
    fn code_has_no_links_and_no_headings() {
        assert_eq!(complaints("`[a](absent.md)`\n```sh\n# b\n[c](absent.md)\n```\n"), []);
        assert_eq!(complaints("```\n# b\n```\n[a](#b)\n").len(), 1);
    }
}
