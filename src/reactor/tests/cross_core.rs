//! Publisher, home and listener on one core, on two, on three: the order and the promises are the same.

use super::*;

#[test]
fn publisher_home_and_listener_may_each_be_on_any_core() {
    for publisher in 0..3 {
        for home in 0..3 {
            for listener in 0..3 {
                let (mut simulation, _) = obedient(cores(3));
                let topic = topic_at(&simulation, home);
                let mut hears = Ws::open(&mut simulation, listener, 1);
                let mut speaks = Ws::open(&mut simulation, publisher, 2);
                hears.say(&format!("sub {topic}"));
                simulation.settle();
                for number in 0..5 {
                    speaks.say(&format!("pub {topic} {number}"));
                }
                simulation.settle();
                let expected = [format!("subscribed {topic}")]
                    .into_iter()
                    .chain((0..5).map(|it| it.to_string()));
                assert_eq!(
                    hears.heard(),
                    expected.collect::<Vec<_>>(),
                    "{publisher} → {home} → {listener}"
                );
                assert_eq!(speaks.heard(), [""; 0]);
            }
        }
    }
}

#[test]
fn all_subscribers_hear_one_order_whoever_publishes() {
    let (mut simulation, _) = obedient(cores(4));
    let mut all: Vec<Ws> = (0..12).map(|number| Ws::open(&mut simulation, number % 4, 0)).collect();
    all.iter_mut().for_each(|ws| ws.say("sub t"));
    simulation.settle();
    for round in 0..20 {
        for (number, ws) in all.iter_mut().enumerate() {
            ws.say(&format!("pub t {number}/{round}"));
        }
        // Not all cores turn equally often.
        simulation.turn(round % 4);
    }
    simulation.settle();
    let heard: Vec<Vec<String>> = all.iter_mut().map(Ws::heard).collect();
    assert_eq!(heard[0].len(), 1 + 20 * 12);
    for others in &heard[1..] {
        assert_eq!(others, &heard[0]);
    }
    for publisher in 0..12 {
        let of_one: Vec<_> =
            heard[0].iter().filter(|text| text.starts_with(&format!("{publisher}/"))).collect();
        assert!(
            of_one.is_sorted_by_key(|text| text.split('/').nth(1).unwrap().parse::<u32>().unwrap())
        );
    }
}

#[test]
fn whoever_was_told_that_it_is_subscribed_hears_all_that_follows_and_nothing_before() {
    for home in 0..2 {
        let (mut simulation, _) = obedient(cores(2));
        let topic = topic_at(&simulation, home);
        let mut speaks = Ws::open(&mut simulation, 0, 1);
        let mut hears = Ws::open(&mut simulation, 1, 2);
        let mut published = 0;
        for round in 0..50 {
            hears.say(&format!("sub {topic}"));
            for _ in 0..3 {
                speaks.say(&format!("pub {topic} {published}"));
                published += 1;
                simulation.turn(round % 2);
            }
            simulation.settle();
            hears.say(&format!("unsub {topic}"));
            speaks.say(&format!("pub {topic} {published}"));
            published += 1;
            simulation.settle();
            let heard = hears.heard();
            assert_eq!(heard[0], format!("subscribed {topic}"));
            assert_eq!(heard.iter().filter(|text| text.starts_with("unsub")).count(), 1);
            let numbers: Vec<u32> = heard.iter().filter_map(|text| text.parse().ok()).collect();
            assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a gap: {heard:?}");
            assert_eq!(heard.last().map(|text| text.starts_with("unsub")), Some(true), "{heard:?}");
        }
        assert_eq!((simulation.topics(), simulation.homes()), (0, 0));
    }
}

#[test]
fn the_sender_can_be_left_out_from_any_core() {
    for sender in 0..2 {
        let (mut simulation, _) = obedient(cores(2));
        let mut speaks = Ws::open(&mut simulation, sender, 1);
        let mut hears = Ws::open(&mut simulation, 0, 2);
        speaks.say("sub t");
        hears.say("sub t");
        simulation.settle();
        speaks.say("others t hello");
        simulation.settle();
        assert_eq!(speaks.heard(), ["subscribed t"]);
        assert_eq!(hears.heard(), ["subscribed t", "hello"]);
    }
}

