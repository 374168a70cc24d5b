//! What subscribing costs a whole server, counted in allocations: they do not depend on the machine.

use allocation_counter::{AllocationInfo, measure};

use super::super::presence::{Member, MemberLimits};
use super::super::{App, message};
use super::server::{Server, Talk};
use crate::{ConnId, MessageKind, Options, Prepared};

fn start(cores: usize) -> Server {
    Server::start(Options { cores, ..Options::default() }, App::new("1", "key", "secret"))
}

/// What one of these costs: the least of several, because a table grows once in a while, when its hashes say so.
fn cost_of(mut act: impl FnMut() -> AllocationInfo) -> (u64, u64) {
    let costs = (0..10).map(|_| act()).map(|info| (info.count_total, info.bytes_total));
    costs.min().expect("ten of them")
}

/// A subscription, and what it costs from the frame that asks to the frame that answers. It is given up again.
fn subscribe(server: &mut Server, talk: &mut Talk, channel: &str, wish: &str) -> AllocationInfo {
    talk.say(wish);
    let info = measure(|| server.simulation.settle());
    talk.unsubscribe(channel);
    server.simulation.settle();
    info
}

fn member(user: u32) -> String {
    format!(r#"{{"user_id":"{user}","user_info":{{"name":"Member {user}"}}}}"#)
}

/// A presence channel with that many users on it, as its home knows them. They hear nothing, so that what it costs to
/// tell them is counted elsewhere; one user listens, on the core of a client who may join.
fn crowd(users: u32) -> (Server, Talk, String) {
    let mut server = start(4);
    let channel = server.channel_at("presence-", 1);
    let mut resident = server.connect(2);
    resident.subscribe(&channel, Some(&member(0)));
    server.simulation.settle();
    let (_, directory) = server.simulation.applications().nth(1).unwrap();
    let members = directory.presence.get_mut(&format!("1/{channel}")).unwrap();
    let limits = MemberLimits { bytes: 1_000, user_id_characters: 100 };
    for user in 1..users {
        let conn = ConnId::new(3, user, 1);
        members.join(conn, Member::read(&member(user), limits).unwrap(), usize::MAX).unwrap();
    }
    resident.client.sink();
    let joiner = server.connect(2);
    (server, joiner, channel)
}

/// What the list costs that a joiner is sent: written and framed, once.
fn cost_of_list(server: &mut Server, channel: &str) -> (u64, u64) {
    let (_, directory) = server.simulation.applications().nth(1).unwrap();
    let members = &directory.presence[&format!("1/{channel}")];
    cost_of(|| {
        measure(|| {
            let mut json = Vec::new();
            message::write_presence_succeeded(&mut json, channel, members);
            drop(Prepared::new(MessageKind::Text, &json));
        })
    })
}

/// What a join costs apart from the list that the joiner is sent.
fn cost_of_join(users: u32, user: u32) -> (u64, u64) {
    let (mut server, mut joiner, channel) = crowd(users);
    joiner.client.sink();
    let wish = joiner.subscription("secret", &channel, Some(&member(user)));
    // A newcomer is on its own list; for the list's cost it stays there.
    let list = if user < users {
        cost_of_list(&mut server, &channel)
    } else {
        joiner.say(&wish);
        server.simulation.settle();
        let list = cost_of_list(&mut server, &channel);
        joiner.unsubscribe(&channel);
        server.simulation.settle();
        list
    };
    let join = cost_of(|| subscribe(&mut server, &mut joiner, &channel, &wish));
    (join.0 - list.0, join.1 - list.1)
}

#[test]
fn a_join_among_10_000_costs_what_it_costs_among_100_but_for_the_list() {
    let second_connection = [cost_of_join(100, 7), cost_of_join(10_000, 7)];
    assert_eq!(second_connection[0], second_connection[1], "a user's second connection");
    let newcomer = [cost_of_join(100, 77_777), cost_of_join(10_000, 77_777)];
    assert_eq!(newcomer[0], newcomer[1], "a new user");
    assert!(newcomer[0].0 < 40, "{newcomer:?}: the first figure counts allocations");
}

#[test]
fn telling_members_of_a_newcomer_allocates_nothing_for_each_of_them() {
    let cost = |listeners: usize| {
        let mut server = start(2);
        let channel = server.channel_at("presence-", 0);
        let mut talks = Vec::new();
        for _ in 0..listeners {
            let mut talk = server.connect(1);
            // Many connections of one user: the list stays as short as it is.
            talk.subscribe(&channel, Some(&member(0)));
            talk.client.sink();
            talks.push(talk);
        }
        let mut joiner = server.connect(0);
        server.simulation.settle();
        let wish = joiner.subscription("secret", &channel, Some(&member(1)));
        cost_of(|| subscribe(&mut server, &mut joiner, &channel, &wish))
    };
    assert_eq!(cost(2), cost(400));
}

#[test]
fn a_refused_subscription_costs_less_than_an_accepted_one_and_leaves_nothing() {
    for cores in [1, 2] {
        let mut server = start(cores);
        let (own, shared) = ("private-own", server.channel_at("private-shared-", 0));
        let mut resident = server.connect(0);
        resident.subscribe(&shared, None);
        let mut talk = server.connect(0);
        // What it is sent is counted by the simulation alone, which keeps nothing of it.
        talk.client.sink();
        server.simulation.settle();
        let tables = |server: &Server| (server.simulation.topics(), server.simulation.homes());
        let before = tables(&server);
        for channel in [own, &shared] {
            let right = talk.subscription("secret", channel, None);
            let accepted = cost_of(|| subscribe(&mut server, &mut talk, channel, &right));
            let wrong = talk.subscription("guess", channel, None);
            assert_eq!(wrong.len(), right.len());
            let refused = cost_of(|| {
                talk.say(&wrong);
                let info = measure(|| server.simulation.settle());
                assert_eq!(tables(&server), before);
                info
            });
            assert_eq!(refused, (0, 0), "{channel}: allocations, and bytes of them");
            // Where others of its core are on the channel, even who is accepted finds all tables large enough.
            assert!(accepted > refused || channel == shared, "{channel}: {accepted:?}");
        }
    }
}
