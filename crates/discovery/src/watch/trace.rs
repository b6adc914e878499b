//! Which folder entries a path depends on: every step that the kernel takes when it opens it, symbolic links included.
//!
//! A configuration is often reached through links that are swapped as a whole (`current -> releases/5`, or Kubernetes'
//! `cart.toml -> ..data/cart.toml` with `..data -> ..2024_05`). The path changes its meaning exactly when one of the
//! entries on the way does, so these are what has to be watched.
//!
//! Invariant: an entry is visited before it is looked up, so that whoever starts to watch it in `visit` misses no change
//! made after the look. Limits: links are followed as often as the kernel would.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Links followed on one path; the kernel refuses to open a path with more (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// Which entries of a folder a path depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// One that leads on: a folder, or a link to one.
    Through(&'a OsStr),
    /// The one that the path ends at: a file, a folder or a link.
    Last(&'a OsStr),
    /// All, since the path ends at the folder itself.
    Every,
}

/// Visits each folder and its step on the way to `path`, an absolute path.
///
/// Ends early where the path leads nowhere; the entry that is missing was visited then.
pub(super) fn trace(path: &Path, mut visit: impl FnMut(&Path, Step<'_>)) {
    let mut links = 0;
    let mut at = PathBuf::from("/");
    let mut rest = Vec::new();
    push_steps(&mut rest, path);
    while let Some(step) = rest.pop() {
        if step == ".." {
            // `at` holds no links, so its parent is the folder that the kernel would go to.
            at.pop();
            continue;
        }
        visit(&at, if rest.is_empty() { Step::Last(&step) } else { Step::Through(&step) });
        let next = at.join(&step);
        match fs::read_link(&next) {
            Ok(target) => {
                links += 1;
                if links > LINKS_MAX {
                    return;
                }
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                push_steps(&mut rest, &target);
            }
            // What readlink(2) says of anything that is no link.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => at = next,
            Err(_) => return,
        }
    }
    if at.is_dir() {
        visit(&at, Step::Every);
    }
}

/// Puts the steps of `path` on top of those that are left, the first one uppermost.
fn push_steps(rest: &mut Vec<OsString>, path: &Path) {
    rest.extend(path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    /// The entries below `root` that the path depends on, as text; those that lead on close with a slash.
    fn steps(root: &Path, path: &str) -> Vec<String> {
        let mut found = Vec::new();
        trace(&root.join(path), |folder, step| {
            let Ok(inside) = folder.strip_prefix(root) else { return };
            let entry = match step {
                Step::Through(name) => inside.join(name).join(""),
                Step::Last(name) => inside.join(name),
                Step::Every => inside.join("*"),
            };
            found.push(entry.display().to_string());
        });
        found
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        (folder, root)
    }

    #[test]
    fn every_link_on_the_way_is_visited_and_followed() {
        let (_folder, root) = folder();
        fs::create_dir(root.join("..2024")).unwrap();
        fs::write(root.join("..2024/cart.toml"), "").unwrap();
        symlink("..2024", root.join("..data")).unwrap();
        symlink("..data/cart.toml", root.join("cart.toml")).unwrap();
        assert_eq!(steps(&root, "cart.toml"), ["cart.toml", "..data/", "..2024/", "..2024/cart.toml"]);
        symlink(root.join("..data"), root.join("absolute")).unwrap();
        assert_eq!(
            steps(&root, "absolute/../cart.toml"),
            ["absolute/", "..data/", "..2024/", "cart.toml", "..data/", "..2024/", "..2024/cart.toml"]
        );
    }

    #[test]
    fn a_missing_entry_is_the_last_one_visited() {
        let (_folder, root) = folder();
        assert_eq!(steps(&root, "conf/cart.toml"), ["conf/"]);
        fs::write(root.join("conf"), "").unwrap();
        assert_eq!(steps(&root, "conf/cart.toml"), ["conf/", "conf/cart.toml"]);
    }

    #[test]
    fn a_folder_at_the_end_is_visited_as_a_whole() {
        let (_folder, root) = folder();
        fs::create_dir(root.join("conf.d")).unwrap();
        assert_eq!(steps(&root, "conf.d"), ["conf.d", "conf.d/*"]);
    }

    #[test]
    fn a_circle_of_links_ends() {
        let (_folder, root) = folder();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(steps(&root, "a").len(), LINKS_MAX + 1);
    }
}
