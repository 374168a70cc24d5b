//! Every limit of an app, at the limit and one past it, for apps of each kind.
//!
//! | limit | elsewhere |
//! |---|---|
//! | clients' events: length of the data | `client_events.rs`, and `compat.txt` of the transcripts |
//! | clients' events in a second: exactly how many | the tests of `src/pusher/bucket.rs`, which have a clock of their own |
//! | time for which a cache keeps: exactly how long | the tests of `src/pusher/cache.rs`, for the same reason |
//! | a message, by its frame's header | `bad_messages.rs` |
//! | a body, before it has come | `bad_requests.rs` |

use serde_json::{Value, json};
use stentor::metrics::Counter;
use stentor::pusher::{App, Compat};
use stentor::{CloseCode, Options};

use crate::backend::Backend;
use crate::client::{Client, Heard, subscribe};
use crate::memory::{Member, in_memory};
use crate::server::{PATIENCE, Running, apps, now};

/// Of apps as Reverb's, as Pusher's, as soketi's.
type Limits = [usize; 3];

const KINDS: [Compat; 3] = [Compat::Reverb, Compat::Pusher, Compat::Soketi];

/// What an app that limits nothing is tried with.
const MANY: usize = 150;

/// App 1 is of one kind, and its clients may send events.
struct Scene {
    backend: Backend,
    client: Client,
    server: Running,
}

impl Scene {
    fn new(compat: Compat, change: impl FnOnce(&mut App)) -> Self {
        let mut app = App::with_compat(compat, "1", "key", "secret");
        (app.client_events, app.client_events_on_public) = (true, true);
        change(&mut app);
        let server = Running::with(|setup| {
            setup.apps[0] = app;
            // The engine's own limits are wider, so that those of the app are what counts.
            setup.engine.http.body_bytes = 2 * 1024 * 1024;
            setup.engine.subscriptions = setup.apps[0].most_topics();
        });
        let (backend, client) = (Backend::new(&server), Client::join(&server, "key"));
        Self { backend, client, server }
    }

    fn check_api(&mut self, status: u16, path: &str, body: &Value) {
        let answer = self.backend.post(path, body);
        assert_eq!(answer.status, status, "{answer:?}");
    }

    /// A subscription that is refused: twice told, with that code.
    fn check_refused(&mut self, text: &str, code: u16) {
        self.client.say(text);
        assert_eq!(self.client.message()["event"], "pusher:subscription_error");
        self.client.check_error(code);
    }

    fn enter(&mut self, channel_data: &Value) -> Value {
        let text = self.client.signed("presence-room", Some(&channel_data.to_string()));
        self.client.say(&text);
        self.client.message()
    }

    fn refuse_entry(&mut self, channel_data: &Value, code: u16) {
        let text = self.client.signed("presence-room", Some(&channel_data.to_string()));
        self.check_refused(&text, code);
    }
}

/// A limit in a scene of each kind: what is as long as it may be, and then what is longer by one.
fn check(limits: Limits, at: impl Fn(&mut Scene, usize), past: impl Fn(&mut Scene, usize)) {
    for (compat, limit) in KINDS.into_iter().zip(limits) {
        let mut scene = Scene::new(compat, |_| {});
        at(&mut scene, limit);
        past(&mut scene, limit + 1);
    }
}

fn published(name: &str, channel: &str, data: &str) -> Value {
    json!({"name": name, "channel": channel, "data": data})
}

#[test]
fn names_of_channels_that_clients_subscribe_to() {
    check(
        [200, 164, 200],
        |scene, letters| scene.client.subscribe(&"n".repeat(letters)),
        |scene, letters| scene.check_refused(&subscribe(&"n".repeat(letters)), 4009),
    );
}

#[test]
fn names_of_channels_that_events_go_to() {
    let event = |letters: usize| published("n", &"n".repeat(letters), "");
    check(
        [200, 164, 200],
        |scene, letters| scene.check_api(200, "events", &event(letters)),
        |scene, letters| scene.check_api(400, "events", &event(letters)),
    );
}

#[test]
fn names_of_events() {
    let event = |letters: usize| published(&"n".repeat(letters), "news", "");
    check(
        [200; 3],
        |scene, letters| scene.check_api(200, "events", &event(letters)),
        |scene, letters| scene.check_api(400, "events", &event(letters)),
    );
}

#[test]
fn names_of_events_that_clients_send() {
    let event = |letters: usize| {
        let name = format!("client-{}", "n".repeat(letters - "client-".len()));
        json!({"event": name, "data": {}, "channel": "news"}).to_string()
    };
    check(
        [200; 3],
        |scene, letters| {
            scene.client.subscribe("news");
            scene.client.say(&event(letters));
            scene.client.check_alive();
        },
        |scene, letters| {
            scene.client.say(&event(letters));
            scene.client.check_error(4301);
        },
    );
}

#[test]
fn data_of_events() {
    let event = |bytes: usize| published("n", "news", &"d".repeat(bytes));
    check(
        [102_400, 10_240, 102_400],
        |scene, bytes| scene.check_api(200, "events", &event(bytes)),
        |scene, bytes| scene.check_api(413, "events", &event(bytes)),
    );
}

