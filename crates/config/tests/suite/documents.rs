//! What is generated for people agrees with what the program does: reference page, schema, sample files.

use std::path::{Path, PathBuf};

use isobar_config::{
    DiscoverySettings, FileSource, Loaded, load, pattern_matches, read_endpoints, reference, schema,
};
use serde_json::Value;

use crate::memory::{SECRET, blessed, env, load_text, shown_alike};
use crate::schema_check::violation;

/// The folder of the whole project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn guide() -> PathBuf {
    root().join("docs/guide")
}

/// The file system.
pub struct Disk;

impl FileSource for Disk {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        if path.ends_with("sticky.key") {
            return Ok(SECRET.to_owned());
        }
        std::fs::read_to_string(path)
    }

    fn expand(&self, folder: &Path, pattern: &str) -> std::io::Result<Vec<PathBuf>> {
        let whole = folder.join(pattern);
        let last = whole.file_name().unwrap().to_str().unwrap().to_owned();
        let fits = |path: &PathBuf| pattern_matches(&last, path.file_name().unwrap().to_str().unwrap());
        let entries = std::fs::read_dir(whole.parent().unwrap())?;
        Ok(entries.map(|entry| entry.unwrap().path()).filter(fits).collect())
    }
}

fn samples() -> Vec<PathBuf> {
    let mut samples = Disk.expand(&guide(), "examples/*.toml").unwrap();
    assert!(samples.len() >= 5, "{samples:?}");
    samples.push(root().join("packaging/isobar.toml"));
    samples
}

#[test]
fn every_sample_file_is_accepted_without_a_warning() {
    for sample in samples() {
        let loaded = load(&sample, &Disk, &env).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings.render(false));
    }
}

#[test]
fn every_sample_file_is_shown_as_a_text_that_means_the_same() {
    for sample in samples() {
        let loaded = load(&sample, &Disk, &env).unwrap();
        assert!(!loaded.document.contains("redacted"), "{}", loaded.document);
        shown_alike(&sample, &Disk, &loaded);
    }
}

#[test]
fn every_file_that_a_sample_discovers_endpoints_in_holds_some() {
    let mut n_files = 0;
    for sample in samples() {
        let services = load(&sample, &Disk, &env).unwrap().settings.services;
        for DiscoverySettings::File(path) in services.iter().flat_map(|service| &service.discovery) {
            let read = read_endpoints(path, Disk.read(path).unwrap(), &env);
            let endpoints = read.unwrap_or_else(|errors| panic!("{}", errors.render(false)));
            assert!(!endpoints.is_empty(), "{}", path.display());
            n_files += 1;
        }
    }
    assert!(n_files >= 2, "{n_files}");
}

#[test]
fn the_included_sample_is_read_from_all_of_its_files() {
    let loaded = load(&guide().join("examples/included.toml"), &Disk, &env).unwrap();
    assert_eq!(loaded.watched.files.len(), 3);
    assert_eq!(loaded.watched.folders, [guide().join("examples/conf.d")]);
    let names: Vec<_> = loaded.settings.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["cart", "search"]);
}

fn to_json(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

#[test]
fn the_schema_accepts_every_sample_file() {
    let schema = schema();
    for sample in samples() {
        let value = to_json(&std::fs::read_to_string(&sample).unwrap());
        assert_eq!(violation(&schema, &schema, &value, ""), None, "{}", sample.display());
    }
}

#[test]
fn the_schema_refuses_what_it_can_see_is_wrong() {
    let schema = schema();
    for text in [
        "runtim = {}",
        "[runtime]\nworkers = -1",
        "[runtime]\nworkers = \"2\"",
        "[runtime]\nshutdown_grace = \"30\"",
        "[access_log]\nformat = \"xml\"",
        "[[listeners]]\nname = \"web\"",
        "[services.web]\nendpoints = [{ weight = 2 }]",
        "[services.web]\nendpoints = [\"a:1\"]\ntls = { verify = false }",
        "[services.web]\nendpoints = [\"a:1\"]\npolicy = \"power-of-two\"",
        "[services.web]\nendpoints = [\"a:1\"]\nhealth = { http = \"/\", status = [\"6xx\"] }",
        "[services.web]\nendpoints = [\"a:1\"]\nhealth = [{ http = \"/\" }, { grpc = 1 }]",
        "[services.web]\ndiscovery = { dns = \"a\" }",
    ] {
        assert!(violation(&schema, &schema, &to_json(text), "").is_some(), "{text}");
        assert!(load_text(text).is_err(), "{text}");
    }
}

#[test]
fn the_fullest_sample_has_every_available_key_of_the_schema() {
    let text = std::fs::read_to_string(guide().join("examples/everything.toml")).unwrap();
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for key in definitions.flat_map(|definition| definition["properties"].as_object().unwrap().keys()) {
        let written = text.contains(&format!("{key} = ")) || text.contains(&format!("[{key}"));
        assert!(written, "everything.toml lacks {key}");
    }
}

#[test]
fn the_reference_page_of_the_guide_is_up_to_date() {
    blessed(&guide().join("configuration-reference.md"), &reference());
}

/// What a key says its default is must be what a file without the key gets.
#[test]
fn writing_out_every_default_of_the_schema_changes_nothing() {
    let minimal = r#"
        runtime = {}
        admin = {}
        access_log = {}
        listeners = [{ name = "w", listen = ":1", timeouts = {}, limits = {} }]
        routes = [
            { path = "/s", redirect = { to = "/x" } },
            { service = "w", retry = {} },
        ]
        [services.w]
        weights = { from = "reported", agent = { port = 1 } }
        pool = {}
        health = [{ http = "/" }, { tcp = true }]
        endpoints = [{ address = "a:1" }, { address = "a:2" }]
    "#;
    let mut written = to_json(minimal);
    let schema = schema();
    let n_written = write_defaults(&schema, &schema, &mut written);
    assert!(n_written > 30, "{n_written}");
    // Refused there, for nothing is forwarded; the other route has it.
    written["routes"][0].as_object_mut().unwrap().remove("upgrades").unwrap();
    let full = toml::to_string(&written).unwrap();
    let settings = |text: &str| {
        let loaded = load_text(text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        let Loaded { settings, .. } = loaded;
        settings
    };
    assert_eq!(settings(minimal), settings(&full), "{full}");
}

fn write_defaults(root: &Value, schema: &Value, value: &mut Value) -> usize {
    let mut n_written = 0;
    if let Some(name) = schema["$ref"].as_str() {
        return write_defaults(root, &root["$defs"][name.trim_start_matches("#/$defs/")], value);
    }
    for schema in schema["anyOf"].as_array().into_iter().flatten() {
        n_written += write_defaults(root, schema, value);
    }
    for element in value.as_array_mut().into_iter().flatten() {
        n_written += write_defaults(root, &schema["items"], element);
    }
    let Some(table) = value.as_object_mut() else { return n_written };
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = table.get_mut(key) {
            n_written += write_defaults(root, schema, value);
        } else if let Some(default) = schema.get("default") {
            table.insert(key.clone(), default.clone());
            n_written += 1;
        }
    }
    if schema.get("properties").is_none() {
        for value in table.values_mut() {
            n_written += write_defaults(root, &schema["additionalProperties"], value);
        }
    }
    n_written
}
