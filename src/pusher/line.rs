//! A list that keeps the order in which things were added, and gives up any of them at once. Pure.
//!
//! ```text
//!   first ─▶ 4 ⇄ 0 ⇄ 7 ◀─ last        places in a slab, each linked to the ones before and behind it
//! ```

use slab::Slab;

/// Things in the order of their coming. Each is named by its place, which may be given again once it is free.
#[derive(Debug)]
pub(super) struct Line<T> {
    places: Slab<Place<T>>,
    /// Both or none.
    ends: Option<(usize, usize)>,
}

#[derive(Debug)]
struct Place<T> {
    before: Option<usize>,
    behind: Option<usize>,
    value: T,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { places: Slab::new(), ends: None }
    }
}

impl<T> Line<T> {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds one at the end. Gives its place.
    pub(super) fn push(&mut self, value: T) -> usize {
        let before = self.ends.map(|(_, last)| last);
        let place = self.places.insert(Place { before, behind: None, value });
        if let Some(last) = before.and_then(|last| self.places.get_mut(last)) {
            last.behind = Some(place);
        }
        self.ends = Some((self.ends.map_or(place, |(first, _)| first), place));
        place
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.places.get(place).map(|place| &place.value)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place).map(|place| &mut place.value)
    }

    /// Takes one out, wherever it stands.
    pub(super) fn remove(&mut self, place: usize) -> Option<T> {
        let Place { before, behind, value } = self.places.try_remove(place)?;
        if let Some(before) = before.and_then(|before| self.places.get_mut(before)) {
            before.behind = behind;
        }
        if let Some(behind) = behind.and_then(|behind| self.places.get_mut(behind)) {
            behind.before = before;
        }
        self.ends = self.ends.and_then(|(first, last)| {
            let first = if first == place { behind? } else { first };
            Some((first, if last == place { before? } else { last }))
        });
        Some(value)
    }

    /// The first that was added of those that are there.
    pub(super) fn first(&self) -> Option<&T> {
        self.ends.and_then(|(first, _)| self.get(first))
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut next = self.ends.map(|(first, _)| first);
        std::iter::from_fn(move || {
            let place = self.places.get(next?)?;
            next = place.behind;
            Some(&place.value)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// `Some(n)` adds n; `None` takes out the one in the middle.
        #[test]
        fn a_line_is_a_list(steps in prop::collection::vec(prop::option::of(any::<u8>()), 0..60)) {
            let (mut line, mut list) = (Line::default(), Vec::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Some(value) => {
                        let place = line.push(value);
                        list.push((place, value));
                    }
                    None if list.is_empty() => prop_assert_eq!(line.remove(0), None),
                    None => {
                        let (place, value) = list.remove(number % list.len());
                        prop_assert_eq!(line.remove(place), Some(value));
                    }
                }
                prop_assert!(line.iter().eq(list.iter().map(|(_, value)| value)));
                prop_assert_eq!(line.first(), list.first().map(|(_, value)| value));
                prop_assert_eq!((line.len(), line.is_empty()), (list.len(), list.is_empty()));
            }
        }
    }
}
