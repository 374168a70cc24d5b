//! Lanes in virtual time: what goes together, in which order, and when it is tried again.

use proptest::prelude::*;

use super::*;
use crate::pusher::{Fact, FactKind};
use crate::webhooks::event;

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn options(change: impl FnOnce(&mut Options)) -> Arc<Options> {
    let mut options = Options { window: Duration::ZERO, ..Options::default() };
    change(&mut options);
    Arc::new(options)
}

fn target(app: &str, url: &str) -> Target {
    Target::new(app, url).unwrap()
}

fn occupied(app: &str, channel: &str) -> Arc<Event> {
    Arc::new(event::of(app, Fact::ChannelOccupied { channel }))
}

/// The channels that a request is about.
fn channels(job: &Job) -> Vec<&str> {
    job.events.iter().map(|event| &*event.channel).collect()
}

fn one_lane(change: impl FnOnce(&mut Options)) -> Lanes {
    Lanes::new(options(change), vec![target("1", "http://a/")])
}

#[test]
fn events_wait_for_the_window_unless_a_batch_is_full() {
    let mut lanes = one_lane(|options| {
        (options.window, options.batch) = (Duration::from_millis(50), 3);
    });
    lanes.add(&occupied("1", "a"), seconds(1));
    lanes.add(&occupied("1", "b"), seconds(1));
    assert_eq!(lanes.next_timeout(), Some(Duration::from_millis(1_050)));
    assert!(lanes.next_job(seconds(1)).is_none());
    lanes.add(&occupied("1", "c"), seconds(1));
    lanes.add(&occupied("1", "d"), seconds(1));
    let job = lanes.next_job(seconds(1)).unwrap();
    assert_eq!(channels(&job), ["a", "b", "c"]);
    assert!(lanes.next_job(seconds(9)).is_none(), "one request of a lane at a time");
    assert!(matches!(lanes.report(job.lane, true, seconds(2)), Verdict::Delivered { events: 3 }));
    assert_eq!(channels(&lanes.next_job(seconds(2)).unwrap()), ["d"]);
    assert_eq!(lanes.len(), 1);
}

#[test]
fn a_request_has_no_more_bytes_than_it_may_but_one_event_at_least() {
    let mut lanes = one_lane(|_| {});
    let long = "x".repeat(MOST_BODY_BYTES / 2);
    let longer = "y".repeat(MOST_BODY_BYTES * 2);
    for channel in [&long, &long, &longer, &long] {
        lanes.add(&occupied("1", channel), seconds(1));
    }
    let mut counts = Vec::new();
    while let Some(job) = lanes.next_job(seconds(2)) {
        counts.push(job.events.len());
        lanes.report(job.lane, true, seconds(2));
    }
    assert_eq!(counts, [1, 1, 1, 1], "the name stands twice in none of them");
}

#[test]
fn each_target_is_told_what_it_wants_of_its_own_app() {
    let mut cache = target("1", "http://cache/");
    cache.events = vec![FactKind::CacheMiss];
    let mut eu = target("1", "http://eu/");
    eu.channel_suffix = "-eu".to_owned();
    let targets = vec![cache, eu, target("2", "http://eu/")];
    let mut lanes = Lanes::new(options(|_| {}), targets);
    for event in [
        event::of("1", Fact::CacheMiss { channel: "cache-eu" }),
        event::of("1", Fact::ChannelVacated { channel: "room" }),
        event::of("1", Fact::ChannelVacated { channel: "room-eu" }),
        event::of("2", Fact::ChannelVacated { channel: "other" }),
        event::of("3", Fact::ChannelVacated { channel: "nobody" }),
    ] {
        lanes.add(&Arc::new(event), seconds(1));
    }
    let mut got: Vec<_> = std::iter::from_fn(|| lanes.next_job(seconds(1)))
        .map(|job| format!("{} {} {:?}", job.target.app, job.target.url, channels(&job)))
        .collect();
    got.sort_unstable();
    let expected = [
        r#"1 http://cache/ ["cache-eu"]"#,
        r#"1 http://eu/ ["cache-eu", "room-eu"]"#,
        r#"2 http://eu/ ["other"]"#,
    ];
    assert_eq!(got, expected);
}

