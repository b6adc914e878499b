//! Reads `weights` of a service.
//!
//! Invariants of what comes out: an option is written only for a source that it means something to; live weights go with a
//! policy that places by no key; what was heard is not forgotten between two weighings.

use isobar_core::{AgentSettings, PolicyKind, WeightSettings, WeightSource};

use crate::diagnose::Diagnostic;
use crate::fields::Fields;

/// Options, and the sources that each belongs to.
const OPTIONS: [(&str, &[&str]); 5] = [
    ("blackout", &["reported"]),
    ("expiry", &["reported", "measured"]),
    ("update", &["reported", "measured"]),
    ("error_penalty", &["reported"]),
    ("agent", &["reported"]),
];

/// Where the weights of a service with this policy come from.
pub(crate) fn read(service: &Fields<'_>, policy: PolicyKind) -> WeightSettings {
    let fields = service.table("weights");
    let from = fields.choice("from");
    check_options(&fields, from);
    check_policy(&fields, policy, from);
    let agent = fields.optional_table("agent");
    let penalty = fields.number("error_penalty").unwrap_or(1.0);
    let (update, expiry) = (fields.duration("update"), fields.duration("expiry"));
    if let Some(node) = fields.node("expiry").filter(|_| expiry <= update) {
        let message =
            "`weights.expiry` is not longer than `weights.update`, so that no report would ever count";
        let help = "write a longer time; the default is 3m";
        fields.cx.reports.add(Diagnostic::error(&node.place, message).help(help));
    }
    let source = match from {
        "reported" => WeightSource::Reported {
            blackout: fields.duration("blackout"),
            error_penalty_percent: (penalty * 100.0).round() as u32,
        },
        "measured" => WeightSource::Measured,
        // Options that mean nothing leave no trace, so that settings are equal where their effect is.
        _ => return WeightSettings::default(),
    };
    let agents = agent.map(|agent| AgentSettings {
        port: agent.integer("port") as u16,
        interval: agent.duration("interval"),
    });
    WeightSettings { source, update, expiry, agents }
}

/// Reports options that mean nothing to the source.
fn check_options(fields: &Fields<'_>, from: &str) {
    for (option, sources) in OPTIONS {
        let Some(entry) = fields.entry(option).filter(|_| !sources.contains(&from)) else { continue };
        let message = format!("`weights.{option}` means nothing to weights that are \"{from}\"");
        let help = format!("leave it out; it belongs to from = \"{}\"", sources.join("\" and \""));
        fields.cx.reports.add(Diagnostic::error(&entry.key_place, message).help(help));
    }
}

/// Reports weights that would move the keys of a policy by key with every breath of the load.
fn check_policy(fields: &Fields<'_>, policy: PolicyKind, from: &str) {
    let Some(entry) = fields.entry("from").filter(|_| policy.is_keyed() && from != "configured") else {
        return;
    };
    let message = format!("weights that are \"{from}\" do not go with the policy \"{}\"", policy.name());
    let help = "it places keys by their endpoints' weights, and each change would move some: leave `weights` out, and set \
                `bounded_load` on the policy";
    fields.cx.reports.add(Diagnostic::error(&entry.node.place, message).help(help));
}
