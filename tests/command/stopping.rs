//! `stentor serve` and `stentor listen` told to stop while somebody or something holds them: what clients hear, when it
//! ends, and with which status.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tungstenite::{Message, WebSocket};

use super::support::{PATIENCE, Place, Running, end_of, greet_and_publish, serve_with, signal};

/// How much later than it is due something may come on a busy machine.
const LAG: Duration = Duration::from_secs(8);

/// A client that the server has greeted, and which says nothing of its own accord.
fn greeted(port: &str) -> WebSocket<TcpStream> {
    let tcp = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("ws://127.0.0.1:{port}/app/app-key?protocol=7");
    let (mut client, _) = tungstenite::client(url, tcp).unwrap();
    let greeting = client.read().unwrap();
    assert!(greeting.to_text().unwrap().contains("pusher:connection_established"), "{greeting}");
    client
}

/// A server that lets nobody in once all have gone, and waits so many seconds for them.
fn serve_until(place: &Place, deadline: &str) -> (Running, String) {
    let deadline = format!("limits.shutdown_deadline={deadline}");
    // The limit on one client's close must not be what ends it.
    let others = ["limits.shutdown_linger=0", "limits.closing_deadline=300"];
    serve_with(place, &["--set", &deadline, "--set", others[0], "--set", others[1]])
}

/// What a client of a stopping server hears.
#[track_caller]
fn expect_to_be_sent_back(client: &mut WebSocket<TcpStream>) {
    let error = client.read().unwrap();
    let text = error.to_text().unwrap();
    assert!(text.contains("pusher:error") && text.contains("4200"), "{text}");
    match client.read().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 4200, "{frame}"),
        other => panic!("a close frame, and not {other:?}"),
    }
}

#[test]
fn clients_are_closed_with_4200_and_the_server_ends_once_they_have_gone() {
    for stop in [Signal::TERM, Signal::INT] {
        // So long that it cannot be what ends the server.
        let (server, port) = serve_until(&Place::new(), "3600");
        let mut client = greeted(&port);
        server.signal(stop);
        expect_to_be_sent_back(&mut client);
        // It answers the close frame, reads on to the end of the connection, and ends it on its side, too.
        while client.read().is_ok() {}
        drop(client);
        assert_eq!(server.end(), Some(0));
    }
}

#[test]
fn a_client_that_never_answers_the_close_is_cut_at_the_deadline() {
    let (server, port) = serve_until(&Place::new(), "2");
    let mut mute = greeted(&port);
    let begun = now();
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2) + LAG, "the deadline was 2 s, and it took {took:?}");
    assert!(took > Duration::from_secs(1), "it was waited for, and not only {took:?}");
    expect_to_be_sent_back(&mut mute);
}

#[test]
fn a_second_signal_ends_a_server_at_once_with_130() {
    for second in [Signal::TERM, Signal::INT] {
        let (server, port) = serve_until(&Place::new(), "3600");
        let _mute = greeted(&port);
        server.signal(Signal::TERM);
        server.expect("stopping: ");
        server.signal(second);
        server.expect("interrupted again, ending at once");
        assert_eq!(server.end(), Some(130));
    }
}

#[test]
fn a_second_signal_ends_listen_at_once_with_130() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut peer = greet_and_publish(tcp, &"x".repeat(1 << 20));
        while peer.read().is_ok() {}
    });
    let place = Place::new();
    let mut command = place.command(&["listen", "news", "--url", &url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut screen = child.stdout.take().unwrap();
    // The first byte of a line that is longer than a pipe: until somebody reads on, it is stuck in printing it.
    screen.read_exact(&mut [0]).unwrap();
    // Two of one kind may come as one.
    signal(&child, Signal::INT);
    signal(&child, Signal::TERM);
    assert_eq!(end_of(child), Some(130));
    server.join().unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test on real sockets waits in real time")]
fn now() -> Instant {
    Instant::now()
}