#[test]
fn bodies_of_requests() {
    // A field that means nothing makes up the length.
    let body = |bytes: usize| {
        let (head, tail) = (r#"{"name":"n","channel":"news","data":"","x":""#, r#""}"#);
        format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len()))
    };
    check(
        [1024 * 1024; 3],
        |scene, bytes| assert_eq!(scene.backend.post_text("events", &body(bytes)).status, 200),
        |scene, bytes| {
            let answer = scene.backend.post_text("events", &body(bytes));
            assert_eq!(answer.status, 413);
            let error = answer.error();
            assert!(error.contains("1048577") && error.contains("1048576"), "{error}");
            // The connection is as good as before.
            scene.check_api(200, "events", &published("n", "news", ""));
        },
    );
}

#[test]
fn channels_of_one_event() {
    let event = |count: usize| {
        let channels: Vec<_> = (0..count).map(|number| format!("c-{number}")).collect();
        json!({"name": "n", "channels": channels, "data": ""})
    };
    check(
        [100; 3],
        |scene, count| scene.check_api(200, "events", &event(count)),
        |scene, count| scene.check_api(400, "events", &event(count)),
    );
}

#[test]
fn events_of_one_batch() {
    let batch = |count: usize| json!({"batch": vec![published("n", "news", ""); count]});
    check(
        [10; 3],
        |scene, count| scene.check_api(200, "batch_events", &batch(count)),
        |scene, count| scene.check_api(400, "batch_events", &batch(count)),
    );
}

#[test]
fn messages_of_clients() {
    let ping = |bytes: usize| {
        let (head, tail) = (r#"{"event":"pusher:ping","data":""#, r#""}"#);
        format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len()))
    };
    check(
        [10_000, 10_000, 128 * 1024],
        |scene, bytes| {
            scene.client.say(&ping(bytes));
            assert_eq!(scene.client.message()["event"], "pusher:pong");
        },
        |scene, bytes| {
            scene.client.say(&ping(bytes));
            assert_eq!(scene.client.check_error(4200), "Maximum message size exceeded");
            let limit = bytes - 1;
            let reason = format!("message of more than {limit} bytes; {limit} are allowed");
            assert_eq!(scene.client.next(), Heard::Close(1009, reason));
        },
    );
}

#[test]
fn users_on_a_presence_channel() {
    for (compat, limit) in KINDS.into_iter().zip([None, Some(100), Some(100)]) {
        let scene = Scene::new(compat, |_| {});
        let enter = |number: usize| {
            let mut client = Client::join(&scene.server, "key");
            let data = json!({"user_id": number}).to_string();
            client.say(&client.signed("presence-room", Some(&data)));
            let message = client.message();
            (client, message)
        };
        let count = limit.unwrap_or(MANY);
        let all: Vec<_> = (1..=count).map(enter).collect();
        for (number, (_, message)) in (1..).zip(&all) {
            assert_eq!(message["data"]["presence"]["count"], number, "{}", compat.word());
        }
        if limit.is_some() {
            let (mut client, refused) = enter(count + 1);
            assert_eq!(refused["data"]["status"], 4100);
            client.check_error(4100);
            // Further connections of users who are there are no further users.
            assert_eq!(enter(count).1["data"]["presence"]["count"], count);
        }
    }
}

#[test]
fn data_of_members() {
    let sized = |bytes: usize| json!({"user_id": 1, "user_info": "x".repeat(bytes - 28)});
    assert_eq!(sized(1_024).to_string().len(), 1_024);
    for (compat, limit) in KINDS.into_iter().zip([None, Some(1_024), Some(2_048)]) {
        let mut scene = Scene::new(compat, |_| {});
        let entered = scene.enter(&sized(limit.unwrap_or(9_500)));
        assert_eq!(entered["data"]["presence"]["count"], 1, "{}", compat.word());
        if let Some(limit) = limit {
            scene.refuse_entry(&sized(limit + 1), 4301);
        }
    }
}

#[test]
fn ids_of_users() {
    let user = |letters: usize| json!({"user_id": "u".repeat(letters)});
    check(
        [200, 128, 200],
        |scene, letters| {
            assert_eq!(scene.enter(&user(letters))["data"]["presence"]["count"], 1);
        },
        |scene, letters| scene.refuse_entry(&user(letters), 4301),
    );
}

