//! The watchlist of one signed-in client: what it is told of the users that it watches. Pure.
//!
//! ```text
//!   sign-in ──▶ one question to each user's home ──▶ answers, in any order ──▶ one message with the state of all
//!                                                     changes meanwhile ──┘    then one message for each change
//! ```

/// The users of a watchlist, while their first states are awaited.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Watchlist {
    /// In the order of the list. `None`: its home has not answered. Empty once all have.
    states: Vec<(Box<str>, Option<bool>)>,
    is_asked: bool,
}

/// Users by what they are now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct States {
    pub(super) online: Vec<Box<str>>,
    pub(super) offline: Vec<Box<str>>,
}

impl Watchlist {
    /// Of these users, whose homes are about to be asked.
    pub(super) fn of(users: impl Iterator<Item = Box<str>>) -> Self {
        Self { states: users.map(|user| (user, None)).collect(), is_asked: false }
    }

    /// The users whose homes are to be asked: each time but the first, none.
    pub(super) fn ask(&mut self) -> Vec<Box<str>> {
        if std::mem::replace(&mut self.is_asked, true) {
            return Vec::new();
        }
        self.states.iter().map(|(user, _)| user.clone()).collect()
    }

    /// A home has answered, or has told of a change. What the client is to be told: all states, once the last one is
    /// known; after that, the change.
    pub(super) fn learn(&mut self, user: &str, is_online: bool) -> Option<States> {
        if self.states.is_empty() {
            return Some(States::change(user, is_online));
        }
        if let Some((_, state)) = self.states.iter_mut().find(|(other, _)| **other == *user) {
            *state = Some(is_online);
        }
        if self.states.iter().any(|(_, state)| state.is_none()) {
            return None;
        }
        let mut states = States::default();
        for (user, is_online) in std::mem::take(&mut self.states) {
            if is_online == Some(true) { &mut states.online } else { &mut states.offline }
                .push(user);
        }
        Some(states)
    }
}

impl States {
    /// A single change.
    fn change(user: &str, is_online: bool) -> Self {
        let (users, none) = (vec![user.into()], Vec::new());
        if is_online {
            Self { online: users, offline: none }
        } else {
            Self { online: none, offline: users }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(users: &[&str]) -> Watchlist {
        Watchlist::of(users.iter().map(|&user| user.into()))
    }

    #[test]
    fn the_first_message_has_the_state_of_all() {
        let mut list = list(&["a", "b", "c"]);
        assert_eq!(list.learn("c", true), None);
        assert_eq!(list.learn("a", false), None);
        let expected = States { online: vec!["b".into(), "c".into()], offline: vec!["a".into()] };
        assert_eq!(list.learn("b", true), Some(expected));
    }

    #[test]
    fn a_change_before_all_are_known_is_the_state() {
        let mut list = list(&["a", "b"]);
        assert_eq!(list.learn("a", false), None);
        assert_eq!(list.learn("a", true), None);
        let expected = States { online: vec!["a".into()], offline: vec!["b".into()] };
        assert_eq!(list.learn("b", false), Some(expected));
    }

    #[test]
    fn a_change_after_that_is_told_alone() {
        let mut list = list(&["a"]);
        let online = States { online: vec!["a".into()], offline: Vec::new() };
        let offline = States { online: Vec::new(), offline: vec!["a".into()] };
        assert_eq!(list.learn("a", false), Some(offline.clone()));
        assert_eq!(list.learn("a", true), Some(online));
        assert_eq!(list.learn("a", false), Some(offline));
    }

    #[test]
    fn homes_are_asked_once() {
        let mut list = list(&["a", "b"]);
        assert_eq!(list.ask(), ["a".into(), "b".into()]);
        assert!(list.ask().is_empty());
    }
}
