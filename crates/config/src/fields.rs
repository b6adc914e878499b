//! Reads the keys of one table by its description: kinds, bounds and defaults come from there, every finding goes to the
//! reports, and a value that is wrong is replaced by its default so that reading goes on.
//!
//! Invariants: opening a table reports every unknown, unavailable and missing key of it; asking for a key that the
//! description lacks, or as another kind, is a mistake in this program and panics in every test that reads the table.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use crate::diagnose::{Diagnostic, Reports};
use crate::document::{Entry, Node, Table, Value};
use crate::include::FileSource;
use crate::mistakes::{check_key, check_required, choose, text_of, texts_of, wrong_kind};
use crate::place::{Place, Placed, Sources};
use crate::spec::{Default, KeySpec, Kind, TableSpec};
use crate::units::{UnitError, format_duration, format_size, parse_duration, parse_size};

/// What every reader shares.
pub(crate) struct Context<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) reports: &'a Reports,
    /// Where secrets are read from that a key names.
    pub(crate) files: &'a dyn FileSource,
    /// Those that were to be read, whether they could be or not.
    pub(crate) secret_files: RefCell<Vec<PathBuf>>,
    /// Names of services that were mentioned, to be checked once all are known.
    pub(crate) service_mentions: RefCell<Vec<Placed<String>>>,
    /// Names of listeners that were mentioned.
    pub(crate) listener_mentions: RefCell<Vec<Placed<String>>>,
}

/// A table being read; an absent table reads as its defaults.
pub(crate) struct Fields<'a> {
    pub(crate) cx: &'a Context<'a>,
    pub(crate) spec: &'static TableSpec,
    pub(crate) table: Option<&'a Table>,
    /// Header or braces of the table; `None` when it is absent.
    pub(crate) place: Option<Place>,
}

impl<'a> Fields<'a> {
    pub(crate) fn absent(cx: &'a Context<'a>, spec: &'static TableSpec) -> Self {
        Self { cx, spec, table: None, place: None }
    }

