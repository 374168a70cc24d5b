//! A core that can name no more connections.

use super::*;
use crate::metrics::Counter;

#[test]
fn who_comes_when_a_core_can_name_no_more_is_refused_and_counted_and_nobody_else_notices() {
    let (mut simulation, _log) = obedient(cores(2));
    simulation.limit_connections(2);
    let mut first = Ws::open(&mut simulation, 0, 1);
    let mut second = Ws::open(&mut simulation, 0, 2);
    for count in 1..=3 {
        let refused = simulation.connect(0);
        refused.send(upgrade(3).as_bytes());
        simulation.settle();
        assert!(refused.is_dropped() && refused.take_received().is_empty());
        let metrics = simulation.metrics();
        assert_eq!(metrics.core(0).get(Counter::ConnectionsRefused), count);
        for client in [&mut first, &mut second] {
            client.say("still here");
        }
        simulation.settle();
        assert_eq!(
            (first.heard(), second.heard()),
            (vec!["still here".to_owned()], vec!["still here".to_owned()])
        );
    }
    // The other core has names of its own, and a name that is free again is given.
    Ws::open(&mut simulation, 1, 4);
    second.client.finish();
    simulation.settle();
    Ws::open(&mut simulation, 0, 5);
    assert_eq!(simulation.metrics().total(Counter::ConnectionsRefused), 3);
    assert_eq!(simulation.metrics().total(Counter::Accepted), 4);
}
