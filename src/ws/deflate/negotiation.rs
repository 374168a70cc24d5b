//! ③ Who agrees to what (RFC 7692 §7.1). Pure: header values in, an [`Agreement`] and the words for it out.
//!
//! | parameter | in an offer to us | in our answer | in an answer to us |
//! |---|---|---|---|
//! | `server_no_context_takeover` | as the client likes | always | must be there: we asked for it |
//! | `client_no_context_takeover` | as the client likes | always | as the server likes: we never take it over |
//! | `server_max_window_bits` | 8 to 15 | the same, if it was offered | 8 to 15: our inflater suits them all |
//! | `client_max_window_bits` | 8 to 15, or no value | the same, if it was offered with a value | 8 to 15: we offer it |
//!
//! An offer with anything else in it (an unknown parameter, one that comes twice, a value that is none) is not agreed to; the
//! one behind it may be. An answer with anything else in it fails the connection.

use std::fmt;
use std::num::NonZeroU8;

use super::super::extensions::{Extension, Malformed, Parameter};

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// What our client role offers.
pub(in super::super) const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits";

/// The size of a window, as the logarithm to the base 2: 8 to 15 (RFC 7692 §7.1.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WindowBits(NonZeroU8);

impl WindowBits {
    /// The largest window, 32 KiB: what is agreed where nothing is said.
    pub const MOST: Self = Self(NonZeroU8::MIN.saturating_add(14));

    /// The logarithm.
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// A decimal integer without leading zeros.
    pub(in super::super) fn parse(text: &str) -> Option<Self> {
        let bits = match text {
            "8" => 8,
            "9" => 9,
            "10" => 10,
            "11" => 11,
            "12" => 12,
            "13" => 13,
            "14" => 14,
            "15" => 15,
            _ => return None,
        };
        NonZeroU8::new(bits).map(Self)
    }
}

/// permessage-deflate is on, without context takeover on either side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// The window of what we send. What we receive is inflated with the largest there is.
    pub window: WindowBits,
}

/// How the server's handshake says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Answer {
    /// Named in the answer if the client asked for one.
    server_window: Option<WindowBits>,
    client_window: Option<WindowBits>,
}

impl Answer {
    pub(in super::super) fn agreement(&self) -> Agreement {
        Agreement { window: self.server_window.unwrap_or(WindowBits::MOST) }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}; {SERVER_NO_CONTEXT_TAKEOVER}; {CLIENT_NO_CONTEXT_TAKEOVER}")?;
        for (name, window) in [
            (SERVER_MAX_WINDOW_BITS, self.server_window),
            (CLIENT_MAX_WINDOW_BITS, self.client_window),
        ] {
            if let Some(window) = window {
                write!(f, "; {name}={}", window.get())?;
            }
        }
        Ok(())
    }
}

