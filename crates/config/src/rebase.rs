//! Relative paths of an included file, rewritten so that they mean the same in the main file's folder.
//!
//! Whether a text is a relative path is decided by what it becomes once its variables are replaced; what is written stays
//! as it is, with the folder put in front.

use std::path::Path;

use toml::Value;

use crate::merged::visit;

/// Where paths stand.
const PATHS: [&[&str]; 10] = [
    &["admin", "token_file"],
    &["access_log", "to"],
    &["listeners", "tls", "certificates", "certificate"],
    &["listeners", "tls", "certificates", "key"],
    &["listeners", "tls", "client_ca"],
    &["services", "*", "discovery", "file"],
    &["services", "*", "sticky", "key_file"],
    &["services", "*", "tls", "ca"],
    &["services", "*", "tls", "certificate"],
    &["services", "*", "tls", "key"],
];
/// Where addresses stand, which may be paths of sockets.
const ADDRESSES: [&[&str]; 4] = [
    &["admin", "listen"],
    &["listeners", "listen"],
    &["services", "*", "endpoints"],
    &["services", "*", "endpoints", "address"],
];
const SOCKET: &str = "unix:";

/// Rewrites a file that stands in `folder` for `home`; `expand` replaces variables.
pub(crate) fn rebase(root: &mut Value, folder: &Path, home: &Path, expand: &dyn Fn(&str) -> Option<String>) {
    if folder == home {
        return;
    }
    // A folder outside of `home` was reached by an absolute path.
    let relative = folder.strip_prefix(home).unwrap_or(folder);
    let prefix = relative.to_string_lossy().replace("${", "$${");
    for path in PATHS {
        visit(root, path, &mut |key, text| {
            let is_path = |text: &String| !(key == "to" && text == "stdout");
            if expand(text).filter(is_path).is_some_and(|path| Path::new(&path).is_relative()) {
                *text = format!("{prefix}/{text}");
            }
        });
    }
    for path in ADDRESSES {
        visit(root, path, &mut |_, text| {
            let Some(address) = expand(text) else { return };
            let Some(socket) = address.strip_prefix(SOCKET).filter(|path| Path::new(path).is_relative())
            else {
                return;
            };
            // A variable that holds all of the address leaves no place for the folder but in front of its value.
            let written = text.strip_prefix(SOCKET).map(str::to_owned);
            let written = written.unwrap_or_else(|| socket.replace("${", "$${"));
            *text = format!("{SOCKET}{prefix}/{written}");
        });
    }
}
