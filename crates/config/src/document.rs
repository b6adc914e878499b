//! A TOML text as a tree in which every key and value knows its place.
//!
//! The parser recovers from syntax errors, so the tree is what could be understood. `${NAME}` in string values is
//! replaced here, once, so that nothing after this module sees it. Depth is bounded by the parser.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnose::{Diagnostic, Reports};
use crate::environment::{Environment, substitute};
use crate::place::{FileId, Place, Sources};
use crate::secrets::REDACTED;
use crate::syntax;

/// A value and its place; a table written with a header has the header as its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// The kinds of TOML values that settings are made of.
#[derive(Debug)]
pub(crate) enum Value {
    Text(String),
    /// A string that cannot be taken (a variable that is not set, a redacted value), which is reported already.
    Broken,
    /// `None`: a number that does not fit.
    Integer(Option<i128>),
    Flag(bool),
    Float(f64),
    Date,
    List(Vec<Node>),
    Table(Table),
}

/// Keys in the order they were written.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

impl Table {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Node {
    /// What it is, as in "expected a duration, found a number".
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) | Value::Broken => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a decimal number",
            Value::Flag(_) => "true or false",
            Value::Date => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Parses a file of `sources`; syntax errors are reported, and their spans returned so that findings they caused can be
/// left out.
pub(crate) fn parse(
    sources: &Sources,
    file: FileId,
    environment: Environment<'_>,
    reports: &Reports,
) -> (Table, Vec<Place>) {
    let text = &sources.file(file).text;
    let (root, errors) = DeTable::parse_recoverable(text);
    let builder = Builder { sources, file, environment, reports };
    let table = builder.table(root.get_ref());
    let errors = syntax::refine(sources, file, &errors);
    for finding in &errors {
        reports.add(finding.clone());
    }
    (table, errors.into_iter().filter_map(|finding| finding.place).collect())
}

struct Builder<'a> {
    sources: &'a Sources,
    file: FileId,
    environment: Environment<'a>,
    reports: &'a Reports,
}

impl Builder<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        self.sources.clamp(self.file, span)
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().clone().into_owned(),
                key_place: self.place(key.span()),
                node: self.node(value),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_place.span.start);
        Table { entries }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let place = self.place(value.span());
        let value = match value.get_ref() {
            DeValue::String(text) if text == REDACTED => {
                let finding = Diagnostic::error(&place, "this is a redacted value of `GET /api/v1/config`");
                self.reports.add(finding.help("write the real one, or a variable such as ${TOKEN}"));
                Value::Broken
            }
            DeValue::String(text) => substitute(text, &place, self.sources, self.environment, self.reports)
                .map_or(Value::Broken, Value::Text),
            DeValue::Integer(number) => {
                Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok())
            }
            // The parser let nothing through that is no number.
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(list) => Value::List(list.iter().map(|value| self.node(value)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { place, value }
    }
}
