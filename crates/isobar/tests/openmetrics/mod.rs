//! A strict reader of `OpenMetrics` 1.0 text, for tests: it says what is wrong with the first line that is.
//!
//! It demands what the specification demands ("MUST") of an exposition without exemplars and timestamps, which
//! Isobar does not write. Types it does not know are errors.

use std::collections::{BTreeMap, BTreeSet};

/// Samples by name and labels as written: `name{a="b"}`.
pub(crate) type Samples = BTreeMap<String, f64>;

/// Labels in written order, values as escaped.
type Labels = Vec<(String, String)>;

/// Reads an exposition.
pub(crate) fn parse(text: &str) -> Result<Samples, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("it does not end with \"# EOF\\n\"")?;
    if !(body.is_empty() || body.ends_with('\n')) {
        return Err("the last line before # EOF is not ended".to_owned());
    }
    let mut reader = Reader::default();
    for (index, line) in body.lines().enumerate() {
        reader.line(line).map_err(|problem| format!("line {}: {problem}: {line}", index + 1))?;
    }
    reader.close_family()?;
    Ok(reader.samples)
}

#[derive(Default)]
struct Reader {
    samples: Samples,
    /// Every family so far with its sample names, to find clashes and families in two pieces.
    families: BTreeSet<String>,
    sample_names: BTreeMap<String, String>,
    family: Family,
}

#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    described: BTreeSet<String>,
    has_samples: bool,
    histograms: BTreeMap<String, Histogram>,
    last_labels: Option<String>,
    closed_labels: BTreeSet<String>,
}

#[derive(Default)]
struct Histogram {
    /// Bounds and counts in written order.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        match line.strip_prefix("# ") {
            Some(comment) => self.comment(comment),
            None if line.is_empty() => Err("an empty line".to_owned()),
            None if line.starts_with('#') => Err("a comment that is no descriptor".to_owned()),
            None => self.sample(line),
        }
    }

    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let mut words = comment.splitn(3, ' ');
        let (Some(what), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) else {
            return Err("a descriptor needs a name and a text".to_owned());
        };
        if !is_name(name, true) {
            return Err(format!("{name} is no metric name"));
        }
        if name != self.family.name {
            self.close_family()?;
            if !self.families.insert(name.to_owned()) {
                return Err(format!("the family {name} stands in two places"));
            }
            self.family = Family { name: name.to_owned(), kind: "unknown".to_owned(), ..Family::default() };
        }
        if self.family.has_samples {
            return Err("a descriptor after a sample".to_owned());
        }
        if !self.family.described.insert(what.to_owned()) {
            return Err(format!("a second {what}"));
        }
        match what {
            "TYPE" if ["counter", "gauge", "histogram", "info", "unknown"].contains(&rest) => {
                rest.clone_into(&mut self.family.kind);
                Ok(())
            }
            "TYPE" => Err(format!("unexpected type {rest}")),
            "UNIT" if name.ends_with(&format!("_{rest}")) => Ok(()),
            "UNIT" => Err("the name does not end in the unit".to_owned()),
            "HELP" => check_escapes(rest, "\\n\""),
            _ => Err(format!("unknown descriptor {what}")),
        }
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let at = line.find(['{', ' ']).ok_or("a sample without a value")?;
        let (name, rest) = line.split_at(at);
        if !is_name(name, true) {
            return Err(format!("{name} is no metric name"));
        }
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => read_labels(rest)?,
            None => (Vec::new(), rest),
        };
        let value = value.strip_prefix(' ').ok_or("one space must stand before the value")?;
        let number = read_number(value)?;
        let suffix = name.strip_prefix(self.family.name.as_str()).ok_or("a sample of no declared family")?;
        let legal: &[&str] = match self.family.kind.as_str() {
            "counter" => &["_total", "_created"],
            "gauge" | "unknown" => &[""],
            "info" => &["_info"],
            _ => &["_bucket", "_count", "_sum", "_created"],
        };
        if self.family.name.is_empty() || !legal.contains(&suffix) {
            return Err(format!("{name} is no sample of a {}", self.family.kind));
        }
        let owner = self.sample_names.entry(name.to_owned()).or_insert_with(|| self.family.name.clone());
        if *owner != self.family.name {
            return Err(format!("{name} belongs to {owner} as well"));
        }
        if self.samples.insert(format!("{name}{}", written(&labels)), number).is_some() {
            return Err("the same sample again".to_owned());
        }
        self.family.has_samples = true;
        self.family.add(suffix, labels, number)
    }

    fn close_family(&mut self) -> Result<(), String> {
        let family = std::mem::take(&mut self.family);
        for (labels, histogram) in &family.histograms {
            histogram.check().map_err(|problem| format!("{}{labels}: {problem}", family.name))?;
        }
        Ok(())
    }
}

