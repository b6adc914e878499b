//! The form of a description: what a table may hold, and of each key its kind, default, bounds and meaning.
//!
//! One description drives four things: reading ([`crate::fields`]), the search for the key that was meant, the reference
//! page and the JSON Schema. So a default or a bound is written once. The descriptions themselves are in [`crate::keys`].

use std::time::Duration;

/// A table: its keys and what it stands for.
#[derive(Debug)]
pub(crate) struct TableSpec {
    /// How a person calls it in a sentence: "listener", "`timeouts` of a listener".
    pub(crate) what: &'static str,
    /// Its heading on the reference page and its name in the schema.
    pub(crate) title: &'static str,
    /// One sentence.
    pub(crate) doc: &'static str,
    /// Its keys in the order of the reference page.
    pub(crate) keys: &'static [KeySpec],
}

/// A key of a table.
#[derive(Debug)]
pub(crate) struct KeySpec {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Default,
    /// One sentence.
    pub(crate) doc: &'static str,
    pub(crate) availability: Availability,
}

/// What a key means when it is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    /// It may not be left out.
    Required,
    /// There is no value then; the words say what that means.
    Absent(&'static str),
    /// This value, written as in the file but without quotes.
    Value(&'static str),
}

/// Whether this version obeys a key or a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Availability {
    Now,
    /// Known by name, refused by name; the words say what to do instead.
    Later(&'static str),
}

/// The kind of a value.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Text whose form is checked where it is read; the words name that form, the example shows it.
    Text { form: &'static str, example: &'static str },
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Integer(Bounds<u64>),
    /// A number, whole or not; the example shows one.
    Number { bounds: Bounds<f64>, example: &'static str },
    /// A string such as `"5s"`.
    Duration(Bounds<Duration>),
    /// A string such as `"64KiB"`.
    Size(Bounds<u64>),
    /// A response status, or a string such as `"2xx"` for a class of them.
    Status,
    /// One of these strings.
    Choice(&'static [Choice]),
    /// Any number of values.
    List(&'static Kind),
    /// A value or a list of values.
    OneOrMany(&'static Kind),
    /// A table.
    Table(&'static TableSpec),
    /// Any number of tables: `[[name]]`.
    Tables(&'static TableSpec),
    /// Tables by name: `[kind.NAME]`.
    Named(&'static TableSpec),
    /// Free keys, each with a value of this kind.
    Map(&'static Kind),
    /// The short form or the table that says more.
    ShortOrTable(&'static Kind, &'static TableSpec),
    /// A key that is not available yet: any value, never read.
    Reserved,
}

/// Both ends belong to the range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<T> {
    pub(crate) min: T,
    pub(crate) max: T,
    /// Why nothing below the lower end is taken; may be empty where that is zero.
    pub(crate) below: &'static str,
    /// Why nothing above the upper end is taken.
    pub(crate) above: &'static str,
}

impl<T> Bounds<T> {
    /// Both reasons, for pages that explain the range.
    pub(crate) fn reasons(&self) -> String {
        if self.below.is_empty() || self.below == self.above {
            return self.above.to_owned();
        }
        format!("{}; {}", self.below, self.above)
    }
}

/// A string out of a fixed set.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) name: &'static str,
    pub(crate) availability: Availability,
}

impl TableSpec {
    pub(crate) fn key(&self, name: &str) -> Option<&'static KeySpec> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// A table with its required keys, or with its first one.
    fn example(&self) -> String {
        let required: Vec<&KeySpec> =
            self.keys.iter().filter(|key| key.default == Default::Required).collect();
        let keys = if required.is_empty() { self.keys.iter().take(1).collect() } else { required };
        let pairs: Vec<String> =
            keys.iter().map(|key| format!("{} = {}", key.name, key.kind.example())).collect();
        format!("{{ {} }}", pairs.join(", "))
    }

    /// The names a person may write today.
    pub(crate) fn available(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().filter(|key| key.availability == Availability::Now).map(|key| key.name)
    }
}

impl KeySpec {
    pub(crate) const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, default: Default::Required, doc, availability: Availability::Now }
    }

    pub(crate) const fn absent(
        name: &'static str,
        kind: Kind,
        then: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, default: Default::Absent(then), doc, availability: Availability::Now }
    }

    pub(crate) const fn value(
        name: &'static str,
        kind: Kind,
        value: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, default: Default::Value(value), doc, availability: Availability::Now }
    }

    pub(crate) const fn later(name: &'static str, doc: &'static str, instead: &'static str) -> Self {
        let availability = Availability::Later(instead);
        Self { name, kind: Kind::Reserved, default: Default::Absent(""), doc, availability }
    }
}

impl Choice {
    pub(crate) const fn now(name: &'static str) -> Self {
        Self { name, availability: Availability::Now }
    }

    pub(crate) const fn later(name: &'static str, instead: &'static str) -> Self {
        Self { name, availability: Availability::Later(instead) }
    }
}

impl Kind {
    /// What to expect, in words, with an example: for "expected ..." messages.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Text { form, .. } => format!("{form}, such as {}", self.example()),
            Self::Flag => "true or false".to_owned(),
            Self::Integer(_) => format!("a whole number, such as {}", self.example()),
            Self::Number { .. } => format!("a number, such as {}", self.example()),
            Self::Duration(_) => format!("a duration, such as {}", self.example()),
            Self::Size(_) => format!("a size, such as {}", self.example()),
            Self::Status => "a status such as 200, or a class such as \"2xx\"".to_owned(),
            Self::Choice(choices) => {
                let names: Vec<_> = available(choices).map(|name| format!("\"{name}\"")).collect();
                if names.len() == 1 { names.concat() } else { format!("one of {}", names.join(", ")) }
            }
            Self::List(_) => format!("a list, such as {}", self.example()),
            Self::OneOrMany(kind) => format!("{}, or a list of such", kind.expected()),
            Self::Table(spec) => format!("a table with {}", quoted(spec.available())),
            Self::Tables(spec) => format!("tables, each under its own [[{}]] line", spec.title),
            Self::Named(spec) => format!("tables by name, each under its own [{}] line", spec.title),
            Self::Map(_) => format!("a table, such as {}", self.example()),
            Self::ShortOrTable(kind, spec) => {
                format!("{}, or a table with {}", kind.expected(), quoted(spec.available()))
            }
            Self::Reserved => "nothing".to_owned(),
        }
    }

    /// What it is, in few words.
    pub(crate) fn form(&self) -> &'static str {
        match self {
            Self::Text { form, .. } => form,
            Self::Integer(_) => "a whole number",
            Self::Number { .. } => "a number",
            Self::List(_) => "a list",
            Self::Choice(_) => "a choice",
            _ => "a value",
        }
    }

    /// Whether a string alone would do.
    pub(crate) fn takes_text(&self) -> bool {
        match self {
            Self::Text { .. } | Self::Duration(_) | Self::Size(_) => true,
            Self::OneOrMany(kind) | Self::ShortOrTable(kind, _) => kind.takes_text(),
            _ => false,
        }
    }

    /// The example of an address with this port in the place of its own; `None` for all else.
    pub(crate) fn example_with_port(&self, port: i128) -> Option<String> {
        match self {
            Self::Text { example, .. } => {
                let (host, own) = example.rsplit_once(':')?;
                own.parse::<u16>().ok()?;
                u16::try_from(port).ok().filter(|port| *port > 0).map(|port| format!("{host}:{port}"))
            }
            Self::List(kind) | Self::OneOrMany(kind) | Self::ShortOrTable(kind, _) => {
                kind.example_with_port(port)
            }
            _ => None,
        }
    }

    /// A value of the kind, as it is written in the file.
    pub(crate) fn example(&self) -> String {
        match self {
            Self::Text { example, .. } => format!("\"{example}\""),
            Self::Flag => "true".to_owned(),
            Self::Integer(bounds) => bounds.min.max(1).to_string(),
            Self::Number { example, .. } => (*example).to_owned(),
            Self::Duration(_) => "\"5s\"".to_owned(),
            Self::Size(_) => "\"64KiB\"".to_owned(),
            Self::Status => "200".to_owned(),
            Self::Choice(choices) => {
                available(choices).next().map(|name| format!("\"{name}\"")).unwrap_or_default()
            }
            Self::List(kind) => format!("[{}]", kind.example()),
            Self::OneOrMany(kind) | Self::ShortOrTable(kind, _) => kind.example(),
            Self::Map(kind) => format!("{{ \"x-name\" = {} }}", kind.example()),
            Self::Table(spec) | Self::Tables(spec) | Self::Named(spec) => spec.example(),
            Self::Reserved => String::new(),
        }
    }
}

/// The names of the choices that this version obeys.
pub(crate) fn available(choices: &'static [Choice]) -> impl Iterator<Item = &'static str> {
    choices.iter().filter(|choice| choice.availability == Availability::Now).map(|choice| choice.name)
}

fn quoted(names: impl Iterator<Item = &'static str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
