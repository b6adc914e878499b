//! `drain`, `undrain` and `weight`: finds the endpoint that is meant and changes it.

use serde_json::{Value, json};

use super::client::{Client, Failure, path};
use super::printable;

/// Takes an endpoint out of rotation, or back.
pub(super) async fn drain(
    client: &mut Client,
    service: &str,
    endpoint: &str,
    draining: bool,
) -> Result<String, Failure> {
    let changed = change(client, service, endpoint, &json!({ "draining": draining })).await?;
    let in_flight = changed["in_flight"].as_u64().unwrap_or_default();
    Ok(if draining {
        line(service, &changed, &format!("takes no new requests, {in_flight} in flight"))
    } else {
        line(service, &changed, "takes requests again")
    })
}

/// Changes the weight of an endpoint.
pub(super) async fn weight(
    client: &mut Client,
    service: &str,
    endpoint: &str,
    weight: u32,
) -> Result<String, Failure> {
    let changed = change(client, service, endpoint, &json!({ "weight": weight })).await?;
    Ok(line(service, &changed, &format!("has weight {weight}")))
}

async fn change(
    client: &mut Client,
    service: &str,
    endpoint: &str,
    change: &Value,
) -> Result<Value, Failure> {
    let shown = client.fetch(&path(&["services", service])).await?;
    let id = find(&shown, endpoint).map_err(Failure::Endpoint)?;
    client.patch(&path(&["services", service, "endpoints", id]), change).await
}

/// The id of the endpoint that a person means by its id or, where only one has it, its address.
fn find<'a>(service: &'a Value, meant: &str) -> Result<&'a str, String> {
    let name = service["name"].as_str().unwrap_or_default();
    let endpoints = service["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ids_of = |key: &str| -> Vec<&'a str> {
        let with = endpoints.iter().filter(|endpoint| endpoint[key] == meant);
        with.filter_map(|endpoint| endpoint["id"].as_str()).collect()
    };
    if let Some(id) = ids_of("id").first() {
        return Ok(id);
    }
    match ids_of("address").as_slice() {
        [id] => Ok(id),
        [] => Err(format!(
            "the service \"{name}\" has no endpoint \"{meant}\"; `isobar status {name}` lists those that it has"
        )),
        several => Err(format!(
            "{} endpoints of \"{name}\" have the address {meant}; give the id of one: {}",
            several.len(),
            several.join(", ")
        )),
    }
}

fn line(service: &str, endpoint: &Value, what: &str) -> String {
    let id = endpoint["id"].as_str().unwrap_or_default();
    printable(&format!("{service}: {id} {what}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_before_an_address_and_an_address_must_be_unique() {
        let service = json!({ "name": "web", "endpoints": [
            { "id": "a", "address": "127.0.0.1:1" },
            { "id": "127.0.0.1:1", "address": "127.0.0.1:2" },
            { "id": "b", "address": "127.0.0.1:3" },
            { "id": "c", "address": "127.0.0.1:3" },
        ]});
        assert_eq!(find(&service, "a"), Ok("a"));
        assert_eq!(find(&service, "127.0.0.1:1"), Ok("127.0.0.1:1"));
        assert_eq!(find(&service, "127.0.0.1:2"), Ok("127.0.0.1:1"));
        assert!(find(&service, "127.0.0.1:3").is_err_and(|error| error.contains("b, c")));
        assert!(find(&service, "127.0.0.1:4").is_err_and(|error| error.contains("isobar status web")));
        assert!(find(&json!({}), "a").is_err());
    }
}
