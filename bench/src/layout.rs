//! Where the harness finds its templates and puts what it makes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::BenchError;

/// The folders of one checkout.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The checkout that this crate was built from.
    pub(crate) fn of_this_checkout() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: here.parent().unwrap_or(here).to_path_buf() }
    }

    /// The top folder of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target folder, which the environment may have moved.
    pub(crate) fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from)
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

    /// Writes a template with each `@NAME@` replaced into `folder` and returns the path of the result.
    pub(crate) fn render(
        &self,
        template: &str,
        folder: &Path,
        values: &[(&str, &str)],
    ) -> Result<PathBuf, BenchError> {
        let from = self.template(template);
        let text = fs::read_to_string(&from).map_err(BenchError::file(&from))?;
        let to = folder.join(template);
        fs::write(&to, fill(&text, values)).map_err(BenchError::file(&to))?;
        Ok(to)
    }
}

/// `text` with each `@NAME@` replaced by its value.
fn fill(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn every_occurrence_of_a_name_is_replaced_and_nothing_else() {
        assert_eq!(fill("a @X@ b @X@ @Y@ @Z@", &[("X", "1"), ("Y", "2")]), "a 1 b 1 2 @Z@");
    }
}
