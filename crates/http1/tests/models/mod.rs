//! Naive readers of whole messages, for comparison: they split, copy and search without regard for cost.
#![allow(dead_code, reason = "each test program uses a part of it")]

use isobar_http1::Framing;

/// What a request head says, as far as the model looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelHead {
    pub(crate) version_digit: u8,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
}

const TOKEN: &str = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Text in which every byte is one character.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| b as char).collect()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| TOKEN.contains(c))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A complete head that ends with its first empty line, without a limit on anything.
pub(crate) fn naive_request(head: &[u8]) -> Option<ModelHead> {
    let head = text(head);
    let head = head.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next()?.split(' ').collect();
    let [method, target, version] = words[..] else { return None };
    let is_method = is_token(method) && method.starts_with(|c: char| c.is_ascii_uppercase());
    let is_visible = target.chars().all(|c| ('!'..='~').contains(&c) && c != '#');
    let digit = version.strip_prefix("HTTP/1.").filter(|rest| rest.len() == 1)?.as_bytes()[0];
    if !is_method || !is_visible || method == "CONNECT" || !digit.is_ascii_digit() {
        return None;
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if !is_token(name) || value.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return None;
        }
        fields.push((name.to_owned(), trim(value).to_owned()));
    }
    let named = |wanted: &str| -> Vec<&str> {
        let of_name = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        of_name.map(|(_, value)| value.as_str()).collect()
    };
    if !is_routable(method, target, digit, &named("host")) {
        return None;
    }
    let expects = named("expect");
    if expects.len() > 1 || expects.iter().any(|value| !value.eq_ignore_ascii_case("100-continue")) {
        return None;
    }
    let options = options(&named("connection"))?;
    let is_closed = options.iter().any(|option| option == "close");
    let is_kept = options.iter().any(|option| option == "keep-alive");
    Some(ModelHead {
        version_digit: digit,
        framing: framing(digit, &named("content-length"), &named("transfer-encoding"))?,
        keep_alive: !is_closed && (digit != b'0' || is_kept),
        fields: fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
    })
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

/// The noise has only the plainest hosts, so the model knows them by heart.
fn is_routable(method: &str, target: &str, digit: u8, hosts: &[&str]) -> bool {
    let is_host = |host: &str| {
        let (name, port) = host.split_once(':').unwrap_or((host, "80"));
        is_token(name) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') && port == "80"
    };
    let of_target = target.strip_prefix("http://").map(|rest| rest.split(['/', '?']).next().unwrap_or(""));
    let is_form =
        target.starts_with('/') || target == "*" && method == "OPTIONS" || of_target.is_some_and(is_host);
    let is_path = !target.contains('\\') && !target.contains('%');
    let agrees = match hosts {
        [] => digit == b'0',
        [host] => is_host(host) && of_target.is_none_or(|other| other.eq_ignore_ascii_case(host)),
        _ => false,
    };
    is_form && is_path && agrees
}

fn options(values: &[&str]) -> Option<Vec<String>> {
    let options: Vec<String> =
        values.iter().flat_map(|value| value.split(',')).map(trim).map(str::to_lowercase).collect();
    let options: Vec<String> = options.into_iter().filter(|option| !option.is_empty()).collect();
    let names_framing = options
        .iter()
        .any(|option| ["host", "content-length", "transfer-encoding"].contains(&option.as_str()));
    (options.iter().all(|option| is_token(option)) && !names_framing).then_some(options)
}

fn framing(digit: u8, lengths: &[&str], codings: &[&str]) -> Option<Framing> {
    match (lengths, codings) {
        ([], []) => Some(Framing::None),
        ([], [coding]) if digit != b'0' && coding.eq_ignore_ascii_case("chunked") => Some(Framing::Chunked),
        ([first, rest @ ..], []) if rest.iter().all(|length| length == first) => {
            let length: u64 = first.parse().ok()?;
            (length.to_string() == **first && length < 1 << 63).then_some(Framing::Length(length))
        }
        _ => None,
    }
}

/// The payload of a complete chunked body at the start of `input`, and the length of the body.
pub(crate) fn naive_chunked(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut payload = Vec::new();
    let mut at = 0;
    loop {
        let len = input[at..].windows(2).position(|end| end == b"\r\n")?;
        let line = text(&input[at..at + len]);
        at += len + 2;
        let n_digits = line.chars().take_while(char::is_ascii_hexdigit).count();
        let (size, extensions) = line.split_at(n_digits);
        if n_digits == 0 || n_digits > 16 || !are_extensions(extensions) {
            return None;
        }
        let size = usize::try_from(u64::from_str_radix(size, 16).ok()?).ok()?;
        if size == 0 {
            break;
        }
        payload.extend_from_slice(input[at..].get(..size)?);
        at += size;
        if !input[at..].starts_with(b"\r\n") {
            return None;
        }
        at += 2;
    }
    loop {
        let len = input[at..].windows(2).position(|end| end == b"\r\n")?;
        let line = text(&input[at..at + len]);
        at += len + 2;
        if line.is_empty() {
            return Some((payload, at));
        }
        let (name, value) = line.split_once(':')?;
        if !is_token(name) || value.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return None;
        }
    }
}

/// `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )`, by cutting pieces off the front.
fn are_extensions(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let Some(behind) = rest.trim_start_matches([' ', '\t']).strip_prefix(';') else { return false };
        rest = behind.trim_start_matches([' ', '\t']);
        let name_len = rest.chars().take_while(|&c| TOKEN.contains(c)).count();
        if name_len == 0 {
            return false;
        }
        rest = &rest[name_len..];
        let Some(value) = rest.trim_start_matches([' ', '\t']).strip_prefix('=') else { continue };
        rest = value.trim_start_matches([' ', '\t']);
        let value_len = if rest.starts_with('"') { quoted_len(rest) } else { token_len(rest) };
        let Some(value_len) = value_len else { return false };
        rest = &rest[value_len..];
    }
    true
}

fn token_len(text: &str) -> Option<usize> {
    Some(text.chars().take_while(|&c| TOKEN.contains(c)).count()).filter(|&len| len > 0)
}

fn quoted_len(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            c if c.is_ascii_control() && c != '\t' => return None,
            _ if is_escaped => is_escaped = false,
            '"' => return Some(at + 1),
            '\\' => is_escaped = true,
            _ => {}
        }
    }
    None
}

/// The normal form of a path that starts with a slash: dots that are the whole of a segment written plainly, then RFC 3986
/// section 5.2.4 as it stands, with its two buffers.
pub(crate) fn naive_path(path: &[u8]) -> Vec<u8> {
    let segments = text(path).split('/').map(plain_dots).collect::<Vec<_>>();
    let (mut input, mut output) = (segments.join("/"), String::new());
    while !input.is_empty() {
        if input.starts_with("/./") || input == "/." {
            input = format!("/{}", input.get(3..).unwrap_or(""));
        } else if input.starts_with("/../") || input == "/.." {
            input = format!("/{}", input.get(4..).unwrap_or(""));
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            let end = input[1..].find('/').map_or(input.len(), |n| n + 1);
            output.push_str(&input[..end]);
            input = input[end..].to_owned();
        }
    }
    bytes(&output)
}

fn plain_dots(segment: &str) -> String {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    if plain == "." || plain == ".." { plain } else { segment.to_owned() }
}
