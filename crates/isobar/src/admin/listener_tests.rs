//! Laws of the admin interface's sockets, over real ones.
#![allow(clippy::unwrap_used)]

use axum::routing::get;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn tcp(host: &str, port: u16) -> AddressText {
    AddressText::Tcp { host: host.to_owned(), port }
}

fn router() -> Router {
    Router::new().route("/", get(async || "here"))
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

fn socket_address(listener: &AdminListener) -> std::net::SocketAddr {
    match listener.address() {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{} is no TCP address", path.display()),
    }
}

#[tokio::test]
async fn every_form_of_a_tcp_address_serves() {
    for written in [tcp("127.0.0.1", 0), tcp("localhost", 0), tcp("", 0)] {
        let listener = AdminListener::bind(&written).await.unwrap();
        let mut address = socket_address(&listener);
        if address.ip().is_unspecified() {
            address.set_ip("127.0.0.1".parse().unwrap());
        }
        assert_ne!(address.port(), 0);
        let serving = tokio::spawn(listener.serve(router()));
        assert!(exchange(TcpStream::connect(address).await.unwrap()).await.ends_with("here"), "{written}");
        serving.abort();
    }
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let taken = AdminListener::bind(&tcp("127.0.0.1", 0)).await.unwrap();
    let port = socket_address(&taken).port();
    let error = AdminListener::bind(&tcp("127.0.0.1", port)).await.unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("[admin]"), "{error}");
}

#[tokio::test]
async fn a_socket_file_serves_and_goes_with_its_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = AdminListener::bind(&AddressText::Unix(path.clone())).await.unwrap();
    assert!(
        AdminListener::bind(&AddressText::Unix(path.clone())).await.is_err(),
        "two listeners on one file"
    );
    let serving = tokio::spawn(listener.serve(router()));
    assert!(exchange(UnixStream::connect(&path).await.unwrap()).await.ends_with("here"));
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_file_that_nobody_listens_on_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = AdminListener::bind(&AddressText::Unix(path.clone())).await.unwrap();
    let serving = tokio::spawn(listener.serve(router()));
    assert!(exchange(UnixStream::connect(&path).await.unwrap()).await.ends_with("here"));
    serving.abort();
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious.txt");
    std::fs::write(&path, "data").unwrap();
    assert!(AdminListener::bind(&AddressText::Unix(path.clone())).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}
