//! The laws of the fan-out, judged on a history. Each is a plain sentence; none knows how the server works. Pure.

use std::collections::{HashMap, HashSet};

use super::history::{EventId, History, Ordered, Stay, TOPICS};

/// How much must be true by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    /// Something may be under way.
    No,
    /// Nothing is: what was published was heard.
    Yes,
    /// Nothing is, and some cores have ended with what was under way to them.
    Ended,
}

/// Judges a history; says what is wrong.
pub(crate) fn judge(history: &History, rest: Rest) -> Result<(), String> {
    if let Some(fault) = history.faults.first() {
        return Err(fault.clone());
    }
    for topic in 0..TOPICS {
        published_once_and_in_order(history, topic)?;
    }
    if rest == Rest::Yes {
        nothing_published_is_lost(history)?;
    }
    history.stays.iter().try_for_each(|stay| {
        heard_only_what_is_for_it(history, stay)?;
        heard_a_stretch(history, stay, rest)
    })
}

/// A home orders what handlers published, each event once, and each publisher's in the order in which it spoke.
fn published_once_and_in_order(history: &History, topic: usize) -> Result<(), String> {
    let mut last: HashMap<usize, EventId> = HashMap::new();
    let mut seen = HashSet::new();
    for Ordered { event, .. } in &history.orders[topic] {
        let known = &history.events[*event];
        if known.topic != topic {
            return Err(format!("event {event} of topic {} is ordered in {topic}", known.topic));
        }
        if known.accepted.is_none() {
            return Err(format!("event {event} is ordered and no handler published it"));
        }
        if !seen.insert(event) {
            return Err(format!("event {event} is ordered twice"));
        }
        let before = last.insert(known.publisher, *event);
        if let Some(before) = before.filter(|before| before > event) {
            let publisher = known.publisher;
            return Err(format!(
                "guest {publisher} published {event} before {before}, ordered after"
            ));
        }
    }
    Ok(())
}

fn nothing_published_is_lost(history: &History) -> Result<(), String> {
    let ordered: HashSet<EventId> = history.orders.iter().flatten().map(|it| it.event).collect();
    let accepted = history.events.iter().enumerate().filter(|(_, it)| it.accepted.is_some());
    for (event, _) in accepted {
        if !ordered.contains(&event) {
            return Err(format!("event {event} was published and never ordered"));
        }
    }
    Ok(())
}

fn heard_only_what_is_for_it(history: &History, stay: &Stay) -> Result<(), String> {
    let Stay { guest, topic, .. } = stay;
    for event in &stay.heard {
        let Some(known) = history.events.get(*event) else {
            return Err(format!("guest {guest} heard event {event}, which nobody published"));
        };
        if known.topic != *topic {
            let other = known.topic;
            return Err(format!("guest {guest} heard event {event} of topic {other} on {topic}"));
        }
        if known.except == Some(*guest) {
            return Err(format!("guest {guest} heard event {event}, which was not for it"));
        }
    }
    Ok(())
}

