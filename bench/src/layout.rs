//! Where the harness finds its templates and puts what it makes.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::BenchError;

/// The folders of one checkout.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
    /// The harness's own program, once it is built: a run asks for it often.
    own_program: OnceCell<PathBuf>,
}

impl Layout {
    /// The checkout that this crate was built from.
    pub(crate) fn of_this_checkout() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: here.parent().unwrap_or(here).to_path_buf(), own_program: OnceCell::new() }
    }

    /// The top folder of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target folder, which the environment may have moved.
    pub(crate) fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from)
    }

    /// The harness's own program, built by `build` at the first call.
    pub(crate) fn own_program(
        &self,
        build: impl FnOnce() -> Result<PathBuf, BenchError>,
    ) -> Result<&Path, BenchError> {
        match self.own_program.get() {
            Some(built) => Ok(built),
            None => build().map(|built| self.own_program.get_or_init(|| built).as_path()),
        }
    }

    /// A committed template of `bench/peers`.
    pub(crate) fn template(&self, name: &str) -> PathBuf {
        self.root.join("bench/peers").join(name)
    }

    /// The folder of the reports: with the sources for those worth keeping, else with what the run made.
    pub(crate) fn results(&self, keep: bool) -> PathBuf {
        if keep { self.root.join("bench/results") } else { self.target().join("bench-run") }
    }

    /// An empty folder for one program of a run; what an earlier run left there is removed.
    pub(crate) fn fresh_run_folder(&self, name: &str) -> Result<PathBuf, BenchError> {
        let folder = self.target().join("bench-run").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(BenchError::file(&folder))?;
        }
        fs::create_dir_all(&folder).map_err(BenchError::file(&folder))?;
        Ok(folder)
    }

    /// Writes a template into `folder` and returns the path of the result: each `@NAME@` is replaced, and a line
    /// `@tag: rest` is `rest` where the tag is among `tags`, and left out where not.
    pub(crate) fn render(
        &self,
        template: &str,
        folder: &Path,
        tags: &[&str],
        values: &[(&str, &str)],
    ) -> Result<PathBuf, BenchError> {
        let from = self.template(template);
        let text = fs::read_to_string(&from).map_err(BenchError::file(&from))?;
        let to = folder.join(template);
        fs::write(&to, fill(&choose(&text, tags), values)).map_err(BenchError::file(&to))?;
        Ok(to)
    }
}

/// `text` without the lines of tags that are not among `tags`, and without the tags of the others.
fn choose(text: &str, tags: &[&str]) -> String {
    let mut chosen = String::with_capacity(text.len());
    for line in text.lines() {
        let tagged = line.strip_prefix('@').and_then(|line| line.split_once(": "));
        match tagged.filter(|(tag, _)| !tag.contains('@')) {
            Some((tag, _)) if !tags.contains(&tag) => continue,
            Some((_, rest)) => chosen.push_str(rest),
            None => chosen.push_str(line),
        }
        chosen.push('\n');
    }
    chosen
}

/// `text` with each `@NAME@` replaced by its value.
fn fill(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

#[cfg(test)]
mod tests {
    use super::{choose, fill};

    #[test]
    fn a_tagged_line_stands_only_where_its_tag_is_asked_for() {
        let text = "always\n@tls:  secret\n@plain: open\n@X@: value\n";
        assert_eq!(choose(text, &["tls"]), "always\n secret\n@X@: value\n");
        assert_eq!(choose(text, &[]), "always\n@X@: value\n");
    }

    #[test]
    fn every_occurrence_of_a_name_is_replaced_and_nothing_else() {
        assert_eq!(fill("a @X@ b @X@ @Y@ @Z@", &[("X", "1"), ("Y", "2")]), "a 1 b 1 2 @Z@");
    }
}
