//! `stentor trigger` and `stentor listen` over TLS: whom they believe.
//!
//! `authority.pem` vouches for `server.pem`, which is `localhost` and 127.0.0.1, from 2000 to 2100; `server-key.pem` is the
//! key of that. They are for these tests alone: nobody has the authority's key any more.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::support::{PATIENCE, Place, check, greet_and_publish, read_request};

const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/command/tls/authority.pem");
const SERVER: &[u8] = include_bytes!("tls/server.pem");
const SERVER_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/command/tls/server-key.pem");

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Serves one connection, and gives its port.
fn serve_tls<T: Send + 'static>(
    serve: impl FnOnce(Tls) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let chain = CertificateDer::pem_slice_iter(SERVER).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(SERVER_KEY).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        serve(StreamOwned::new(ServerConnection::new(config).unwrap(), tcp))
    });
    (port, served)
}

/// Serves one connection on which no request may come.
fn refused() -> (u16, JoinHandle<()>) {
    serve_tls(|mut tls| assert!(tls.read(&mut [0]).is_err(), "something was said to a stranger"))
}

#[test]
fn trigger_publishes_over_tls_to_a_server_of_ones_own_authority() {
    for host in ["https://localhost", "wss://127.0.0.1"] {
        let (port, served) = serve_tls(|mut tls| {
            let request = read_request(&mut tls);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            tls.write_all(answer).unwrap();
            request
        });
        let url = format!("{host}:{port}");
        let trigger = ["trigger", "news", "hi", "{}", "--url", &url, "--ca", AUTHORITY];
        check(&Place::new(), &trigger, 0, "{}\n", "");
        let request = served.join().unwrap();
        assert!(request.starts_with("POST /apps/1/events?auth_key=app-key&"), "{request}");
    }
}

#[test]
fn listen_hears_over_tls_from_a_server_of_ones_own_authority() {
    for host in ["wss://localhost", "https://127.0.0.1"] {
        let (port, served) = serve_tls(|tls| {
            let mut peer = greet_and_publish(tls, "over TLS");
            while peer.read().is_ok() {}
        });
        let url = format!("{host}:{port}");
        let listen = ["listen", "news", "--count", "1", "--url", &url, "--ca", AUTHORITY];
        check(&Place::new(), &listen, 0, " news hi over TLS\n", "subscribed to news");
        served.join().unwrap();
    }
}

#[test]
fn a_server_that_no_public_authority_vouches_for_is_not_believed() {
    for command in [&["trigger", "news", "hi", "{}"][..], &["listen", "news"]] {
        let (port, served) = refused();
        let url = format!("https://localhost:{port}");
        let command = [command, &["--url", &url]].concat();
        let hint = "UnknownIssuer; --ca FILE names an authority of your own";
        check(&Place::new(), &command, 1, "", hint);
        served.join().unwrap();
    }
}

#[test]
fn a_file_without_an_authority_is_refused_before_anything_is_tried() {
    let place = Place::new().with("empty.pem", "").with("broken.pem", BROKEN);
    for command in [&["trigger", "a", "b", "c"][..], &["listen", "a"]] {
        let with = |ca: &str, url: &str, err: &str| {
            check(&place, &[command, &["--url", url, "--ca", ca]].concat(), 2, "", err);
        };
        let url = "https://127.0.0.1:1";
        with("none.pem", url, "--ca none.pem: cannot be read: ");
        with("empty.pem", url, "--ca empty.pem: has no certificate in it; expected PEM");
        with("broken.pem", url, "--ca broken.pem: ");
        with(SERVER_KEY, url, "has no certificate in it");
        with(AUTHORITY, "http://127.0.0.1:1", "--ca has a meaning for https and wss alone");
    }
}

/// PEM around something that is no certificate.
const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
