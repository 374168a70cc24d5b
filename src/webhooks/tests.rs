//! What a core does with a fact: leave it, offer it, or count it as lost.

use super::*;

fn targets(kinds: &[FactKind]) -> Vec<Target> {
    let mut target = Target::new("1", "http://127.0.0.1:9/").unwrap();
    target.events = kinds.to_vec();
    vec![target]
}

/// The kinds that a core tells of, for a target that wants these.
fn check(kinds: &[FactKind], expected: &[FactKind]) {
    let wanted = Wanted::default();
    wanted.set(&targets(kinds));
    let got: Vec<_> =
        FactKind::ALL.into_iter().filter(|kind| wanted.mask("1") & bit(*kind) != 0).collect();
    assert_eq!(got, expected);
    assert_eq!(wanted.mask("2"), 0);
}

#[test]
fn a_core_tells_only_what_some_target_of_the_app_wants() {
    use FactKind as K;
    check(&[K::CacheMiss], &[K::CacheMiss]);
    check(&[K::ClientEvent, K::SubscriptionCount], &[K::ClientEvent, K::SubscriptionCount]);
    check(&[], &[]);
}

#[test]
fn of_comings_and_goings_it_tells_both() {
    use FactKind as K;
    check(&[K::ChannelVacated], &[K::ChannelOccupied, K::ChannelVacated]);
    check(&[K::MemberAdded], &[K::MemberAdded, K::MemberRemoved]);
}

#[test]
fn what_the_queue_cannot_hold_is_counted_and_the_core_goes_on() {
    let (events, queue) = bounded(2);
    let (orders, _control) = bounded(1);
    let (_end, ended) = bounded(0);
    let metrics = Metrics::new(1);
    let shared = Shared {
        wanted: Wanted::default(),
        room: Room::new(1_000),
        dropped: AtomicU64::new(0),
        metrics: metrics.clone(),
    };
    shared.wanted.set(&targets(&FactKind::ALL));
    let stop_within = Duration::ZERO;
    let webhooks = Webhooks { shared: Arc::new(shared), events, orders, ended, stop_within };
    let app = App::new("1", "key", "secret");
    for _ in 0..5 {
        webhooks.note(&app, Fact::ChannelOccupied { channel: "a" });
    }
    assert_eq!((queue.len(), metrics.total(Counter::WebhooksDropped)), (2, 3));
    let _ = queue.try_iter().count();
    let channel = "x".repeat(1_000);
    webhooks.note(&app, Fact::ChannelOccupied { channel: &channel });
    assert_eq!((queue.len(), metrics.total(Counter::WebhooksDropped)), (0, 4), "too many bytes");
    webhooks.note(&App::new("2", "key", "secret"), Fact::ChannelOccupied { channel: "a" });
    assert_eq!((queue.len(), metrics.total(Counter::WebhooksDropped)), (0, 4), "not wanted");
}