/// The answer to the first offer that we can agree to; the client's order is its order of preference (RFC 7692 §5).
pub(in super::super) fn agree(offers: &[Extension<'_>]) -> Option<Answer> {
    offers.iter().filter(|offer| offer.name == NAME).find_map(|offer| {
        let parameters = Parameters::read(&offer.parameters)?;
        Some(Answer {
            server_window: parameters.server_window,
            client_window: parameters.client_window.flatten(),
        })
    })
}

/// What a server's answer to our [`OFFER`] agrees to. `Err`: nothing that we could live with.
pub(in super::super) fn check_answer(
    answer: &[Extension<'_>],
) -> Result<Option<Agreement>, Malformed> {
    let parameters = match answer {
        [] => return Ok(None),
        [Extension { name: NAME, parameters }] => Parameters::read(parameters).ok_or(Malformed)?,
        _ => return Err(Malformed),
    };
    let window = match parameters.client_window {
        None => WindowBits::MOST,
        Some(window) => window.ok_or(Malformed)?,
    };
    if !parameters.is_server_without_takeover {
        return Err(Malformed);
    }
    Ok(Some(Agreement { window }))
}

/// The parameters of an offer or an answer, each once and with a value that it may have.
#[derive(Default)]
struct Parameters {
    is_server_without_takeover: bool,
    is_client_without_takeover: bool,
    server_window: Option<WindowBits>,
    /// There, and perhaps with a value.
    client_window: Option<Option<WindowBits>>,
}

impl Parameters {
    fn read(parameters: &[Parameter<'_>]) -> Option<Self> {
        let mut read = Self::default();
        for Parameter { name, value } in parameters {
            let window = || value.as_deref().map(WindowBits::parse);
            let is_second = match *name {
                SERVER_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    std::mem::replace(&mut read.is_server_without_takeover, true)
                }
                CLIENT_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    std::mem::replace(&mut read.is_client_without_takeover, true)
                }
                SERVER_MAX_WINDOW_BITS => read.server_window.replace(window()??).is_some(),
                CLIENT_MAX_WINDOW_BITS => {
                    let window = match window() {
                        None => None,
                        Some(window) => Some(window?),
                    };
                    read.client_window.replace(window).is_some()
                }
                _ => return None,
            };
            if is_second {
                return None;
            }
        }
        Some(read)
    }
}

/// For fuzzers: what is read of the field, written plainly, is read again as the same; and what a server answers to any offer, a
/// client that made ours agrees to, with no larger window than was asked for.
#[cfg(any(test, fuzzing))]
pub fn fuzz_negotiation(data: &[u8]) {
    use super::super::extensions::parse;
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(offers) = parse(text.lines()) else { return };
    let plain = |offer: &Extension<'_>| {
        let mut text = offer.name.to_owned();
        for Parameter { name, value } in &offer.parameters {
            let value = value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
            text.push_str(&format!("; {name}{value}"));
        }
        text
    };
    let written = offers.iter().map(plain).collect::<Vec<_>>().join(", ");
    assert!(
        offers.is_empty() || parse([written.as_str()].into_iter()).as_ref() == Ok(&offers),
        "{written}"
    );
    let _ = check_answer(&offers);

    let Some(answer) = agree(&offers) else { return };
    let said = answer.to_string();
    assert!(said.contains(SERVER_NO_CONTEXT_TAKEOVER) && said.contains(CLIENT_NO_CONTEXT_TAKEOVER));
    let read = parse([said.as_str()].into_iter());
    let agreed = read.map(|read| check_answer(&read));
    let window = answer.client_window.unwrap_or(WindowBits::MOST);
    assert_eq!(agreed, Ok(Ok(Some(Agreement { window }))), "{said}");
    let has_asked =
        |name: &str| offers.iter().flat_map(|offer| &offer.parameters).any(|it| it.name == name);
    assert!(answer.server_window.is_none() || has_asked(SERVER_MAX_WINDOW_BITS), "{said}");
    assert!(answer.client_window.is_none() || has_asked(CLIENT_MAX_WINDOW_BITS), "{said}");
}

#[cfg(test)]
mod tests {
    use super::super::super::extensions;
    use super::*;

    const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    /// Checks the answer to an offer, from behind what it always says; `None`: it is not agreed to.
    fn check(offer: &str, expected: Option<&str>) {
        let offers = extensions::parse([offer].into_iter()).unwrap();
        let answer = agree(&offers).map(|answer| answer.to_string());
        assert_eq!(answer, expected.map(|rest| format!("{BOTH}{rest}")), "{offer}");
    }

    fn check_response(response: &str, expected: Result<Option<u8>, Malformed>) {
        let read = extensions::parse([response].into_iter()).unwrap();
        let agreed = check_answer(&read).map(|agreed| agreed.map(|it| it.window.get()));
        assert_eq!(agreed, expected, "{response}");
    }

    #[test]
    fn answer_always_gives_up_context_takeover_on_both_sides() {
        check("permessage-deflate", Some(""));
        check("permessage-deflate; server_no_context_takeover", Some(""));
        check(
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            Some(""),
        );
    }

    #[test]
    fn window_that_is_asked_for_is_named_in_the_answer() {
        for bits in 8..=15 {
            let asked = format!("; server_max_window_bits={bits}");
            check(&format!("permessage-deflate{asked}"), Some(&asked));
            let asked = format!("; client_max_window_bits={bits}");
            check(&format!("permessage-deflate{asked}"), Some(&asked));
        }
        check(
            r#"permessage-deflate; server_max_window_bits="10""#,
            Some("; server_max_window_bits=10"),
        );
    }