#[test]
fn subscribing_twice_is_confirmed_twice_and_heard_once() {
    let (mut simulation, _) = obedient(cores(2));
    let mut ws = Ws::open(&mut simulation, 0, 1);
    ws.say("sub t");
    simulation.settle();
    ws.say("sub t");
    ws.say("pub t once");
    simulation.settle();
    assert_eq!(ws.heard(), ["subscribed t", "subscribed t", "once"]);
    ws.say("unsub t");
    ws.say("unsub t");
    simulation.settle();
    assert_eq!(ws.heard(), ["unsub true", "unsub false"]);
    assert_eq!((simulation.topics(), simulation.homes()), (0, 0));
}

#[test]
fn the_home_counts_the_subscribers_of_all_cores() {
    let (mut simulation, _) = obedient(cores(3));
    let mut all: Vec<Ws> = (0..7).map(|number| Ws::open(&mut simulation, number % 3, 0)).collect();
    all.iter_mut().for_each(|ws| ws.say("sub t"));
    simulation.settle();
    all[0].say("ask t");
    simulation.settle();
    all.pop().unwrap().close(1000);
    all[1].say("unsub t");
    simulation.settle();
    all[0].say("ask t");
    simulation.settle();
    all[0].say("ask nobody");
    simulation.settle();
    assert_eq!(all[0].heard(), ["subscribed t", "answer 7 7", "answer 7 5", "answer 7 0"]);
}

#[test]
fn a_connection_that_ends_leaves_nothing_behind() {
    let (mut simulation, log) = obedient(cores(3));
    let mut all: Vec<Ws> = (0..9).map(|number| Ws::open(&mut simulation, number % 3, 0)).collect();
    for (number, ws) in all.iter_mut().enumerate() {
        for topic in 0..20 {
            ws.say(&format!("sub {}", topic * (number % 4 + 1)));
        }
    }
    simulation.settle();
    assert!(simulation.topics() > 20 && simulation.homes() > 20);
    for (number, ws) in all.iter_mut().enumerate() {
        if number % 2 == 0 { ws.client.finish() } else { ws.close(1000) }
    }
    simulation.settle();
    assert_eq!((simulation.topics(), simulation.homes()), (0, 0));
    all.iter_mut().for_each(|ws| ws.client.finish());
    simulation.settle();
    assert_eq!(simulation.connections(), 0);
    assert_eq!(log.borrow().iter().filter(|line| line.contains("close")).count(), 9);
}

#[test]
fn a_mailbox_without_room_delays_and_loses_nothing() {
    let (mut simulation, _) =
        obedient(Options { cores: 2, mailbox_posts: 3, ..Options::default() });
    let topic = topic_at(&simulation, 1);
    let mut hears = Ws::open(&mut simulation, 0, 1);
    let mut speaks = Ws::open(&mut simulation, 0, 2);
    hears.say(&format!("sub {topic}"));
    simulation.settle();
    hears.heard();
    for number in 0..100 {
        speaks.say(&format!("pub {topic} {number}"));
    }
    simulation.settle();
    assert_eq!(hears.heard(), (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_connection_may_be_on_so_many_topics_and_no_more() {
    let (mut simulation, _) =
        obedient(Options { cores: 1, subscriptions: 2, topic_bytes: 3, ..Options::default() });
    let mut ws = Ws::open(&mut simulation, 0, 1);
    for topic in ["a", "b", "c", "a", "four"] {
        ws.say(&format!("sub {topic}"));
    }
    simulation.settle();
    let heard = ws.heard();
    assert_eq!(heard.len(), 5, "{heard:?}");
    assert!(heard.contains(&"TooMany { limit: 2 }".to_owned()));
    assert!(heard.contains(&"TopicTooLong { bytes: 4, limit: 3 }".to_owned()));
}
