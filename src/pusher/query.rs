//! The parameters of a query, in each spelling that somebody signs. Pure.

use std::borrow::Cow;

use super::percent::{self, Plus};

/// How the values of a query are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spelling {
    /// As an HTML form writes them: decoded, and `+` is a space.
    Form,
    /// Decoded, and `+` is itself.
    Plus,
    /// As they came.
    Raw,
}

/// The first value of a parameter that is no array, as [`Parameters::read`] would find it in the spelling of forms. For whoever
/// asks for nothing else of the query.
pub(super) fn first<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut named = pairs.filter(|(other, _)| percent::decode(other, Plus::Literal) == name);
    named.next().map(|(_, value)| percent::decode(value, Plus::Space))
}

/// The parameters of a query. `name[]=a&name[]=b` and `name[0]=a&name[1]=b` are `name` with the value `a,b`.
#[derive(Debug)]
pub(super) struct Parameters<'q> {
    pairs: Vec<(Cow<'q, str>, Cow<'q, str>)>,
}

impl<'q> Parameters<'q> {
    /// Reads a query.
    pub(super) fn read(query: &'q str, spelling: Spelling) -> Self {
        let pairs = || query.split('&').filter(|pair| !pair.is_empty());
        let mut parameters = Self { pairs: Vec::with_capacity(pairs().count()) };
        for pair in pairs() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = match spelling {
                Spelling::Form => percent::decode(value, Plus::Space),
                Spelling::Plus => percent::decode(value, Plus::Literal),
                Spelling::Raw => Cow::Borrowed(value),
            };
            parameters.push(percent::decode(name, Plus::Literal), value);
        }
        parameters
    }

    /// The first value of that name.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_ref())
    }

    fn push(&mut self, name: Cow<'q, str>, value: Cow<'q, str>) {
        let Some(bracket) = name.find('[').filter(|_| name.ends_with(']')) else {
            self.pairs.push((name, value));
            return;
        };
        match self.pairs.iter_mut().find(|(other, _)| **other == name[..bracket]) {
            Some((_, joined)) => {
                let joined = joined.to_mut();
                joined.push(',');
                joined.push_str(&value);
            }
            None => self.pairs.push((Cow::Owned(name[..bracket].to_owned()), value)),
        }
    }

    /// All of them, as they are signed.
    pub(super) fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, spelling: Spelling, expected: &[(&str, &str)]) {
        let parameters = Parameters::read(query, spelling);
        assert_eq!(parameters.pairs().collect::<Vec<_>>(), expected, "{query}");
    }

    #[test]
    fn parameters_keep_their_order_and_may_lack_a_value() {
        check(
            "b=2&a=1&&c&d=&=e",
            Spelling::Form,
            &[("b", "2"), ("a", "1"), ("c", ""), ("d", ""), ("", "e")],
        );
        check("", Spelling::Form, &[]);
        check("a=b=c", Spelling::Form, &[("a", "b=c")]);
    }

    #[test]
    fn each_spelling_reads_values_its_own_way() {
        let query = "a%20b=c%20d+e%2Bf";
        check(query, Spelling::Form, &[("a b", "c d e+f")]);
        check(query, Spelling::Plus, &[("a b", "c d+e+f")]);
        check(query, Spelling::Raw, &[("a b", "c%20d+e%2Bf")]);
    }

    #[test]
    fn arrays_are_joined_by_commas() {
        for query in ["k[]=a&k[]=b&k[]=", "k%5B%5D=a&k%5B%5D=b&k[]=", "k[0]=a&k[1]=b&k[2]="] {
            check(query, Spelling::Form, &[("k", "a,b,")]);
        }
        check("k]=a&k[=b", Spelling::Form, &[("k]", "a"), ("k[", "b")]);
    }

    #[test]
    fn one_parameter_is_found_without_the_others() {
        for (query, expected) in [
            ("protocol=7&client=js", Some("7")),
            ("client=js&protocol=%37", Some("7")),
            ("x=protocol=6&protocol=a+b&protocol=5", Some("a b")),
            ("protocol=", Some("")),
            ("client=js&protocol", Some("")),
            ("%70rotocol=3&protocol=7", Some("3")),
            ("xprotocol=7&protocolx=7", None),
            ("", None),
        ] {
            assert_eq!(first(query, "protocol").as_deref(), expected, "{query}");
            assert_eq!(
                Parameters::read(query, Spelling::Form).find("protocol"),
                expected,
                "{query}"
            );
        }
    }

    #[test]
    fn the_first_of_a_name_is_found() {
        let parameters = Parameters::read("a=1&a=2&b=3", Spelling::Form);
        assert_eq!(
            (parameters.find("a"), parameters.find("b"), parameters.find("c")),
            (Some("1"), Some("3"), None)
        );
    }
}
