//! What the pages for people show is true: blocks that are whole configurations are accepted, those that are marked as
//! wrong are refused in the words that stand below them, and sample files are shown as they are.

use std::path::{Path, PathBuf};

use isobar_config::{FileSource, NoFiles, load, load_text};

use crate::documents::{Disk, root};
use crate::memory::env;

/// Stands in the line before a block that must be refused.
const REFUSED: &str = "<!-- refused -->";

/// A block of a page in the place of the main file; what it includes is on the disk.
struct Shown<'a> {
    main: &'a Path,
    text: &'a str,
}

impl FileSource for Shown<'_> {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        if path == self.main { Ok(self.text.to_owned()) } else { Disk.read(path) }
    }

    fn expand(&self, folder: &Path, pattern: &str) -> std::io::Result<Vec<PathBuf>> {
        Disk.expand(folder, pattern)
    }
}

/// A fenced block of a page.
struct Block {
    /// What stands behind the opening fence.
    language: String,
    text: String,
    is_refused: bool,
}

fn pages() -> Vec<PathBuf> {
    let folders = ["docs/guide", "docs/operations"].map(|folder| root().join(folder));
    let pages = folders.iter().flat_map(|folder| Disk.expand(folder, "*.md").unwrap());
    pages.chain([root().join("README.md")]).collect()
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(page).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text.extend([line, "\n"]),
            (None, Some(language)) => {
                open = Some(Block {
                    language: language.to_owned(),
                    text: String::new(),
                    is_refused: before == REFUSED,
                });
            }
            (None, None) => {}
        }
        before = line;
    }
    assert!(open.is_none(), "{}: a fence is not closed", page.display());
    blocks
}

fn is_whole(block: &Block) -> bool {
    block.language == "toml" && block.text.contains("[[listeners]]")
}

#[test]
fn every_whole_configuration_on_a_page_is_accepted_without_a_warning() {
    // Paths in the blocks are those of the samples.
    let main = root().join("docs/guide/examples/page.toml");
    let mut n_accepted = 0;
    for page in pages() {
        for block in blocks(&page).into_iter().filter(|block| is_whole(block) && !block.is_refused) {
            let shown = Shown { main: &main, text: &block.text };
            let loaded = load(&main, &shown, &env).unwrap_or_else(|errors| {
                panic!("{}:\n{}\n{}", page.display(), block.text, errors.render(false))
            });
            assert!(loaded.warnings.is_empty(), "{}: {}", page.display(), loaded.warnings.render(false));
            n_accepted += 1;
        }
    }
    assert!(n_accepted >= 8, "{n_accepted}");
}

#[test]
fn a_configuration_that_a_page_calls_wrong_is_refused_in_the_words_below_it() {
    let mut n_refused = 0;
    for page in pages() {
        let blocks = blocks(&page);
        for pair in blocks.windows(2).filter(|pair| pair[0].is_refused) {
            let errors =
                load_text(Path::new("isobar.toml"), pair[0].text.clone(), &NoFiles, &env).unwrap_err();
            let told = format!("{}\n", errors.render(false).trim_end());
            let closing = format!("isobar.toml: refused ({} errors)\n", errors.n_errors());
            assert_eq!(pair[1].text, told + &closing, "{}", page.display());
            n_refused += 1;
        }
    }
    assert!(n_refused >= 2, "{n_refused}");
}

#[test]
fn the_pages_for_those_who_come_from_elsewhere_show_their_sample_files_as_they_are() {
    for (page, files) in [
        ("from-nginx.md", ["from-nginx.conf", "from-nginx.toml"]),
        ("from-haproxy.md", ["from-haproxy.cfg", "from-haproxy.toml"]),
    ] {
        let guide = root().join("docs/guide");
        let blocks = blocks(&guide.join(page));
        for file in files {
            let text = std::fs::read_to_string(guide.join("examples").join(file)).unwrap();
            assert!(blocks.iter().any(|block| block.text == text), "{page} does not show {file} as it is");
        }
    }
}