/// Sends so many events without waiting. How many were refused.
fn send_many(scene: &mut Scene) -> usize {
    let event = json!({"event": "client-x", "data": {}, "channel": "room"}).to_string();
    (0..MANY).for_each(|_| scene.client.say(&event));
    scene.client.say(r#"{"event":"pusher:ping","data":{}}"#);
    let data = json!({"code": 4301, "message": "Rate limit exceeded"});
    let error = json!({"event": "pusher:error", "data": data, "channel": "room"});
    let mut refused = 0;
    loop {
        let answer = scene.client.message();
        if answer["event"] == "pusher:pong" {
            return refused;
        }
        assert_eq!(answer, error);
        refused += 1;
    }
}

#[test]
fn events_that_one_client_sends_in_a_second() {
    for (compat, limit) in KINDS.into_iter().zip([None, Some(10), None]) {
        let mut scene = Scene::new(compat, |_| {});
        let mut listener = Client::join(&scene.server, "key");
        scene.client.subscribe("room");
        listener.subscribe("room");
        let (mut passed, mut refused) = (0, 0);
        let deadline = now() + PATIENCE;
        // A machine may be so slow that all of them come in time; it will not always be.
        while passed == 0 || (limit.is_some() && refused == 0 && now() < deadline) {
            refused = send_many(&mut scene);
            passed += MANY - refused;
        }
        assert_eq!(refused > 0, limit.is_some(), "{}", compat.word());
        assert!(passed >= limit.unwrap_or(MANY), "{passed}");
        // The others heard what passed, and nothing else; and one client's haste is no other's.
        let event = json!({"event": "client-x", "data": {}, "channel": "room"});
        for _ in 0..passed {
            assert_eq!(listener.message(), event);
        }
        listener.check_alive();
        listener.say(&event.to_string());
        assert_eq!(scene.client.message(), event);
    }
}

#[test]
fn connections_of_an_app() {
    for (compat, code) in KINDS.into_iter().zip([4004, 4004, 4100]) {
        let scene = Scene::new(compat, |app| app.max_connections = Some(2));
        let mut second = Client::join(&scene.server, "key");
        second.check_alive();
        Client::open(&scene.server, "/app/key").check_refused(code, code);
        second.leave();
        Client::join(&scene.server, "key").check_alive();
    }
}

#[test]
fn the_time_that_a_cache_keeps_an_event() {
    for (compat, seconds) in KINDS.into_iter().zip([1_800, 1_800, 3_600]) {
        let mut scene = Scene::new(compat, |_| {});
        scene.backend.publish("cache-a", "n", "d");
        let answer = scene.backend.ask("channels/cache-a", &[("info", "cache")]).json();
        let left = answer["cache"]["ttl"].as_u64().unwrap();
        // It is less by the seconds that the test takes.
        assert!((seconds - 60..=seconds).contains(&left), "{} has {left}", compat.word());
    }
}

#[test]
fn channels_of_one_connection() {
    check(
        [1_000; 3],
        |scene, count| {
            for number in 0..count {
                scene.client.subscribe(&format!("c-{number}"));
            }
        },
        |scene, count| {
            scene.check_refused(&subscribe(&format!("c-{count}")), 4100);
            // What it is on it may have confirmed; and what it leaves makes room.
            scene.client.unsubscribe("c-0");
            scene.client.subscribe("c-new");
            scene.check_refused(&subscribe("c-0"), 4100);
        },
    );
}

/// Whether a client that reads nothing is still there when an event of that length waits for it.
fn is_kept(max_outbox_bytes: usize, data_bytes: usize) -> bool {
    let mut apps = apps();
    apps[0] = App { max_outbox_bytes, max_message_bytes: 2 * 1024 * 1024, ..apps[0].clone() };
    apps[0].max_event_bytes = 2 * 1024 * 1024;
    let mut options = Options { cores: 1, ..Options::default() };
    // The engine's limits are for clients of no app.
    (options.outbox_bytes, options.ws.message_bytes) = (64 * 1024 * 1024, 2 * 1024 * 1024);
    options.slow_consumer_code = CloseCode(4100);
    let mut simulation = in_memory(options, apps);
    let mut deaf = Member::join(&mut simulation, 0);
    let mut speaker = Member::join(&mut simulation, 0);
    deaf.say(&mut simulation, &subscribe("room"));
    speaker.say(&mut simulation, &subscribe("room"));
    deaf.heard();
    deaf.client.set_room(Some(0));
    let data = "x".repeat(data_bytes);
    let event = json!({"event": "client-x", "channel": "room", "data": data}).to_string();
    speaker.say(&mut simulation, &event);
    deaf.client.set_room(None);
    simulation.settle();
    let heard = deaf.heard();
    let is_kept = simulation.metrics().total(Counter::SlowConsumers) == 0;
    match heard.first() {
        Some(Heard::Message(message)) => assert!(is_kept && message["event"] == "client-x"),
        Some(Heard::Close(code, _)) => assert!(!is_kept && *code == 4100),
        other => panic!("{other:?}"),
    }
    is_kept
}

#[test]
fn what_waits_for_one_client_that_does_not_read() {
    for limit in [16 * 1024, 1024 * 1024] {
        // What one event needs beside its data: its other fields, a frame's header, a place in the list.
        let (mut kept, mut closed) = (limit - 256, limit);
        assert!(is_kept(limit, kept) && !is_kept(limit, closed));
        while closed - kept > 1 {
            let middle = kept + (closed - kept) / 2;
            if is_kept(limit, middle) { kept = middle } else { closed = middle }
        }
        assert!(is_kept(limit, kept) && !is_kept(limit, kept + 1), "{kept}");
    }
    assert_eq!(App::new("1", "k", "s").max_outbox_bytes, 1024 * 1024);
}
