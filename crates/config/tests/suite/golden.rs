//! Wrong configurations and what their authors are told, kept in `tests/golden`.
//!
//! Each `NAME.toml` is loaded as `NAME.toml`, each folder from its `isobar.toml`; `NAME.txt` holds the rendering.

use std::path::{Path, PathBuf};

use isobar_config::{Diagnostics, load};

use crate::memory::{Memory, blessed, env, load_text};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Every wrong configuration: its name, its main file, its files.
pub fn cases() -> Vec<(String, PathBuf, Memory)> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let mut files = Memory::default();
            read_tree(&path, Path::new(""), &mut files);
            cases.push((name, PathBuf::from("isobar.toml"), files));
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            let main = PathBuf::from(path.file_name().unwrap());
            let text = std::fs::read_to_string(&path).unwrap();
            cases.push((name, main.clone(), Memory([(main, text)].into())));
        }
    }
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

fn read_tree(path: &Path, inside: &Path, files: &mut Memory) {
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let inside = inside.join(entry.file_name());
        if entry.path().is_dir() {
            read_tree(&entry.path(), &inside, files);
        } else {
            files.0.insert(inside, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

fn findings(main: &Path, files: &Memory) -> Diagnostics {
    match load(main, files, &env) {
        Ok(loaded) => loaded.warnings,
        Err(errors) => errors,
    }
}

#[test]
fn every_wrong_configuration_is_answered_as_kept() {
    let cases = cases();
    assert!(cases.len() >= 25, "{}", cases.len());
    for (name, main, files) in cases {
        let findings = findings(&main, &files);
        assert!(!findings.is_empty(), "{name} is not wrong");
        let text = format!("{}{}\n", findings.render(false), findings.lines().join("\n"));
        blessed(&folder().join(format!("{name}.txt")), &text);
    }
}

#[test]
fn colour_adds_only_colours() {
    for (name, main, files) in cases() {
        let findings = findings(&main, &files);
        let coloured = strip_colours(&findings.render(true));
        assert_eq!(coloured, findings.render(false), "{name}");
    }
}

fn strip_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

#[test]
fn each_mark_lies_in_the_text_of_its_file() {
    for (name, main, files) in cases() {
        let findings = findings(&main, &files);
        for finding in findings.iter() {
            let places = finding.place.iter().chain(finding.related.iter().map(|(place, _)| place));
            for place in places {
                let text = &findings.sources().file(place.file).text;
                assert!(text.get(place.span.clone()).is_some(), "{name}: {finding:?}");
            }
        }
    }
}

#[test]
fn files_from_other_systems_are_shown_clean() {
    let text = "\u{feff}[[listeners]]\r\nname = \"web\"\r\n\tlistn = \":80\"\r\n";
    let findings = load_text(text).unwrap_err();
    assert_eq!(
        findings.lines(),
        ["isobar.toml:3:2: unknown key `listn` in a listener (did you mean `listen`?)"]
    );
    let rendered = findings.render(false);
    assert!(rendered.contains("3 |     listn = \":80\"\n"), "{rendered}");
}

#[test]
fn control_characters_of_a_file_never_reach_the_terminal() {
    let text = "[[listeners]]\nname = \"a\\u001b[31mb\"\nlisten = \":80\"\nservice = \"x\u{202e}y\"\n\"k\\u001b\" = 1\n";
    let findings = load_text(text).unwrap_err();
    assert!(findings.n_errors() >= 3);
    for text in [findings.render(false), findings.lines().join("\n")] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}
