//! A server in memory, on one core or several, and clients of it: its clock moves only when told.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stentor::Options;
use stentor::pusher::{self, App, Apps, Directory, Pusher};
use stentor::reactor::simulation::{self, Simulation};

use crate::client::{Heard, Talk, signed, upgrade};

pub(crate) fn in_memory(options: Options, apps: Vec<App>) -> Simulation<Pusher, Directory> {
    let apps = Arc::new(Apps::new(apps).unwrap());
    Simulation::new(options, |_core| {
        let path_prefix = "/ws".to_owned();
        let options = Arc::new(pusher::Options { path_prefix, ..pusher::Options::default() });
        let directory = Directory::new(Arc::clone(&apps), &options);
        (Pusher::new(Arc::clone(&apps), options), directory)
    })
}

/// A client that has been greeted.
pub(crate) struct Member {
    pub(crate) client: simulation::Client,
    pub(crate) talk: Talk,
    pub(crate) socket_id: String,
}

impl Member {
    /// One of app 1, on that core.
    pub(crate) fn join(simulation: &mut Simulation<Pusher, Directory>, core: usize) -> Self {
        let client = simulation.connect(core);
        let mut request = Vec::new();
        upgrade("/app/key").encode(&mut request).unwrap();
        client.send(&request);
        simulation.settle();
        let mut handshake = upgrade("/app/key").handshake();
        let mut first = handshake.receive(&client.take_received()).unwrap().unwrap().rest;
        let mut talk = Talk::new();
        talk.take(&mut first);
        let Some(Heard::Message(greeting)) = talk.next() else { panic!("no greeting") };
        let socket_id = greeting["data"]["socket_id"].as_str().unwrap().to_owned();
        Self { client, talk, socket_id }
    }

    pub(crate) fn say(&mut self, simulation: &mut Simulation<Pusher, Directory>, text: &str) {
        let frame = self.talk.text(text);
        self.client.send(&frame);
        simulation.settle();
    }

    /// Comes onto a presence channel as that user.
    pub(crate) fn enter(
        &mut self,
        simulation: &mut Simulation<Pusher, Directory>,
        channel: &str,
        channel_data: &str,
    ) {
        let text = signed(&self.socket_id, channel, Some(channel_data));
        self.say(simulation, &text);
    }

    /// What has come since.
    pub(crate) fn heard(&mut self) -> Vec<Heard> {
        let answers = self.talk.take(&mut self.client.take_received());
        self.client.send(&answers);
        std::iter::from_fn(|| self.talk.next()).collect()
    }

    /// What has come since, which is nothing but messages.
    pub(crate) fn messages(&mut self) -> Vec<Value> {
        let message = |heard| match heard {
            Heard::Message(value) => value,
            other => panic!("{other:?} instead of a message"),
        };
        self.heard().into_iter().map(message).collect()
    }
}

/// Lets seconds pass, one by one.
pub(crate) fn wait(simulation: &mut Simulation<Pusher, Directory>, seconds: u32) {
    for _ in 0..seconds {
        simulation.advance(Duration::from_secs(1));
        simulation.settle();
    }
}
