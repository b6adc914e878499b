//! Handshakes of callers with a listener's side.

use std::sync::Arc;

use isobar_tls::{PeerIdentity, Terminator, TicketKeys};
use rcgen::{DnType, SanType, date_time_ymd};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, Connection, Error, HandshakeKind};

use crate::world::{World, listener, speak};

const WEB: &str = "certificates = [{ certificate = \"web.pem\", key = \"web.key\" }]";

fn world() -> World {
    let mut world = World::new();
    world.issue("web", &["shop.test"]);
    world
}

fn terminator(world: &World, further: &str, keys: &Arc<TicketKeys>) -> Terminator {
    let mut set = world.try_load(&listener(&format!("{WEB}{further}")), keys).unwrap();
    set.listeners.remove(0).unwrap()
}

/// Both ends after a handshake, or why it failed at either.
fn meet(caller: &Arc<ClientConfig>, terminator: &Terminator) -> Result<(Connection, Connection), Error> {
    let name = ServerName::try_from("shop.test").unwrap();
    let mut client = Connection::from(ClientConnection::new(Arc::clone(caller), name).unwrap());
    let mut server = Connection::from(terminator.accept().unwrap());
    speak(&mut client, &mut server)?;
    Ok((client, server))
}

#[test]
fn callers_are_let_in_as_the_mode_says_and_known_by_their_certificate() {
    let keys = Arc::<TicketKeys>::default();
    let mut world = world();
    let mut strangers = World::of("Another CA");
    for (mode, without, foreign) in
        [("optional", true, false), ("required", false, false), ("off", true, true)]
    {
        let further = match mode {
            "off" => String::new(),
            mode => format!(", client_auth = \"{mode}\", client_ca = \"ca.pem\""),
        };
        let alice = world.issue_with("alice", &["alice.test"], |params| {
            params.distinguished_name.push(DnType::OrganizationName, "Shop");
            params.subject_alt_names.push(SanType::URI("spiffe://prod/alice".try_into().unwrap()));
        });
        let mallory = strangers.issue("mallory", &[]);
        let terminator = terminator(&world, &further, &keys);
        assert_eq!(meet(&world.caller(None), &terminator).is_ok(), without, "{mode}");
        assert_eq!(meet(&world.caller(Some(mallory)), &terminator).is_ok(), foreign, "{mode}");
        let (_, server) = meet(&world.caller(Some(alice)), &terminator).unwrap();
        let known = server.peer_certificates().map(|chain| PeerIdentity::of(&chain[0]));
        let expected = PeerIdentity {
            subject: "O=Shop,CN=alice".to_owned(),
            names: vec!["alice.test".to_owned(), "spiffe://prod/alice".to_owned()],
        };
        assert_eq!(known, (mode != "off").then_some(expected), "{mode}");
    }
}

#[test]
fn a_session_is_resumed_until_the_demands_change_and_its_certificate_is_verified_again() {
    const REQUIRED: &str = ", client_auth = \"required\", client_ca = \"ca.pem\"";
    let keys = Arc::<TicketKeys>::default();
    let mut world = world();
    let alice = world.issue("alice", &[]);
    let caller = world.caller(Some(alice));
    let kind = |terminator: &Terminator| meet(&caller, terminator).unwrap().1.handshake_kind().unwrap();
    let first = terminator(&world, REQUIRED, &keys);
    assert_eq!(kind(&first), HandshakeKind::Full);
    // Another load of the same, as after a renewal, or another worker.
    let again = terminator(&world, REQUIRED, &keys);
    assert!(first.demands_as(&again));
    let (_, server) = meet(&caller, &again).unwrap();
    assert_eq!(server.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(again.still_vouches(server.peer_certificates().unwrap()), Ok(()));
    let optional = terminator(&world, &REQUIRED.replace("required", "optional"), &keys);
    assert!(!first.demands_as(&optional));
    assert_eq!(kind(&optional), HandshakeKind::Full, "a ticket of other demands opens nothing");
}

#[test]
fn a_certificate_out_of_a_ticket_that_is_good_no_more_is_refused() {
    let keys = Arc::<TicketKeys>::default();
    let mut world = world();
    let late = world.issue_with("late", &[], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let foreign = World::of("Another CA").issue("mallory", &[]);
    let strict = terminator(&world, ", client_auth = \"optional\", client_ca = \"ca.pem\"", &keys);
    let expired = strict.still_vouches(&late.chain);
    assert!(
        matches!(expired, Err(Error::InvalidCertificate(CertificateError::ExpiredContext { .. }))),
        "{expired:?}"
    );
    let unknown = strict.still_vouches(&foreign.chain);
    assert_eq!(unknown, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
    assert_eq!(terminator(&world, "", &keys).still_vouches(&late.chain), Ok(()), "nobody was asked");
}

#[test]
fn what_is_no_certificate_proves_nothing() {
    assert_eq!(PeerIdentity::of(&b"junk".as_slice().into()), PeerIdentity::default());
}
