//! Installs what [`REQUIREMENTS`] lacks: Debian packages, Python packages, cargo tools.
//!
//! Debian packages go to the system, by `install-debian.sh`, as root or through sudo; everything else goes under the target folder.
//! Nothing is upgraded that is there already.

use std::path::Path;

use crate::requirements::{REQUIREMENTS, Requirement, Source, Tier, find};
use crate::shell;

/// Installs what the tiers lack, and says what could not be installed; each kind is tried even if another failed.
pub(crate) fn install(tiers: &[Tier]) -> Result<(), String> {
    let mut failures = Vec::new();
    let mut attempt = |done: Result<(), String>| failures.extend(done.err());
    // Kind by kind, looking again each time: Python packages are only visible once Python is there.
    attempt(components(&lacking(tiers)));
    attempt(debian_packages(&lacking(tiers)));
    attempt(python_packages(&lacking(tiers)));
    for one in lacking(tiers) {
        match one.source {
            Source::PipAlone(name, version) => attempt(python_tool(name, version)),
            Source::Crate(name, version) => attempt(tool(name, version)),
            Source::Debian(_) | Source::Pip(..) | Source::Rustup(_) => {}
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

fn lacking(tiers: &[Tier]) -> Vec<Requirement> {
    REQUIREMENTS.into_iter().filter(|one| tiers.contains(&one.tier) && !one.is_met()).collect()
}

fn components(lacking: &[Requirement]) -> Result<(), String> {
    for one in lacking {
        if let Source::Rustup(component) = one.source {
            shell::run(shell::command("rustup", &["component", "add", component]))?;
        }
    }
    Ok(())
}

fn debian_packages(lacking: &[Requirement]) -> Result<(), String> {
    let packages: Vec<&str> = lacking
        .iter()
        .filter_map(|one| if let Source::Debian(package) = one.source { Some(package) } else { None })
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    if find("apt-get").is_none() {
        return Err(format!("no apt-get here; install by hand: {}", packages.join(", ")));
    }
    let mut words = vec!["sh", "xtask/install-debian.sh"];
    if !is_root() {
        words.insert(0, "sudo");
    }
    words.extend(packages);
    shell::run(shell::command(words[0], &words[1..]))
}

/// Whether this process may write where packages go.
fn is_root() -> bool {
    let id = shell::command("id", &["-u"]).output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn python_packages(lacking: &[Requirement]) -> Result<(), String> {
    let packages: Vec<String> = lacking
        .iter()
        .filter_map(|one| {
            if let Source::Pip(name, version) = one.source {
                Some(format!("{name}=={version}"))
            } else {
                None
            }
        })
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    pip(&shell::venv(), &packages)
}

/// Installs `packages` into the Python environment in this folder, which is made where there is none.
fn pip(venv: &Path, packages: &[String]) -> Result<(), String> {
    let venv = venv.display().to_string();
    let pip = format!("{venv}/bin/pip");
    if !Path::new(&pip).is_file() {
        shell::run(shell::command("python3", &["-m", "venv", &venv]))?;
    }
    let mut words = vec!["install", "--quiet", "--disable-pip-version-check"];
    words.extend(packages.iter().map(String::as_str));
    shell::run(shell::command(&pip, &words))
}

fn python_tool(name: &str, version: &str) -> Result<(), String> {
    let (tools, venv) = (shell::tools(), shell::tools().join(name));
    pip(&venv, &[format!("{name}=={version}")])?;
    let (program, bin) = (venv.join("bin").join(name), tools.join("bin"));
    std::fs::create_dir_all(&bin).map_err(|error| format!("cannot make {}: {error}", bin.display()))?;
    let [program, link] = [program, bin.join(name)].map(|path| path.display().to_string());
    shell::run(shell::command("ln", &["-sf", &program, &link]))
}

fn tool(name: &str, version: &str) -> Result<(), String> {
    let (tools, of_version) = (shell::tools().display().to_string(), format!("{name}@{version}"));
    shell::run(shell::cargo(&["install", "--locked", "--quiet", "--root", &tools, &of_version]))
}
