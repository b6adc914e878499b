//! Keys of `tls`: of a listener, and of a service.

use crate::spec::{Choice, KeySpec, Kind, TableSpec};

const CERTIFICATE: Kind = Kind::Text { form: "a path", example: "web.pem" };
const KEY: Kind = Kind::Text { form: "a path", example: "web.key" };
const CA: Kind = Kind::Text { form: "a path", example: "ca.pem" };

pub(crate) static LISTENER_TLS: TableSpec = TableSpec {
    what: "`tls` of a listener",
    title: "listeners.tls",
    doc: "Callers speak TLS; every file is read at the start, at a reload, and again when it changes.",
    keys: &[
        KeySpec::required(
            "certificates",
            Kind::List(&Kind::Table(&CERTIFICATES)),
            "What it shows to callers: the one with the name that the caller asked for (an exact name before a \
             wildcard, which stands for one label), else the first.",
        ),
        KeySpec::value(
            "client_auth",
            Kind::Choice(&[Choice::now("off"), Choice::now("optional"), Choice::now("required")]),
            "off",
            "Whether callers show a certificate; one that is shown must be signed by `client_ca`, in both modes.",
        ),
        KeySpec::absent(
            "client_ca",
            CA,
            "none",
            "A PEM file with the certificates of those who may sign the callers' certificates.",
        ),
        KeySpec::value(
            "min_version",
            Kind::Choice(&[Choice::now("1.2"), Choice::now("1.3")]),
            "1.2",
            "The oldest version of TLS that callers may speak; the newest is 1.3.",
        ),
    ],
};

static CERTIFICATES: TableSpec = TableSpec {
    what: "a certificate of a listener",
    title: "listeners.tls.certificates",
    doc: "A certificate with its key; the names it is for are those of its subject alternative names.",
    keys: &[
        KeySpec::required(
            "certificate",
            CERTIFICATE,
            "A PEM file with the certificate and behind it those that lead to its CA.",
        ),
        KeySpec::required("key", KEY, "A PEM file with its private key (PKCS #8, PKCS #1 or SEC 1)."),
    ],
};

pub(crate) static SERVICE_TLS: TableSpec = TableSpec {
    what: "`tls` of a service",
    title: "services.NAME.tls",
    doc: "TLS to the endpoints; their certificates are always verified.",
    keys: &[
        KeySpec::absent(
            "ca",
            CA,
            "those that the system trusts",
            "A PEM file with the certificates of those who may sign the endpoints' certificates.",
        ),
        KeySpec::absent(
            "sni",
            Kind::Text { form: "a host name", example: "cart.internal" },
            "the endpoint's host name, or its address where it has none",
            "The name that endpoints are asked for, and that their certificates must be for.",
        ),
        KeySpec::absent(
            "certificate",
            CERTIFICATE,
            "none",
            "A PEM file with a certificate to show to endpoints, and behind it those that lead to its CA.",
        ),
        KeySpec::absent("key", KEY, "none", "A PEM file with the private key of `certificate`."),
    ],
};
