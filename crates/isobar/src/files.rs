//! Configuration files from the disk, for [`isobar_config::load`].
//!
//! Invariant: no more than one byte past [`FILE_BYTES_MAX`] of a file is read, so that a configuration that names a
//! device or a log by mistake costs neither memory nor time without bound.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use isobar_config::{EndpointSettings, FILE_BYTES_MAX, FileSource, pattern_matches};

/// The file system.
pub(crate) struct Disk;

impl FileSource for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        let mut text = String::new();
        File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
        Ok(text)
    }

    fn expand(&self, folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let path = folder.join(pattern);
        let (Some(names), Some(parent)) = (path.file_name().and_then(|name| name.to_str()), path.parent())
        else {
            return Ok(vec![path]);
        };
        if !names.contains(['*', '?']) {
            return Ok(vec![path]);
        }
        // The parent of "a.toml" is "", which the system does not take for the current folder.
        let listed = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let mut matches = Vec::new();
        for entry in listed.read_dir()? {
            let entry = entry?;
            let name = entry.file_name();
            let fits = name.to_str().is_some_and(|name| pattern_matches(names, name));
            // A pipe would hold the reading up for ever, a folder is none of ours.
            if fits && entry.path().is_file() {
                matches.push(parent.join(name));
            }
        }
        Ok(matches)
    }
}

/// Reads the text of a discovered file; what is wrong with it becomes one line.
pub(crate) fn endpoints(path: &Path, text: String) -> Result<Vec<EndpointSettings>, String> {
    isobar_config::read_endpoints(path, text, &environment).map_err(|findings| findings.lines().join("; "))
}

/// A variable of this process's environment; one that is not Unicode counts as unset.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    fn expanded(folder: &Path, pattern: &str) -> Vec<String> {
        let mut names: Vec<_> = Disk
            .expand(folder, pattern)
            .unwrap()
            .iter()
            .map(|path| path.strip_prefix(folder).unwrap().display().to_string())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_pattern_names_the_files_that_fit_and_no_folder() {
        let folder = folder_with(&["a.toml", "b.toml", "b.txt", ".c.toml"]);
        std::fs::create_dir(folder.path().join("d.toml")).unwrap();
        std::fs::write(folder.path().join("d.toml/e.toml"), "").unwrap();
        assert_eq!(expanded(folder.path(), "*.toml"), ["a.toml", "b.toml"]);
        assert_eq!(expanded(folder.path(), "d.toml/*.toml"), ["d.toml/e.toml"]);
    }

    #[test]
    fn a_path_without_a_wildcard_is_itself_even_when_it_does_not_exist() {
        let folder = folder_with(&[]);
        assert_eq!(expanded(folder.path(), "absent.toml"), ["absent.toml"]);
    }

    #[test]
    fn a_folder_that_cannot_be_listed_is_an_error() {
        let folder = folder_with(&[]);
        assert!(Disk.expand(folder.path(), "absent/*.toml").is_err());
    }

    #[test]
    fn reading_stops_past_the_bound() {
        let folder = folder_with(&[]);
        let path = folder.path().join("endless.toml");
        File::create(&path).unwrap().set_len(FILE_BYTES_MAX as u64 * 2).unwrap();
        assert_eq!(Disk.read(&path).unwrap().len(), FILE_BYTES_MAX + 1);
    }
}
