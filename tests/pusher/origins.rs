//! Which pages may connect: refused ones are told so inside, counted, and take nobody's place; a reload is in force for
//! whoever comes after it.

use stentor::metrics::Counter;
use stentor::pusher::App;

use crate::client::Client;
use crate::server::{CORES, PATIENCE, Running, apps, now};
use crate::wire::Side as _;

const TARGET: &str = "/app/key?protocol=7";
const OURS: &str = "https://www.example.com:8443";
const THEIRS: &str = "https://evil.example";

fn app_for(origins: &str) -> App {
    App { allowed_origins: origins.parse().unwrap(), ..apps().swap_remove(0) }
}

fn running(cores: usize, origins: &str) -> Running {
    Running::with(|setup| {
        setup.engine.cores = cores;
        setup.apps[0] = app_for(origins);
    })
}

fn check_greeted(mut client: Client) -> Client {
    let greeting = client.message();
    assert_eq!(greeting["event"], "pusher:connection_established", "{greeting}");
    client
}

#[test]
fn a_page_of_another_origin_is_refused_with_4009_and_counted() {
    for cores in [1, CORES] {
        let server = running(cores, "*.example.com, [::1]");
        for (refused, origin) in (1..).zip([THEIRS, "null", "http://[::2]", "https://example.com"])
        {
            Client::open_from(&server, TARGET, origin).check_refused(4009, 4009);
            assert_eq!(server.count(Counter::UpgradesRefused), refused, "{origin}");
        }
        for origin in [OURS, "http://[::1]:5173", "HTTPS://A.B.EXAMPLE.COM"] {
            check_greeted(Client::open_from(&server, TARGET, origin)).leave();
        }
        assert_eq!(server.count(Counter::UpgradesRefused), 4);
    }
}

#[test]
fn who_names_no_origin_or_two_is_refused() {
    let server = running(1, "www.example.com");
    Client::open(&server, TARGET).check_refused(4009, 4009);
    let twice = [("Origin", OURS), ("Origin", OURS)];
    Client::from(server.connect(), TARGET, &twice).check_refused(4009, 4009);
    assert_eq!(server.count(Counter::UpgradesRefused), 2);
}

#[test]
fn origins_of_one_app_say_nothing_of_another() {
    let server = running(1, "www.example.com");
    check_greeted(Client::open_from(&server, "/app/other", THEIRS));
    Client::open_from(&server, TARGET, THEIRS).check_refused(4009, 4009);
}

#[test]
fn a_reload_is_in_force_for_who_comes_and_closes_nobody_who_is_there() {
    for cores in [1, CORES] {
        let mut server = running(cores, "*");
        let mut before: Vec<_> = (0..cores * 2)
            .map(|_| check_greeted(Client::open_from(&server, TARGET, THEIRS)))
            .collect();
        server.reload(vec![app_for("www.example.com")]);
        // Each core takes notice by itself: refused in a row by all of them is in force.
        let (deadline, mut in_a_row) = (now() + PATIENCE, 0);
        while in_a_row < cores * 8 {
            assert!(now() < deadline, "the new origins are in force in time");
            let message = Client::open_from(&server, TARGET, THEIRS).message();
            in_a_row = if message["data"]["code"] == 4009 { in_a_row + 1 } else { 0 };
        }
        check_greeted(Client::open_from(&server, TARGET, OURS));
        before.iter_mut().for_each(Client::check_alive);
    }
}