impl Family {
    fn add(&mut self, suffix: &str, mut labels: Labels, number: f64) -> Result<(), String> {
        let counts = ["_total", "_bucket", "_count"].contains(&suffix);
        if counts && !(number >= 0.0 && number.is_finite()) {
            return Err("a count must be a number that is not negative".to_owned());
        }
        if self.kind == "info" && number.to_bits() != 1_f64.to_bits() {
            return Err("an info has the value 1".to_owned());
        }
        let bound = labels.iter().position(|(name, _)| name == "le").map(|at| labels.remove(at).1);
        let key = written(&labels);
        // Samples of one metric stand together.
        if self.last_labels.as_ref() != Some(&key) {
            let last = self.last_labels.replace(key.clone());
            self.closed_labels.extend(last);
            if self.closed_labels.contains(&key) {
                return Err("the samples of this metric stand in two places".to_owned());
            }
        }
        if self.kind != "histogram" {
            return if bound.is_some() { Err("le outside a histogram".to_owned()) } else { Ok(()) };
        }
        let histogram = self.histograms.entry(key).or_default();
        match (suffix, bound) {
            ("_bucket", Some(bound)) => histogram.buckets.push((read_number(&bound)?, number)),
            ("_bucket", None) => return Err("a bucket without le".to_owned()),
            (_, Some(_)) => return Err("le outside a bucket".to_owned()),
            ("_count", None) => histogram.count = Some(number),
            ("_sum", None) => histogram.sum = Some(number),
            _ => {}
        }
        Ok(())
    }
}

impl Histogram {
    fn check(&self) -> Result<(), String> {
        if !self.buckets.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return Err("bounds must rise".to_owned());
        }
        if !self.buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1) {
            return Err("buckets are cumulative and must not fall".to_owned());
        }
        let Some(&(bound, all)) = self.buckets.last() else { return Err("no bucket".to_owned()) };
        if bound != f64::INFINITY {
            return Err("the +Inf bucket is missing".to_owned());
        }
        if self.count != Some(all) {
            return Err("_count and the +Inf bucket differ".to_owned());
        }
        if self.sum.is_none() { Err("_sum is missing".to_owned()) } else { Ok(()) }
    }
}

fn is_name(name: &str, colons: bool) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(legal)
}

fn read_number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') => {
            text.parse().map_err(|_| format!("{text} is no number"))
        }
        _ => Err(format!("{text} is no number")),
    }
}

/// The labels up to the closing brace, and the rest of the line.
fn read_labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    loop {
        if labels.is_empty()
            && let Some(after) = rest.strip_prefix('}')
        {
            return Ok((labels, after));
        }
        let (name, value) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name, false) {
            return Err(format!("{name} is no label name"));
        }
        if labels.iter().any(|(known, _)| known == name) {
            return Err(format!("the label {name} twice"));
        }
        let end = closing_quote(value).ok_or("a label value that is not closed")?;
        check_escapes(&value[..end], "\\n\"")?;
        labels.push((name.to_owned(), value[..end].to_owned()));
        rest = &value[end + 1..];
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        rest = rest.strip_prefix(',').ok_or("neither , nor } after a label")?;
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at)
    })
}

fn check_escapes(text: &str, legal: &str) -> Result<(), String> {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && !chars.next().is_some_and(|next| legal.contains(next)) {
            return Err("a backslash that escapes nothing".to_owned());
        }
    }
    Ok(())
}

fn written(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{{{}}}", pairs.join(","))
}
