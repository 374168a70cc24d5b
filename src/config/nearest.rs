//! Which known name somebody meant. Pure.

/// The known name nearest to a misspelled one, if any is near enough to be worth saying: a third of its letters may be
/// wrong, and never fewer than two; or it is the beginning of the name.
pub(super) fn nearest<'k>(got: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let allowed = (got.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|name| (distance(&got.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= allowed || (got.len() > 2 && name.starts_with(got)))
        .min()
        .map(|(_, name)| name)
}

/// How many letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replace = above[j] + usize::from(a[i] != b[j]);
            let mut cost = replace.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(got: &str, expected: Option<&str>) {
        assert_eq!(nearest(got, ["host", "port", "path", "max_connections"]), expected, "{got}");
    }

    #[test]
    fn a_slip_of_the_fingers_finds_its_name() {
        check("prot", Some("port"));
        check("PORT", Some("port"));
        check("hots", Some("host"));
        check("max_conections", Some("max_connections"));
        check("maxconnections", Some("max_connections"));
        check("max", Some("max_connections"));
    }

    #[test]
    fn a_strange_word_finds_nothing() {
        check("workers", None);
        check("certificate", None);
    }

    #[test]
    fn distance_counts_insertions_deletions_replacements_and_swaps() {
        assert_eq!(["", "a", "ba", "abc", "xbc"].map(|b| distance("ab", b)), [2, 1, 1, 1, 2]);
    }
}