/// What a stay heard is one stretch of its topic's order but for what was not for it: it begins no later than with what
/// was ordered after the admission and, while the guest stays and nothing is under way, ends with the last.
fn heard_a_stretch(history: &History, stay: &Stay, rest: Rest) -> Result<(), String> {
    let Stay { guest, topic, heard, admitted, .. } = stay;
    let is_for_it = |it: &&Ordered| history.events[it.event].except != Some(*guest);
    let order: Vec<Ordered> = history.orders[*topic].iter().filter(is_for_it).copied().collect();
    let must_begin = order.iter().position(|it| it.at > *admitted).unwrap_or(order.len());
    let begin = match heard.first() {
        None => must_begin,
        Some(first) => {
            let begin = order.iter().position(|it| it.event == *first);
            begin.ok_or_else(|| {
                format!("guest {guest} heard event {first}, which no home ordered")
            })?
        }
    };
    if begin > must_begin {
        let missed = order[must_begin].event;
        return Err(format!(
            "guest {guest} missed event {missed} of topic {topic}, ordered after its admission"
        ));
    }
    let end = begin + heard.len();
    let stretch = order.get(begin..end.min(order.len())).unwrap_or_default();
    if let Some((there, heard)) =
        stretch.iter().zip(heard).find(|(there, heard)| there.event != **heard)
    {
        let there = there.event;
        return Err(format!("guest {guest} heard {heard} where topic {topic} has event {there}"));
    }
    if end > order.len() {
        return Err(format!("guest {guest} heard more of topic {topic} than there is: {heard:?}"));
    }
    if rest == Rest::Yes && stay.is_open && end < order.len() {
        let missed = order[end].event;
        return Err(format!("guest {guest} is on topic {topic} and did not hear event {missed}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::history::Event;

    /// Guests 0 and 1 published 0 to 3 on topic 2, event 2 not for guest 1; guest 1 was admitted after event 0.
    fn sound() -> History {
        let mut history = History::default();
        for (publisher, except) in [(0, None), (1, None), (0, Some(1)), (1, None)] {
            history.intend(publisher, 2, except, 5);
        }
        for event in 0..4 {
            history.accept(event);
            history.order(2, event);
            if event == 0 {
                history.admit(1, 2);
            }
        }
        let admitted = history.admissions[&(1, 2)][0];
        let stay = Stay { guest: 1, topic: 2, admitted, heard: vec![1, 3], is_open: true };
        history.stays.push(stay);
        history
    }

    #[track_caller]
    fn check(doctor: impl FnOnce(&mut History), rest: Rest, expected: &str) {
        let mut history = sound();
        doctor(&mut history);
        let found = judge(&history, rest).err().unwrap_or_default();
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{found}");
    }

    #[test]
    fn a_sound_history_breaks_no_law() {
        check(|_| (), Rest::Yes, "");
        check(|history| history.stays[0].heard.insert(0, 0), Rest::Yes, "");
        check(|history| _ = history.stays[0].heard.pop(), Rest::No, "");
        check(|history| history.stays[0].heard.clear(), Rest::No, "");
    }

    #[test]
    fn who_misses_something_is_noticed() {
        check(|it| _ = it.stays[0].heard.remove(0), Rest::No, "missed event 1");
        check(|it| _ = it.stays[0].heard.pop(), Rest::Yes, "did not hear event 3");
        check(|it| it.stays[0].heard.clear(), Rest::Yes, "did not hear event 1");
        let gap = |it: &mut History| {
            it.events[2].except = None;
        };
        check(gap, Rest::No, "heard 3 where topic 2 has event 2");
    }

    #[test]
    fn what_is_heard_twice_or_in_another_order_is_noticed() {
        check(|it| it.stays[0].heard = vec![1, 1], Rest::No, "heard 1 where topic 2 has event 3");
        check(|it| it.stays[0].heard = vec![3, 1], Rest::No, "missed event 1");
        check(|it| it.stays[0].heard = vec![0, 3, 1], Rest::No, "heard 3 where");
        check(|it| it.stays[0].heard = vec![1, 3, 3], Rest::No, "more of topic 2 than there is");
    }

    #[test]
    fn what_is_not_for_a_guest_is_noticed() {
        check(|it| it.stays[0].heard = vec![1, 2, 3], Rest::No, "which was not for it");
        check(|it| it.stays[0].topic = 1, Rest::No, "of topic 2 on 1");
        check(|it| it.stays[0].heard = vec![9], Rest::No, "which nobody published");
    }

    #[test]
    fn what_a_home_loses_repeats_or_turns_round_is_noticed() {
        check(|it| _ = it.orders[2].pop(), Rest::Yes, "never ordered");
        let again = |it: &mut History| {
            let first = it.orders[2][0];
            it.orders[2].push(first);
        };
        check(again, Rest::No, "ordered twice");
        check(|it| it.orders[2].swap(0, 2), Rest::No, "guest 0 published");
        check(|it| it.orders[1] = it.orders[2].clone(), Rest::No, "is ordered in 1");
        check(|it| it.events[3].accepted = None, Rest::No, "no handler published it");
        let never = Event { topic: 2, publisher: 0, except: None, bytes: 0, accepted: None };
        check(|it| it.events.push(never), Rest::Yes, "");
    }

    #[test]
    fn what_a_witness_found_at_once_is_told() {
        check(|it| it.fault("the third pong came first"), Rest::No, "the third pong");
    }
}
