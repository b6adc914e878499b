//! Files in memory and the one way tests load them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use isobar_config::{Diagnostics, FileSource, Loaded, REDACTED, load, pattern_matches};

/// What a file of this name holds wherever one is looked for: samples name it and have none.
pub const SECRET: &str = "sixteen or more characters\n";

/// A file system of names and texts.
#[derive(Default)]
pub struct Memory(pub BTreeMap<PathBuf, String>);

impl Memory {
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
    }
}

impl FileSource for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        if path.ends_with("sticky.key") {
            return Ok(SECRET.to_owned());
        }
        self.0.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn expand(&self, folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let whole = folder.join(pattern);
        if !pattern.contains(['*', '?']) {
            return Ok(vec![whole]);
        }
        let (parent, last) = (whole.parent().unwrap(), whole.file_name().unwrap().to_str().unwrap());
        let fits = |path: &&PathBuf| {
            path.parent() == Some(parent)
                && path.file_name().is_some_and(|name| pattern_matches(last, &name.to_string_lossy()))
        };
        Ok(self.0.keys().filter(fits).cloned().collect())
    }
}

/// The environment of tests.
pub fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8080".to_owned()),
        "EMPTY" => Some(String::new()),
        "STDOUT" => Some("stdout".to_owned()),
        "SOCKET" => Some("unix:here.sock".to_owned()),
        "ABSOLUTE" => Some("/srv".to_owned()),
        "NESTED" => Some("${PORT}".to_owned()),
        _ => None,
    }
}

/// Loads `isobar.toml` with this text.
pub fn load_text(text: &str) -> Result<Loaded, Diagnostics> {
    load_files(&[("isobar.toml", text)])
}

/// Loads the first of these files. Whatever is accepted must be shown as a text that means the same.
pub fn load_files(files: &[(&str, &str)]) -> Result<Loaded, Diagnostics> {
    let main = Path::new(files[0].0);
    let loaded = load(main, &Memory::of(files), &env)?;
    shown_alike(main, &Memory::of(files), &loaded);
    Ok(loaded)
}

/// Holds the text that is shown against the settings it stands for.
pub fn shown_alike(main: &Path, files: &impl FileSource, loaded: &Loaded) {
    let again = isobar_config::load_text(main, loaded.document.clone(), files, &env);
    if loaded.document.contains(REDACTED) {
        return;
    }
    let again = again.unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    assert_eq!(again.settings, loaded.settings, "{}", loaded.document);
    assert_eq!(again.document, loaded.document);
}

/// Compares a kept file with what is made now; with `ISOBAR_BLESS=1` writes it instead.
pub fn blessed(path: &Path, now: &str) {
    if std::env::var_os("ISOBAR_BLESS").is_some() {
        std::fs::write(path, now).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let advice = "is out of date; if the change is meant, run the tests with ISOBAR_BLESS=1";
    assert!(kept == now, "{} {advice}\n--- kept\n{kept}\n--- now\n{now}", path.display());
}