/// The seconds at which a target that always fails is tried.
fn attempts(lanes: &mut Lanes) -> Vec<u64> {
    let mut times = Vec::new();
    while let Some(due) = lanes.next_timeout() {
        let job = lanes.next_job(due).unwrap();
        times.push(due.as_secs());
        if let Verdict::GivenUp { attempts, .. } = lanes.report(job.lane, false, due) {
            assert_eq!(attempts as usize, times.len());
            break;
        }
    }
    times
}

#[test]
fn a_target_that_fails_is_tried_again_for_five_minutes() {
    let mut lanes = one_lane(|_| {});
    lanes.add(&occupied("1", "a"), Duration::ZERO);
    assert_eq!(attempts(&mut lanes), [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    assert_eq!((lanes.len(), lanes.next_timeout()), (0, None));
}

#[test]
fn the_next_batch_has_five_minutes_of_its_own() {
    let mut lanes = one_lane(|options| options.batch = 1);
    lanes.add(&occupied("1", "a"), Duration::ZERO);
    lanes.add(&occupied("1", "b"), Duration::ZERO);
    attempts(&mut lanes);
    assert_eq!(attempts(&mut lanes), [243, 244, 246, 250, 258, 274, 306, 366, 426, 486]);
}

#[test]
fn what_comes_while_a_lane_rests_waits_behind_and_goes_in_the_next_request() {
    let mut lanes = one_lane(|_| {});
    lanes.add(&occupied("1", "a"), seconds(0));
    let job = lanes.next_job(seconds(0)).unwrap();
    lanes.report(job.lane, false, seconds(0));
    lanes.add(&occupied("1", "b"), seconds(0));
    assert!(lanes.next_job(Duration::from_millis(999)).is_none());
    let again = lanes.next_job(seconds(1)).unwrap();
    assert_eq!(channels(&again), ["a"]);
    lanes.report(again.lane, true, seconds(1));
    assert_eq!(channels(&lanes.next_job(seconds(1)).unwrap()), ["b"]);
}

#[test]
fn a_full_lane_loses_the_newest_and_counts_them() {
    let mut lanes = one_lane(|options| options.lane = 2);
    for channel in ["a", "b", "c", "d"] {
        lanes.add(&occupied("1", channel), seconds(0));
    }
    assert_eq!(channels(&lanes.next_job(seconds(0)).unwrap()), ["a", "b"]);
    assert_eq!((lanes.take_dropped(), lanes.take_dropped()), (2, 0));
}

#[test]
fn lanes_that_failed_leave_half_of_the_threads_to_the_others() {
    let targets = (0..6).map(|number| target("1", &format!("http://a/{number}"))).collect();
    let mut lanes = Lanes::new(options(|options| options.threads = 4), targets);
    lanes.add(&occupied("1", "a"), seconds(0));
    let mut failed = Vec::new();
    while let Some(job) = lanes.next_job(seconds(0)) {
        failed.push(job.lane);
        if failed.len().is_multiple_of(4) {
            failed.drain(..).for_each(|lane| {
                lanes.report(lane, false, seconds(0));
            });
        }
    }
    failed.drain(..).for_each(|lane| {
        lanes.report(lane, false, seconds(0));
    });
    let again: Vec<_> = std::iter::from_fn(|| lanes.next_job(seconds(1))).collect();
    assert_eq!(again.len(), 2);
    assert_eq!(lanes.next_timeout(), None, "the others wait for a thread, not for a time");
    lanes.report(again[0].lane, true, seconds(1));
    assert!(lanes.next_job(seconds(1)).is_some());
}

#[test]
fn at_the_end_all_that_waits_is_tried_once_more() {
    let mut lanes = one_lane(|options| (options.batch, options.window) = (2, seconds(60)));
    for channel in ["a", "b", "c"] {
        lanes.add(&occupied("1", channel), seconds(0));
    }
    let job = lanes.next_job(seconds(0)).unwrap();
    lanes.report(job.lane, false, seconds(0));
    lanes.end(seconds(0));
    for expected in [vec!["a", "b"], vec!["c"]] {
        let job = lanes.next_job(seconds(0)).unwrap();
        assert_eq!(channels(&job), expected);
        assert!(matches!(lanes.report(job.lane, false, seconds(0)), Verdict::GivenUp { .. }));
    }
    assert_eq!(lanes.len(), 0);
}

#[test]
fn targets_can_be_replaced_and_who_stays_keeps_what_waits() {
    let targets = vec![target("1", "http://a/"), target("1", "http://b/")];
    let mut lanes = Lanes::new(options(|_| {}), targets);
    lanes.add(&occupied("1", "a"), seconds(0));
    let mut stays = target("1", "http://b/");
    stays.secret = "new".to_owned();
    let under_way = lanes.next_job(seconds(0)).unwrap();
    assert_eq!(under_way.target.url.as_str(), "http://a/");
    assert_eq!(lanes.replace(vec![stays, target("2", "http://a/")]), 1);
    assert!(matches!(lanes.report(under_way.lane, true, seconds(0)), Verdict::Gone));
    let job = lanes.next_job(seconds(0)).unwrap();
    assert_eq!((job.target.secret.as_str(), channels(&job)), ("new", vec!["a"]));
    assert!(lanes.next_job(seconds(0)).is_none());
    lanes.add(&occupied("2", "b"), seconds(0));
    assert_eq!(channels(&lanes.next_job(seconds(0)).unwrap()), ["b"]);
}

#[derive(Clone, Debug)]
enum Step {
    Happens { app: u8, channel: u8 },
    Send,
    End { which: prop::sample::Index, is_delivered: bool },
    Wait { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_u8, 0..3_u8).prop_map(|(app, channel)| Step::Happens { app, channel }),
        2 => Just(Step::Send),
        2 => (any::<prop::sample::Index>(), prop::bool::weighted(0.7))
            .prop_map(|(which, is_delivered)| Step::End { which, is_delivered }),
        1 => (0..3_000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

proptest! {
    /// Whatever fails and however long it takes: a request is of one app and one target, each target gets the events
    /// that it wants in their order, none twice, and all of them in the end.
    #[test]
    fn each_target_hears_its_events_in_order_and_nothing_else(steps in prop::collection::vec(step(), 0..120)) {
        let mut odd = target("1", "http://odd/");
        odd.channel_prefix = "c1".to_owned();
        let targets = vec![target("0", "http://a/"), target("1", "http://a/"), odd];
        let mut lanes = Lanes::new(
            options(|options| {
                (options.batch, options.threads, options.window) = (3, 2, Duration::from_millis(50));
                options.retry_for = seconds(1_000_000);
            }),
            targets.clone(),
        );
        let (mut now, mut number) = (Duration::ZERO, 0);
        let mut happened: Vec<(String, String)> = Vec::new();
        let mut under_way: Vec<Job> = Vec::new();
        let mut heard: HashMap<(String, String), Vec<String>> = HashMap::new();
        let mut end = |lanes: &mut Lanes, job: Job, is_delivered, now| {
            assert!(job.events.len() <= 3 && job.events.iter().all(|event| *event.app == *job.target.app));
            if let Verdict::Delivered { .. } = lanes.report(job.lane, is_delivered, now) {
                let of = (job.target.app.clone(), job.target.url.to_string());
                heard.entry(of).or_default().extend(channels(&job).into_iter().map(str::to_owned));
            }
        };
        for step in steps {
            match step {
                Step::Happens { app, channel } => {
                    let (app, channel) = (app.to_string(), format!("c{channel}-{number}"));
                    number += 1;
                    lanes.add(&occupied(&app, &channel), now);
                    happened.push((app, channel));
                }
                Step::Send => under_way.extend(lanes.next_job(now)),
                Step::End { which, is_delivered } if !under_way.is_empty() => {
                    let job = under_way.remove(which.index(under_way.len()));
                    end(&mut lanes, job, is_delivered, now);
                }
                Step::End { .. } => {}
                Step::Wait { millis } => now += Duration::from_millis(millis),
            }
            prop_assert!(under_way.len() <= 2);
        }
        for _ in 0..1_000 {
            under_way.extend(lanes.next_job(now));
            match under_way.pop() {
                Some(job) => end(&mut lanes, job, true, now),
                None => match lanes.next_timeout() {
                    Some(due) => now = due,
                    None => break,
                },
            }
        }
        prop_assert_eq!(lanes.len(), 0);
        for target in &targets {
            let wanted: Vec<_> = happened.iter()
                .filter(|(app, channel)| *app == target.app && channel.starts_with(&target.channel_prefix))
                .map(|(_, channel)| channel.clone()).collect();
            let of = (target.app.clone(), target.url.to_string());
            prop_assert_eq!(heard.get(&of).cloned().unwrap_or_default(), wanted);
        }
    }
}