    /// Opens a value that must be a table; reports what is wrong with its keys.
    pub(crate) fn open(cx: &'a Context<'a>, spec: &'static TableSpec, node: &'a Node) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            wrong_kind(cx, node, &Kind::Table(spec), spec.what);
            return None;
        };
        let fields = Self::of_table(cx, spec, table, &node.place);
        check_required(cx, spec, table, &node.place);
        Some(fields)
    }

    /// Opens a part of a larger whole, in which a missing key may stand elsewhere; reports the keys it has.
    pub(crate) fn of_table(
        cx: &'a Context<'a>,
        spec: &'static TableSpec,
        table: &'a Table,
        place: &Place,
    ) -> Self {
        for entry in &table.entries {
            check_key(cx, spec, entry);
        }
        Self { cx, spec, table: Some(table), place: Some(place.clone()) }
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&'a Entry> {
        debug_assert!(self.spec.key(name).is_some(), "{} has no key {name}", self.spec.title);
        self.table.and_then(|table| table.entry(name))
    }

    pub(crate) fn node(&self, name: &str) -> Option<&'a Node> {
        self.entry(name).map(|entry| &entry.node)
    }

    fn key(&self, name: &str) -> &'static KeySpec {
        self.spec.key(name).unwrap_or_else(|| panic!("{} has no key {name}", self.spec.title))
    }

    /// How a message names the key: `timeouts.head`, or the key alone at the top of a table.
    fn label(&self, name: &str) -> String {
        match self.spec.title.split_once('.') {
            Some(("services", rest)) => {
                rest.split_once('.').map_or(name.to_owned(), |(_, own)| format!("{own}.{name}"))
            }
            Some((_, own)) if !own.contains(' ') => format!("{own}.{name}"),
            _ => name.to_owned(),
        }
    }

    pub(crate) fn table(&self, name: &str) -> Fields<'a> {
        let (Kind::Table(spec) | Kind::ShortOrTable(_, spec)) = self.key(name).kind else {
            panic!("{name} is not a table")
        };
        let opened = self.node(name).and_then(|node| Fields::open(self.cx, spec, node));
        opened.unwrap_or_else(|| Fields::absent(self.cx, spec))
    }

    /// A table that means something by being there.
    pub(crate) fn optional_table(&self, name: &str) -> Option<Fields<'a>> {
        let Kind::Table(spec) = self.key(name).kind else { panic!("{name} is not a table") };
        self.node(name)
            .map(|node| Fields::open(self.cx, spec, node).unwrap_or_else(|| Fields::absent(self.cx, spec)))
    }

    /// The tables of a list, or the one table that stands for a list of one.
    pub(crate) fn tables(&self, name: &str) -> Vec<Fields<'a>> {
        let kind = &self.key(name).kind;
        let (Kind::Tables(spec) | Kind::List(Kind::Table(spec)) | Kind::OneOrMany(Kind::Table(spec))) = kind
        else {
            panic!("{name} is not a list of tables")
        };
        let Some(node) = self.node(name) else { return Vec::new() };
        let nodes = match (&node.value, kind) {
            (Value::List(nodes), _) => nodes.as_slice(),
            (Value::Table(_), Kind::OneOrMany(_)) => std::slice::from_ref(node),
            _ => {
                wrong_kind(self.cx, node, kind, &format!("`{name}`"));
                return Vec::new();
            }
        };
        nodes.iter().filter_map(|node| Fields::open(self.cx, spec, node)).collect()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        let key = self.key(name);
        let default = matches!(key.default, Default::Value("true"));
        match self.node(name) {
            None => default,
            Some(Node { value: Value::Flag(flag), .. }) => *flag,
            Some(node) => {
                wrong_kind(self.cx, node, &key.kind, &format!("`{}`", self.label(name)));
                default
            }
        }
    }

    pub(crate) fn integer(&self, name: &str) -> u64 {
        let key = self.key(name);
        let Kind::Integer(bounds) = &key.kind else { panic!("{name} is not a whole number") };
        let default = default_text(key).parse().unwrap_or(bounds.min);
        let Some(node) = self.node(name) else { return default };
        let Value::Integer(number) = &node.value else {
            wrong_kind(self.cx, node, &key.kind, &format!("`{}`", self.label(name)));
            return default;
        };
        let within = number.and_then(|number| u64::try_from(number).ok());
        if let Some(number) = within.filter(|number| (bounds.min..=bounds.max).contains(number)) {
            return number;
        }
        // Of a number that cannot be counted the sign tells on which side it is.
        let is_below = match number {
            Some(number) => *number < i128::from(bounds.min),
            None => self.cx.sources.text(&node.place).starts_with('-'),
        };
        let why = if is_below { bounds.below } else { bounds.above };
        self.out_of_bounds(name, node, &bounds.min.to_string(), &bounds.max.to_string(), why);
        default
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        let key = self.key(name);
        let Kind::Number { bounds, .. } = &key.kind else { panic!("{name} is not a number") };
        let node = self.node(name)?;
        let number = match node.value {
            Value::Float(number) => number,
            Value::Integer(Some(number)) => number as f64,
            _ => {
                wrong_kind(self.cx, node, &key.kind, &format!("`{}`", self.label(name)));
                return None;
            }
        };
        if (bounds.min..=bounds.max).contains(&number) {
            return Some(number);
        }
        let why = match number {
            number if number < bounds.min => bounds.below,
            number if number > bounds.max => bounds.above,
            _ => "",
        };
        self.out_of_bounds(name, node, &bounds.min.to_string(), &bounds.max.to_string(), why);
        None
    }

    pub(crate) fn size(&self, name: &str) -> u64 {
        let key = self.key(name);
        let Kind::Size(bounds) = &key.kind else { panic!("{name} is not a size") };
        let default = parse_size(default_text(key)).unwrap_or(bounds.min);
        let Some((text, node)) = self.unit_text(name) else { return default };
        match parse_size(text) {
            Ok(size) if (bounds.min..=bounds.max).contains(&size) => return size,
            Ok(size) => {
                let (min, max) = (format_size(bounds.min), format_size(bounds.max));
                let why = if size < bounds.min { bounds.below } else { bounds.above };
                self.out_of_bounds(name, node, &min, &max, why);
            }
            Err(error) => self.unit_error(name, node, text, &error),
        }
        default
    }

    pub(crate) fn duration(&self, name: &str) -> Duration {
        let default = parse_duration(default_text(self.key(name))).unwrap_or_default();
        self.maybe_duration(name).unwrap_or(default)
    }

    pub(crate) fn maybe_duration(&self, name: &str) -> Option<Duration> {
        let Kind::Duration(bounds) = &self.key(name).kind else { panic!("{name} is not a duration") };
        let (text, node) = self.unit_text(name)?;
        match parse_duration(text) {
            Ok(duration) if (bounds.min..=bounds.max).contains(&duration) => return Some(duration),
            Ok(duration) => {
                let (min, max) = (format_duration(bounds.min), format_duration(bounds.max));
                let why = if duration < bounds.min { bounds.below } else { bounds.above };
                self.out_of_bounds(name, node, &min, &max, why);
            }
            Err(error) => self.unit_error(name, node, text, &error),
        }
        None
    }

    pub(crate) fn text(&self, name: &str) -> Option<Placed<String>> {
        self.node(name).and_then(|node| text_of(self.cx, node, &self.key(name).kind, &self.label(name)))
    }

    /// The elements of a list, or the one value that stands for a list of one.
    pub(crate) fn texts(&self, name: &str) -> Vec<Placed<String>> {
        self.node(name)
            .map_or_else(Vec::new, |node| texts_of(self.cx, node, &self.key(name).kind, &self.label(name)))
    }

    /// The chosen name; the default where it is absent or wrong.
    pub(crate) fn choice(&self, name: &str) -> &'static str {
        let key = self.key(name);
        let Kind::Choice(choices) = key.kind else { panic!("{name} is not a choice") };
        let Default::Value(default) = key.default else { panic!("{name} has no default") };
        self.text(name).and_then(|text| choose(self.cx, choices, &text, &self.label(name))).unwrap_or(default)
    }

    /// Reports a value outside its bounds, with the value as it is written and why that bound is one.
    pub(crate) fn out_of_bounds(&self, name: &str, node: &Node, min: &str, max: &str, why: &str) {
        let message = format!(
            "`{}` is {}, but must be from {min} to {max}",
            self.label(name),
            self.cx.sources.text(&node.place)
        );
        let default = match self.key(name).default {
            Default::Value(value) if !value.is_empty() => format!("the default is {value}"),
            _ => String::new(),
        };
        let help: Vec<&str> = [why, &default].into_iter().filter(|part| !part.is_empty()).collect();
        let finding = Diagnostic::error(&node.place, message).label("out of bounds");
        self.cx.reports.add(if help.is_empty() { finding } else { finding.help(help.join("; ")) });
    }

    fn unit_text(&self, name: &str) -> Option<(&'a str, &'a Node)> {
        let node = self.node(name)?;
        if let Value::Text(text) = &node.value {
            return Some((text, node));
        }
        wrong_kind(self.cx, node, &self.key(name).kind, &format!("`{}`", self.label(name)));
        None
    }

    fn unit_error(&self, name: &str, node: &Node, text: &str, error: &UnitError) {
        let finding =
            Diagnostic::error(&node.place, format!("`{}` is \"{text}\": {error}", self.label(name)));
        let help = match &error.suggestion {
            Some(suggestion) => format!("write \"{suggestion}\""),
            None => format!("write {}", self.key(name).kind.expected()),
        };
        self.cx.reports.add(finding.help(help));
    }
}

fn default_text(key: &KeySpec) -> &'static str {
    match key.default {
        Default::Value(text) => text,
        Default::Required | Default::Absent(_) => "",
    }
}
