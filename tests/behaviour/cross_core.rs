//! Publisher, home core and listener on three different cores, with real threads and real sockets.

use stentor::Options;

use super::room::Room;
use super::support::{Running, options};
use super::ws_client::WsClient;

const CORES: usize = 4;

fn running() -> Running {
    Running::start(Options { cores: CORES, ..options() }, |_| Room::default())
}

/// One connection on each core: the kernel chooses the core, so connect until each has one.
fn one_on_each_core(server: &Running) -> Vec<WsClient> {
    let mut found: Vec<Option<WsClient>> = (0..CORES).map(|_| None).collect();
    for _ in 0..1_000 {
        let mut client = WsClient::open(server);
        client.say("core");
        let core: usize = client.hear().parse().unwrap();
        found[core] = Some(client);
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found
        .into_iter()
        .map(|client| client.expect("a thousand connections reach every core"))
        .collect()
}

fn topic_at(server: &Running, home: usize) -> String {
    (0..)
        .map(|number| format!("t{number}"))
        .find(|topic| server.publisher().home_of(topic) == home)
        .unwrap()
}

#[test]
fn an_event_finds_its_way_from_any_core_over_any_home_to_any_core() {
    let server = running();
    let mut clients = one_on_each_core(&server);
    for home in 0..CORES {
        let topic = topic_at(&server, home);
        for listener in 0..CORES {
            clients[listener].say(format!("sub {topic}"));
            assert_eq!(clients[listener].hear(), format!("subscribed {topic}"));
            for publisher in 0..CORES {
                let events = (0..5).map(|number| format!("pub {topic} {publisher}-{number}"));
                clients[publisher].say_all(events);
                for number in 0..5 {
                    assert_eq!(
                        clients[listener].hear(),
                        format!("{publisher}-{number}"),
                        "home {home}"
                    );
                }
            }
            clients[listener].say(format!("unsub {topic}"));
            assert_eq!(clients[listener].hear(), "unsubscribed");
        }
    }
}

#[test]
fn subscribers_on_all_cores_hear_one_order_of_many_publishers() {
    let server = running();
    let mut listeners = one_on_each_core(&server);
    for client in &mut listeners {
        client.say("sub t");
        assert_eq!(client.hear(), "subscribed t");
    }
    let events = 500;
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let publisher = server.publisher().clone();
            scope.spawn(move || {
                (0..events).for_each(|number| {
                    publisher.publish("t", format!("{name}{number}"), None).unwrap()
                });
            });
        }
    });
    let heard: Vec<Vec<String>> = listeners
        .iter_mut()
        .map(|client| (0..3 * events).map(|_| client.hear()).collect())
        .collect();
    for other in &heard[1..] {
        assert_eq!(other, &heard[0]);
    }
    for name in ["a", "b", "c"] {
        let numbers = heard[0]
            .iter()
            .filter_map(|text| text.strip_prefix(name))
            .map(|it| it.parse::<u32>().unwrap());
        assert!(numbers.eq(0..events));
    }
}

#[test]
fn a_review_finds_every_connection_of_cores_that_sleep_and_of_cores_that_work() {
    let server = running();
    let mut idle = one_on_each_core(&server);
    let mut busy = one_on_each_core(&server);
    for round in 0..50 {
        let before = (0..20).map(|number| format!("a{number}"));
        busy.iter_mut().for_each(|client| client.say_all(before.clone()));
        server.review();
        for client in &mut idle {
            assert_eq!(client.hear(), "reviewed", "round {round}");
        }
        for client in &mut busy {
            let mut heard: Vec<String> = (0..21).map(|_| client.hear()).collect();
            heard.retain(|text| text != "reviewed");
            assert!(
                heard.into_iter().eq(before.clone()),
                "round {round}: once, and nothing is lost"
            );
        }
    }
}

#[test]
fn a_handler_knows_the_peers_address_and_the_headers_of_its_upgrade() {
    let server = running();
    let mut client = WsClient::open(&server);
    client.say("address");
    assert_eq!(client.hear(), client.client.local_addr().to_string());
    client.say("agent");
    assert_eq!(client.hear(), "behaviour");
}
