//! Dependencies point one way: ARCHITECTURE.md draws the picture, this table holds it.

use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Each crate and what of the workspace it may depend on. A crate without a row is refused, so that a new one is
/// placed on purpose.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("isobar-core", &[]),
    ("isobar-http1", &[]),
    ("isobar-http2", &["isobar-http1"]),
    ("isobar-grpc", &[]),
    ("isobar-config", &["isobar-core"]),
    ("isobar-tls", &["isobar-core", "isobar-config"]),
    ("isobar-discovery", &["isobar-core", "isobar-config"]),
    ("isobar-control", &["isobar-core", "isobar-grpc", "isobar-config", "isobar-tls", "isobar-discovery"]),
    (
        "isobar-proxy",
        &["isobar-core", "isobar-http1", "isobar-http2", "isobar-grpc", "isobar-config", "isobar-tls"],
    ),
    (
        "isobar",
        &[
            "isobar-core",
            "isobar-http1",
            "isobar-grpc",
            "isobar-config",
            "isobar-tls",
            "isobar-discovery",
            "isobar-control",
            "isobar-proxy",
        ],
    ),
    // The end-to-end tests see the program as its users do.
    ("isobar-tests", &[]),
    ("isobar-bench", &["isobar-core"]),
    ("xtask", &["isobar-bench"]),
];

/// Crates that decide and therefore never reach out.
const PURE: [&str; 4] = ["isobar-core", "isobar-http1", "isobar-http2", "isobar-grpc"];
/// What would give a pure crate sockets, tasks, a clock or global randomness.
const IMPURE: [&str; 10] = [
    "tokio",
    "mio",
    "socket2",
    "rustix",
    "libc",
    "hyper",
    "rand",
    "getrandom",
    "fastrand",
    "tracing-subscriber",
];

/// One declared dependency.
#[derive(Debug, Clone)]
struct Edge {
    from: String,
    to: String,
    /// Whether only tests need it.
    dev: bool,
}

/// Reads the workspace at `root` and names each dependency that points the wrong way.
pub(super) fn check_workspace(root: &Path) -> Result<Vec<String>, String> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let members: Vec<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let edges: Vec<Edge> = metadata
        .packages
        .iter()
        .flat_map(|package| {
            package.dependencies.iter().map(|dependency| Edge {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                dev: dependency.kind == DependencyKind::Development,
            })
        })
        .collect();
    Ok(check(&members, &edges))
}

fn check(members: &[String], edges: &[Edge]) -> Vec<String> {
    let allowed = |name: &str| ALLOWED.iter().find(|(row, _)| *row == name).map(|(_, allowed)| *allowed);
    let mut wrong: Vec<String> = members
        .iter()
        .filter(|member| allowed(member).is_none())
        .map(|member| format!("{member}: place it in the table of xtask/src/tidy/dependencies.rs"))
        .collect();
    for Edge { from, to, dev } in edges {
        let inside = members.contains(to);
        if inside && allowed(from).is_some_and(|allowed| !allowed.contains(&to.as_str())) {
            wrong.push(format!("{from} must not depend on {to}: dependencies point one way"));
        }
        if !dev && PURE.contains(&from.as_str()) && IMPURE.contains(&to.as_str()) {
            wrong.push(format!("{from} must not depend on {to}: it decides and does not reach out"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(edges: &[(&str, &str, bool)]) -> Vec<String> {
        let members: Vec<String> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
        let edges: Vec<Edge> = edges
            .iter()
            .map(|(from, to, dev)| Edge { from: (*from).to_owned(), to: (*to).to_owned(), dev: *dev })
            .collect();
        check(&members, &edges)
    }

    #[test]
    fn the_drawn_direction_passes_and_its_reverse_does_not() {
        assert!(
            found(&[("isobar-proxy", "isobar-core", false), ("isobar", "isobar-proxy", false)]).is_empty()
        );
        assert_eq!(found(&[("isobar-core", "isobar-config", false)]).len(), 1);
        assert_eq!(found(&[("isobar-core", "isobar-config", true)]).len(), 1, "not even in tests");
    }

    #[test]
    fn a_pure_crate_has_impure_dependencies_only_in_tests() {
        assert_eq!(found(&[("isobar-http1", "tokio", false)]).len(), 1);
        assert!(found(&[("isobar-http1", "tokio", true), ("isobar-proxy", "tokio", false)]).is_empty());
    }

    #[test]
    fn the_table_has_no_cycle() {
        // Each row only names rows above it, but for the tools, which nobody names.
        for (at, (name, allowed)) in ALLOWED.iter().enumerate() {
            for one in *allowed {
                assert!(
                    ALLOWED[..at].iter().any(|(above, _)| above == one),
                    "{name} names {one} before its row"
                );
            }
        }
    }

    #[test]
    fn an_unknown_crate_is_refused() {
        assert_eq!(check(&["isobar-new".to_owned()], &[]).len(), 1);
    }
}
