//! TOML text to checked settings, every error at once with its place.
//!
//! [`load`] turns a file and what it includes into [`Settings`] or into [`Diagnostics`], [`load_text`] a text that was sent;
//! [`from_flags`] does it for a command line without a file, [`read_endpoints`] reads what a service discovers in a file.
//! This crate does no I/O: files come from a [`FileSource`], variables from a function.
//!
//! How the parts stand together:
//!
//! ```text
//! include -> document -> fields (driven by spec + keys) -> runtime, listeners, routes, services -> references
//!                 |           `--- findings: diagnose -> render
//!                 `-- merged: the text that is shown
//! ```
//!
//! Invariants: nothing stops at the first error; every finding points into the text; unknown keys are errors; a key that
//! a later version will obey is refused by name; no bytes whatever make it panic.

mod actions;
mod address;
mod diagnose;
mod division;
mod document;
mod endpoints;
mod environment;
mod fields;
mod flags;
mod headers;
mod health;
mod include;
mod keys;
mod listeners;
mod load;
mod merged;
mod mistakes;
mod place;
mod policy;
mod rebase;
mod reference_page;
mod references;
mod render;
mod retry;
mod rewrite;
mod route_match;
mod routes;
mod runtime;
mod schema;
mod secrets;
mod service_settings;
mod services;
mod settings;
mod shadow;
mod spec;
mod sticky;
mod suggest;
mod syntax;
mod text;
mod tls;
mod tls_settings;
mod units;
mod weights;

pub use address::AddressError;
pub use diagnose::{Diagnostic, Diagnostics, FINDINGS_MAX, Severity};
pub use endpoints::read_endpoints;
pub use flags::from_flags;
pub use include::{FILE_BYTES_MAX, FILES_MAX, FileSource, NoFiles, pattern_matches};
pub use keys::{PRIORITY_MAX, WEIGHT_MAX};
pub use load::{Loaded, Watched, load, load_text};
pub use place::{FileId, Place, Source, Sources};
pub use reference_page::reference;
pub use schema::schema;
pub use secrets::REDACTED;
pub use service_settings::{
    DiscoverySettings, EndpointSettings, HashKey, HealthSettings, InitialHealth, PoolSettings, ProbeKind,
    ServiceSettings, StickySettings,
};
pub use settings::{
    AccessLogSettings, AddressText, AdminSettings, HeaderEdits, ListenerLimits, ListenerSettings,
    ListenerTimeouts, LogFormat, LogTarget, PathRewrite, RetrySettings, Rewrite, RouteAction, RouteSettings,
    RuntimeSettings, Settings, SplitEntry,
};
pub use text::{label_problem, name_problem};
pub use tls_settings::{CertificateFiles, ClientAuth, ListenerTls, ServiceTls, TlsVersion};
pub use units::{UnitError, format_duration, format_size, parse_duration, parse_size};
