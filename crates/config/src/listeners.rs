//! Reads `[[listeners]]`.
//!
//! Invariants of what comes out: names are unique, no two addresses clash, a target fits into a head.

use crate::diagnose::{Diagnostic, Echo};
use crate::fields::{Context, Fields};
use crate::settings::{AddressText, AdminSettings, ListenerLimits, ListenerSettings, ListenerTimeouts};
use crate::text::{check_name, listen_address};
use crate::tls;
use crate::units::format_size;

/// Listeners of one process: each costs a socket and an acceptor; more than this is a pattern that ran away.
const LISTENERS_MAX: usize = 1000;

/// Reads the listeners of every file.
pub(crate) fn read<'a>(
    cx: &'a Context<'a>,
    roots: &[Fields<'a>],
    admin: Option<&AdminSettings>,
) -> Vec<ListenerSettings> {
    let tables: Vec<Fields<'a>> = roots.iter().flat_map(|root| root.tables("listeners")).collect();
    if roots.iter().all(|root| root.entry("listeners").is_none()) {
        let help = "add [[listeners]] with name = \"web\", listen = \":8080\" and service = \"NAME\"";
        if let Some(place) = &roots[0].place {
            cx.reports.add(Diagnostic::error(place, "there is no listener").help(help).echo(Echo::Missing));
        }
    }
    if let Some(place) = tables.get(LISTENERS_MAX).and_then(|fields| fields.place.as_ref()) {
        cx.reports.add(Diagnostic::error(place, format!("there are more than {LISTENERS_MAX} listeners")));
    }
    let listeners: Vec<ListenerSettings> = tables.iter().take(LISTENERS_MAX).map(listener).collect();
    check_unique(cx, &tables, &listeners, admin);
    listeners
}

/// Reads one; an absent table gives the defaults.
pub(crate) fn listener(fields: &Fields<'_>) -> ListenerSettings {
    let cx = fields.cx;
    let name = fields.text("name");
    if let Some(name) = &name {
        check_name(cx, name, "a listener");
    }
    fields.choice("protocol");
    if let Some(node) = fields.node("accept_proxy_protocol").filter(|_| fields.flag("accept_proxy_protocol"))
    {
        let message = "`accept_proxy_protocol = true` is not available in this version";
        let help = "leave the key out, and turn the header off where connections come from";
        cx.reports.add(Diagnostic::error(&node.place, message).help(help));
    }
    let service = fields.text("service");
    if let Some(service) = &service {
        cx.service_mentions.borrow_mut().push(service.clone());
    }
    ListenerSettings {
        name: name.map(|name| name.value).unwrap_or_default(),
        listen: listen_address(fields, "listen"),
        tls: tls::read_listener(fields),
        timeouts: timeouts(&fields.table("timeouts")),
        limits: limits(&fields.table("limits")),
        service: service.map(|service| service.value),
        normalize_path: fields.flag("normalize_path"),
    }
}

fn timeouts(fields: &Fields<'_>) -> ListenerTimeouts {
    ListenerTimeouts {
        head: fields.duration("head"),
        body_idle: fields.duration("body_idle"),
        idle: fields.duration("idle"),
        handshake: fields.duration("handshake"),
    }
}

fn limits(fields: &Fields<'_>) -> ListenerLimits {
    let head = fields.size("head") as usize;
    let mut target = fields.size("target") as usize;
    if target > head {
        match fields.node("target") {
            Some(node) => {
                let (target, head) = (format_size(target as u64), format_size(head as u64));
                let message =
                    format!("`limits.target` is {target}, more than `limits.head`, which is {head}");
                fields
                    .cx
                    .reports
                    .add(Diagnostic::error(&node.place, message).help("the target is part of the head"));
            }
            // Only the head was made smaller than the target's default: the target follows.
            None => target = head,
        }
    }
    ListenerLimits {
        head,
        target,
        headers: fields.integer("headers") as usize,
        body: fields.size("body"),
        connections: fields.integer("connections") as usize,
        handshakes: fields.integer("handshakes") as usize,
        streams: fields.integer("streams") as u32,
    }
}

fn check_unique(
    cx: &Context<'_>,
    tables: &[Fields<'_>],
    listeners: &[ListenerSettings],
    admin: Option<&AdminSettings>,
) {
    for (index, (fields, listener)) in tables.iter().zip(listeners).enumerate() {
        let earlier = || tables.iter().zip(listeners).take(index);
        if let Some(node) = fields.node("name")
            && let Some((other, _)) = earlier().find(|(_, other)| other.name == listener.name)
            && let Some(first) = other.node("name")
        {
            let finding =
                Diagnostic::error(&node.place, format!("two listeners are called \"{}\"", listener.name));
            cx.reports.add(finding.related(&first.place, "first").help("give one of them another name"));
        }
        let Some(node) = fields.node("listen") else { continue };
        if let Some((other, clash)) = earlier().find(|(_, other)| other.listen.clashes_with(&listener.listen))
            && let Some(first) = other.node("listen")
        {
            let message = format!("{} and {} cannot both be listened on", clash.listen, listener.listen);
            let finding = Diagnostic::error(&node.place, message).related(&first.place, "first");
            cx.reports.add(finding.help(clash_help(&listener.listen)));
        }
        if admin.is_some_and(|admin| admin.listen.clashes_with(&listener.listen)) {
            let message = format!("{} is where the admin interface listens", listener.listen);
            cx.reports
                .add(Diagnostic::error(&node.place, message).help("choose another port for one of them"));
        }
    }
}

fn clash_help(address: &AddressText) -> &'static str {
    match address {
        AddressText::Tcp { .. } => "choose another port for one of them, or make them one listener",
        AddressText::Unix(_) => "choose another path for one of them, or make them one listener",
    }
}