    #[test]
    fn window_that_is_not_asked_for_is_not_named() {
        check("permessage-deflate; client_max_window_bits", Some(""));
    }

    #[test]
    fn agreed_window_is_the_one_that_is_named() {
        let window = |offer: &str| {
            let offers = extensions::parse([offer].into_iter()).unwrap();
            agree(&offers).unwrap().agreement().window.get()
        };
        assert_eq!(window("permessage-deflate"), 15);
        assert_eq!(window("permessage-deflate; server_max_window_bits=9"), 9);
        assert_eq!(window("permessage-deflate; client_max_window_bits=9"), 15);
    }

    #[test]
    fn offer_with_anything_that_we_do_not_know_is_not_agreed_to() {
        for offer in [
            "permessage-deflate; unknown",
            "permessage-deflate; Server_No_Context_Takeover",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; server_max_window_bits",
            "x-webkit-deflate-frame",
            "Permessage-Deflate",
        ] {
            check(offer, None);
        }
    }

    #[test]
    fn window_out_of_range_is_not_agreed_to() {
        for bits in ["7", "16", "08", "0", "1", "+9", "9.0", "a", "99999999999999999999"] {
            check(&format!("permessage-deflate; server_max_window_bits={bits}"), None);
            check(&format!("permessage-deflate; client_max_window_bits={bits}"), None);
        }
    }

    #[test]
    fn parameter_that_comes_twice_is_not_agreed_to() {
        for (parameter, named) in [
            ("server_no_context_takeover", ""),
            ("client_no_context_takeover", ""),
            ("client_max_window_bits", ""),
            ("server_max_window_bits=10", "; server_max_window_bits=10"),
        ] {
            check(&format!("permessage-deflate; {parameter}"), Some(named));
            check(&format!("permessage-deflate; {parameter}; {parameter}"), None);
        }
        check("permessage-deflate; client_max_window_bits; client_max_window_bits=9", None);
    }

    #[test]
    fn first_acceptable_offer_wins() {
        check("permessage-bzip2, permessage-deflate", Some(""));
        check(
            "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=12, permessage-deflate",
            Some("; server_max_window_bits=12"),
        );
        check("permessage-deflate, permessage-deflate; server_max_window_bits=12", Some(""));
    }

    #[test]
    fn our_offer_is_one_that_we_agree_to() {
        check(OFFER, Some(""));
        check_response(BOTH, Ok(Some(15)));
    }

    #[test]
    fn answer_may_limit_either_window() {
        for bits in 8..=15 {
            check_response(&format!("{BOTH}; client_max_window_bits={bits}"), Ok(Some(bits)));
            check_response(&format!("{BOTH}; server_max_window_bits={bits}"), Ok(Some(15)));
        }
    }

    #[test]
    fn answer_need_not_hold_us_to_what_we_do_anyway() {
        check_response("permessage-deflate; server_no_context_takeover", Ok(Some(15)));
    }

    #[test]
    fn answer_that_cannot_be_agreed_to_is_refused() {
        let table = [
            "x-other".to_owned(),
            format!("{BOTH}, {BOTH}"),
            format!("{BOTH}, x-other"),
            "permessage-deflate".to_owned(),
            "permessage-deflate; client_no_context_takeover".to_owned(),
            format!("{BOTH}; unknown"),
            format!("{BOTH}; server_no_context_takeover"),
            format!("{BOTH}; client_max_window_bits"),
            format!("{BOTH}; client_max_window_bits=16"),
            format!("{BOTH}; server_max_window_bits"),
            format!("{BOTH}; server_max_window_bits=7"),
            "permessage-deflate; server_no_context_takeover=on".to_owned(),
        ];
        for response in table {
            check_response(&response, Err(Malformed));
        }
    }

    #[test]
    fn agreement_takes_one_byte() {
        assert_eq!(size_of::<Option<Agreement>>(), 1);
    }
}
