//! Members against a plain model, and what joining costs however many there are.

use proptest::prelude::*;

use super::*;

const LIMITS: MemberLimits = MemberLimits { bytes: 100, user_id_characters: 20 };

fn conn(number: u32) -> ConnId {
    ConnId::new(0, number, 1)
}

fn member(id: &str, info: &str) -> Member {
    Member::read(&format!(r#"{{"user_id":"{id}","user_info":{info}}}"#), LIMITS).unwrap()
}

fn check(channel_data: &str, expected: Result<(&str, &str, Option<&str>), MemberError>) {
    let got = Member::read(channel_data, LIMITS);
    let got = got.as_ref().map(|member| (member.id(), member.literal(), member.info()));
    assert_eq!(got.map_err(|error| *error), expected, "{channel_data}");
}

#[test]
fn ids_are_strings_or_integers_and_keep_their_type() {
    check(r#"{"user_id":"7"}"#, Ok(("7", r#""7""#, None)));
    check(r#"{"user_id": 7}"#, Ok(("7", "7", None)));
    check(r#"{"user_id":0}"#, Ok(("0", "0", None)));
    check(r#"{"user_id":-12}"#, Ok(("-12", "-12", None)));
    check(r#"{"user_id":"\u0037"}"#, Ok(("7", r#""\u0037""#, None)));
    for id in ["1.5", "1e2", "true", "[]", "{}", r#""""#] {
        check(&format!(r#"{{"user_id":{id}}}"#), Err(MemberError::UserIdKind));
    }
    check(r#"{"user_id":null}"#, Err(MemberError::NoUserId));
}

#[test]
fn user_info_stays_as_it_was_written() {
    check(r#"{"user_info": {"b" : 1.0, "a":"\/ü"},"user_id":1}"#, {
        Ok(("1", "1", Some(r#"{"b" : 1.0, "a":"\/ü"}"#)))
    });
    check(r#"{"user_id":1,"user_info":[]}"#, Ok(("1", "1", Some("[]"))));
}

#[test]
fn channel_data_that_names_nobody_is_refused() {
    check("{}", Err(MemberError::NoUserId));
    for text in ["", "x", "[7]", "7", r#"{"user_id":7"#, r#"{"user_id":7,"user_id":8}"#] {
        check(text, Err(MemberError::NotJson));
    }
}

#[test]
fn ids_and_data_have_limits() {
    let id = "ü".repeat(20);
    check(&format!(r#"{{"user_id":"{id}"}}"#), Ok((&id, &format!("\"{id}\""), None)));
    let error = MemberError::UserIdTooLong { characters: 21, limit: 20 };
    check(&format!(r#"{{"user_id":"{id}x"}}"#), Err(error));
    let sized =
        |bytes: usize| format!(r#"{{"user_id":1,"user_info":"{}"}}"#, "x".repeat(bytes - 28));
    assert_eq!(sized(100).len(), 100);
    assert!(Member::read(&sized(100), LIMITS).is_ok());
    check(&sized(101), Err(MemberError::TooBig { bytes: 101, limit: 100 }));
    let deep = format!(r#"{{"user_id":1,"user_info":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let limits = MemberLimits { bytes: 1_000, ..LIMITS };
    assert_eq!(Member::read(&deep, limits), Err(MemberError::NotJson));
}

#[test]
fn the_oldest_connection_that_remains_is_shown() {
    let mut members = Members::default();
    for number in 0..3 {
        members.join(conn(number), member("7", &number.to_string()), 1).unwrap();
    }
    let shown = |members: &Members| {
        members.infos().map(|info| info.unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&members), ["0"]);
    assert_eq!(members.leave(conn(0)), None);
    assert_eq!(shown(&members), ["1"]);
    members.join(conn(1), member("7", "10"), 1).unwrap();
    assert_eq!(shown(&members), ["10"], "its data is renewed, its place kept");
    assert_eq!(members.leave(conn(2)), None);
    assert_eq!(members.leave(conn(1)).unwrap().info(), Some("10"));
    assert_eq!((members.users(), members.leave(conn(1))), (0, None));
}

#[test]
fn the_limit_counts_users_and_lets_their_further_connections_in() {
    let mut members = Members::default();
    members.join(conn(0), member("a", "0"), 2).unwrap();
    members.join(conn(1), member("b", "0"), 2).unwrap();
    assert_eq!(members.join(conn(2), member("c", "0"), 2), Err(Full));
    members.join(conn(3), member("a", "0"), 2).unwrap();
    assert_eq!(members.join(conn(0), member("c", "0"), 2), Err(Full), "conn 3 keeps a there");
    let moved = members.join(conn(1), member("c", "0"), 2).unwrap();
    assert_eq!((moved.is_new, moved.removed.unwrap().id()), (true, "b"));
    assert_eq!(members.ids().collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn joining_allocates_no_more_among_10_000_than_among_100() {
    let cost = |users: u32| {
        let mut members = Members::default();
        for number in 0..users {
            members.join(conn(number), member(&number.to_string(), "0"), usize::MAX).unwrap();
        }
        let mut come_and_go = || {
            members.join(conn(users), member("new", "0"), usize::MAX).unwrap();
            members.leave(conn(users)).unwrap();
        };
        come_and_go();
        allocation_counter::measure(come_and_go).bytes_total
    };
    assert_eq!(cost(100), cost(10_000));
}

#[derive(Clone, Debug)]
enum Step {
    Join(u32, u8, u8),
    Leave(u32),
    Linger(u32, u64),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let join = (0..8_u32, 0..5_u8, any::<u8>()).prop_map(|(c, id, info)| Step::Join(c, id, info));
    let leave = (0..8_u32).prop_map(Step::Leave);
    let linger = (0..8_u32, 0..4_u64).prop_map(|(number, seconds)| Step::Linger(number, seconds));
    let step =
        prop_oneof![4 => join, 2 => leave, 2 => linger, 1 => (0..3_u64).prop_map(Step::Wait)];
    prop::collection::vec(step, 0..80)
}

/// What is there, in the simplest form: seats in the order of their coming, users in the order of theirs, and those of
/// them who have no seat any more, each with what is shown of it and the second from which on it is missed.
#[derive(Default)]
struct Model {
    users: Vec<String>,
    seats: Vec<(u32, String, String)>,
    gone: Vec<(String, String, u64)>,
}

impl Model {
    fn linger(&mut self, number: u32, due_at: u64) -> Option<String> {
        let at = self.seats.iter().position(|seat| seat.0 == number)?;
        let (_, id, info) = self.seats.remove(at);
        if self.seats.iter().any(|seat| seat.1 == id) {
            return None;
        }
        self.gone.push((id.clone(), info, due_at));
        Some(id)
    }

    fn end_lingering(&mut self, id: &str, now: u64) -> Option<String> {
        let at = self.gone.iter().position(|gone| gone.0 == id && gone.2 <= now)?;
        self.users.retain(|user| user != id);
        Some(self.gone.remove(at).0)
    }

    fn shown(&self, id: &str) -> &str {
        let seat = self.seats.iter().find(|seat| seat.1 == id).map(|seat| seat.2.as_str());
        let gone = self.gone.iter().find(|gone| gone.0 == id).map(|gone| gone.1.as_str());
        seat.or(gone).unwrap()
    }

    fn leave(&mut self, number: u32) -> Option<String> {
        let at = self.seats.iter().position(|seat| seat.0 == number)?;
        let (_, id, _) = self.seats.remove(at);
        if self.seats.iter().any(|seat| seat.1 == id) {
            return None;
        }
        self.users.retain(|user| *user != id);
        Some(id)
    }

    fn join(
        &mut self,
        number: u32,
        id: &str,
        info: &str,
        most: usize,
    ) -> Option<(bool, Option<String>)> {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.0 == number && seat.1 == id) {
            info.clone_into(&mut seat.2);
            return Some((false, None));
        }
        let is_new = !self.users.iter().any(|user| user == id);
        let others = self.seats.iter().filter(|seat| seat.0 != number);
        let gone = self.gone.iter().map(|gone| &gone.0);
        let others: std::collections::BTreeSet<_> =
            others.map(|seat| &seat.1).chain(gone).collect();
        if is_new && others.len() >= most {
            return None;
        }
        let removed = self.leave(number);
        if is_new {
            self.users.push(id.to_owned());
        }
        self.gone.retain(|gone| gone.0 != id);
        self.seats.push((number, id.to_owned(), info.to_owned()));
        Some((is_new, removed))
    }
}

proptest! {
    #[test]
    fn members_equal_the_model(steps in steps(), most in 1..6_usize) {
        let (mut members, mut model) = (Members::default(), Model::default());
        let mut now = 0;
        for step in steps {
            match step {
                Step::Join(number, id, info) => {
                    let (id, info) = (id.to_string(), info.to_string());
                    let got = members.join(conn(number), member(&id, &info), most).ok();
                    let got = got.map(|it| (it.is_new, it.removed.map(|it| it.id().to_owned())));
                    prop_assert_eq!(got, model.join(number, &id, &info, most));
                }
                Step::Leave(number) => {
                    let got = members.leave(conn(number)).map(|member| member.id().to_owned());
                    prop_assert_eq!(got, model.leave(number));
                }
                Step::Linger(number, seconds) => {
                    let got = members.linger(conn(number), now + seconds);
                    let got = got.map(|id| id.to_string());
                    prop_assert_eq!(got, model.linger(number, now + seconds));
                }
                Step::Wait(seconds) => {
                    now += seconds;
                    for id in ["0", "1", "2", "3", "4", "nobody"] {
                        let got = members.end_lingering(id, now).map(|it| it.id().to_owned());
                        prop_assert_eq!(got, model.end_lingering(id, now));
                    }
                }
            }
            let seats_of = |id: &str| model.seats.iter().filter(move |seat| seat.1 == id).collect::<Vec<_>>();
            prop_assert!(members.ids().eq(model.users.iter().map(String::as_str)));
            prop_assert!(members.infos().eq(model.users.iter().map(|id| Some(model.shown(id)))));
            for id in ["0", "1", "2", "3", "4"] {
                let expected = seats_of(id).into_iter().map(|seat| conn(seat.0)).collect::<Vec<_>>();
                prop_assert_eq!(members.connections_of(id).collect::<Vec<_>>(), expected);
            }
            prop_assert_eq!(members.users(), model.users.len());
            prop_assert_eq!(members.conns.len(), model.seats.len());
        }
    }
}
