//! Users who leave a presence channel of an app that gives them time to come back.

use serde_json::{Value, json};
use stentor::Options;
use stentor::pusher::{App, Directory, Pusher};
use stentor::reactor::simulation::Simulation;

use crate::memory::{Member, in_memory, wait};
use crate::server::apps;

const ROOM: &str = "presence-room";

const DELAY_SECONDS: u32 = 3;

/// Ann, who stays, and Bob, who does not; two cores apart from each other and from the channel's home.
struct Scene {
    simulation: Simulation<Pusher, Directory>,
    ann: Member,
    bob: Member,
}

impl Scene {
    fn new(change: impl FnOnce(&mut App)) -> Self {
        let mut apps = apps();
        apps[0].member_removed_delay_seconds = DELAY_SECONDS;
        change(&mut apps[0]);
        let mut simulation = in_memory(Options { cores: 3, ..Options::default() }, apps);
        let home = simulation.home_of(&format!("1/{ROOM}"));
        let mut ann = Member::join(&mut simulation, (home + 1) % 3);
        let mut bob = Member::join(&mut simulation, (home + 2) % 3);
        ann.enter(&mut simulation, ROOM, r#"{"user_id":"ann"}"#);
        bob.enter(&mut simulation, ROOM, r#"{"user_id":"bob","user_info":1}"#);
        assert_eq!((ann.messages().len(), bob.messages().len()), (2, 1));
        Self { simulation, ann, bob }
    }

    /// Bob closes his page, and the others hear nothing of it.
    fn bob_goes(&mut self) {
        let close =
            self.bob.talk.frame(|ws, out| ws.close(stentor::CloseCode(1001), "", out).unwrap());
        self.bob.client.send(&close);
        self.simulation.settle();
        self.check_silent();
    }

    /// On another core than before.
    fn bob_comes_back(&mut self) {
        let home = self.simulation.home_of(&format!("1/{ROOM}"));
        self.bob = Member::join(&mut self.simulation, home);
        self.bob.enter(&mut self.simulation, ROOM, r#"{"user_id":"bob","user_info":2}"#);
    }

    fn check_silent(&mut self) {
        assert_eq!(self.ann.messages(), [Value::Null; 0]);
    }

    fn wait(&mut self, seconds: u32) {
        wait(&mut self.simulation, seconds);
    }
}

/// The list that a newcomer gets.
fn list(heard: &[Value]) -> &Value {
    assert_eq!(heard[0]["event"], "pusher_internal:subscription_succeeded");
    &heard[0]["data"]["presence"]
}

fn own(event: &str, data: &Value) -> Value {
    json!({"event": format!("pusher_internal:{event}"), "data": data, "channel": ROOM})
}

#[test]
fn whoever_is_back_in_time_was_never_gone() {
    let mut scene = Scene::new(|_| {});
    for _ in 0..3 {
        scene.bob_goes();
        scene.wait(DELAY_SECONDS - 1);
        scene.check_silent();
        scene.bob_comes_back();
        scene.check_silent();
        let heard = scene.bob.messages();
        let hash = json!({"ann": null, "bob": 2});
        assert_eq!(list(&heard), &json!({"count": 2, "ids": ["ann", "bob"], "hash": hash}));
    }
    scene.wait(10 * DELAY_SECONDS);
    scene.check_silent();
}

#[test]
fn whoever_is_not_back_is_missed_once_and_listed_until_then() {
    let mut scene = Scene::new(|_| {});
    scene.bob_goes();
    scene.wait(DELAY_SECONDS - 1);
    let mut eve = Member::join(&mut scene.simulation, 0);
    eve.enter(&mut scene.simulation, ROOM, r#"{"user_id":"eve"}"#);
    let hash = json!({"ann": null, "bob": 1, "eve": null});
    let all = json!({"count": 3, "ids": ["ann", "bob", "eve"], "hash": hash});
    assert_eq!(list(&eve.messages()), &all);
    assert_eq!(scene.ann.messages(), [own("member_added", &json!({"user_id": "eve"}))]);
    scene.wait(3);
    let removed = [own("member_removed", &json!({"user_id": "bob"}))];
    assert_eq!(scene.ann.messages(), removed);
    assert_eq!(eve.messages(), removed);
    scene.wait(10);
    scene.check_silent();
    scene.bob_comes_back();
    let added = own("member_added", &json!({"user_id": "bob", "user_info": 2}));
    assert_eq!(scene.ann.messages(), [added]);
}

#[test]
fn whoever_leaves_again_has_the_whole_time_again() {
    let mut scene = Scene::new(|_| {});
    scene.bob_goes();
    scene.wait(2);
    scene.bob_comes_back();
    scene.bob_goes();
    scene.wait(DELAY_SECONDS);
    scene.check_silent();
    scene.wait(2);
    assert_eq!(scene.ann.messages(), [own("member_removed", &json!({"user_id": "bob"}))]);
}

#[test]
fn a_user_with_another_connection_there_is_not_gone() {
    let mut scene = Scene::new(|_| {});
    let mut tab = Member::join(&mut scene.simulation, 0);
    tab.enter(&mut scene.simulation, ROOM, r#"{"user_id":"bob"}"#);
    scene.bob_goes();
    scene.wait(10);
    scene.check_silent();
}

#[test]
fn unsubscribing_is_leaving_too() {
    let mut scene = Scene::new(|_| {});
    let text = json!({"event": "pusher:unsubscribe", "data": {"channel": ROOM}}).to_string();
    scene.bob.say(&mut scene.simulation, &text);
    scene.wait(DELAY_SECONDS - 1);
    scene.check_silent();
    scene.wait(3);
    assert_eq!(scene.ann.messages(), [own("member_removed", &json!({"user_id": "bob"}))]);
}

#[test]
fn a_channel_that_everybody_has_left_lists_nobody() {
    let mut scene = Scene::new(|_| {});
    scene.bob_goes();
    let text = json!({"event": "pusher:unsubscribe", "data": {"channel": ROOM}}).to_string();
    scene.ann.say(&mut scene.simulation, &text);
    scene.ann.enter(&mut scene.simulation, ROOM, r#"{"user_id":"ann"}"#);
    assert_eq!(list(&scene.ann.messages())["count"], 1);
    scene.wait(10);
    scene.check_silent();
}

#[test]
fn whoever_is_listed_has_a_place_and_may_take_it_again() {
    let mut scene = Scene::new(|app| app.max_presence_members = Some(2));
    scene.bob_goes();
    let mut eve = Member::join(&mut scene.simulation, 0);
    eve.enter(&mut scene.simulation, ROOM, r#"{"user_id":"eve"}"#);
    assert_eq!(eve.messages()[0]["event"], "pusher:subscription_error");
    scene.bob_comes_back();
    assert_eq!(list(&scene.bob.messages())["count"], 2);
    scene.bob_goes();
    scene.wait(DELAY_SECONDS + 2);
    eve.enter(&mut scene.simulation, ROOM, r#"{"user_id":"eve"}"#);
    assert_eq!(list(&eve.messages())["count"], 2);
}

#[test]
fn without_a_delay_nobody_waits() {
    let mut scene = Scene::new(|app| app.member_removed_delay_seconds = 0);
    let close =
        scene.bob.talk.frame(|ws, out| ws.close(stentor::CloseCode(1001), "", out).unwrap());
    scene.bob.client.send(&close);
    scene.simulation.settle();
    assert_eq!(scene.ann.messages(), [own("member_removed", &json!({"user_id": "bob"}))]);
}
