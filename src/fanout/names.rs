//! Things that have a name and, while they are kept, a number. Pure.
//!
//! A standard map would hold each name a second time. Here the index is of 8 bytes an entry: a part of the hash, which spares looking at the
//! things that only stand in the way, and the number. Linear probing; whoever stands behind a gap moves up, so there are no tombstones.
//!
//! ```text
//!   index   [ – | ab,7 | – | cd,2 | cd',0 | – ]        things  [ 0 "news" | 1 – | 2 "room" | … | 7 "t" ]
//! ```

use std::hash::{BuildHasher, RandomState};
use std::ops::{Index, IndexMut};

use slab::Slab;

/// What knows its own name, which does not change.
pub(crate) trait Named {
    /// Its name.
    fn name(&self) -> &str;
}

/// A place in the index.
#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    /// `NOBODY`: it is free.
    number: u32,
}

const NOBODY: u32 = u32::MAX;
const FREE: Place = Place { hash: 0, number: NOBODY };
/// The fewest places that are made. A power of two, as all their numbers are.
const LEAST_PLACES: usize = 8;

/// A set of named things.
pub(crate) struct Names<T> {
    things: Slab<T>,
    /// At most three quarters are taken.
    places: Vec<Place>,
    /// Seeded anew for each set, so that nobody can choose names that stand in each other's way.
    hasher: RandomState,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { things: Slab::new(), places: Vec::new(), hasher: RandomState::new() }
    }
}

impl<T: Named> Names<T> {
    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }

    /// The number of the thing with that name.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hash(name);
        let mut at = self.home(hash)?;
        loop {
            let place = self.places[at];
            match place.number {
                NOBODY => return None,
                number if place.hash == hash && self[number].name() == name => return Some(number),
                _ => at = self.after(at),
            }
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.things.get(number as usize)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.things.get_mut(number as usize)
    }

    pub(crate) fn named_mut(&mut self, name: &str) -> Option<&mut T> {
        let number = self.find(name)?;
        self.get_mut(number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.things.iter().map(|(_, thing)| thing)
    }

    /// Takes in a thing whose name nobody has.
    pub(crate) fn insert(&mut self, thing: T) -> u32 {
        debug_assert!(self.find(thing.name()).is_none(), "names are unique");
        if (self.things.len() + 1) * 4 > self.places.len() * 3 {
            self.grow();
        }
        let hash = self.hash(thing.name());
        let number = u32::try_from(self.things.insert(thing)).ok().filter(|it| *it != NOBODY);
        let number = number.expect("subscriptions are limited, far below 2^32");
        self.put(Place { hash, number });
        number
    }

    /// Gives a thing up; its number is free.
    pub(crate) fn remove(&mut self, number: u32) -> T {
        let hash = self.hash(self[number].name());
        let mut gap = self.home(hash).expect("where there is a thing there are places");
        while self.places[gap].number != number {
            gap = self.after(gap);
        }
        // Whoever stands behind the gap and may stand in it moves up, until a free place ends the row.
        let mut at = self.after(gap);
        while self.places[at].number != NOBODY {
            let home = self.places[at].hash as usize & (self.places.len() - 1);
            if self.distance(home, at) >= self.distance(gap, at) {
                self.places[gap] = self.places[at];
                gap = at;
            }
            at = self.after(at);
        }
        self.places[gap] = FREE;
        self.things.remove(number as usize)
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough")]
    fn hash(&self, name: &str) -> u32 {
        self.hasher.hash_one(name) as u32
    }

    /// Where a search begins; `None` if there are no places at all.
    fn home(&self, hash: u32) -> Option<usize> {
        Some(hash as usize & self.places.len().checked_sub(1)?)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    /// How far it is from one place on to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }

    fn put(&mut self, place: Place) {
        let mut at = place.hash as usize & (self.places.len() - 1);
        while self.places[at].number != NOBODY {
            at = self.after(at);
        }
        self.places[at] = place;
    }

    fn grow(&mut self) {
        let count = (2 * self.places.len()).max(LEAST_PLACES);
        let before = std::mem::replace(&mut self.places, vec![FREE; count]);
        before.into_iter().filter(|place| place.number != NOBODY).for_each(|place| self.put(place));
    }
}

impl<T> Index<u32> for Names<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.things[number as usize]
    }
}

impl<T> IndexMut<u32> for Names<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.things[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    impl Named for String {
        fn name(&self) -> &str {
            self
        }
    }

    #[test]
    fn a_place_is_eight_bytes() {
        assert_eq!(size_of::<Place>(), 8);
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let names = Names::<String>::default();
        assert_eq!((names.find("a"), names.len()), (None, 0));
    }

    proptest! {
        /// Whatever comes and goes, it is what a standard map would hold.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0_u8..40), 0..400)) {
            let (mut names, mut model) = (Names::<String>::default(), HashMap::new());
            for (comes, number) in steps {
                let name = number.to_string();
                match (comes, model.get(&name).copied()) {
                    (true, None) => drop(model.insert(name.clone(), names.insert(name))),
                    (false, Some(at)) => {
                        prop_assert_eq!(names.remove(at), name.clone());
                        model.remove(&name);
                    }
                    _ => {}
                }
                prop_assert_eq!(names.len(), model.len());
                for number in 0..40 {
                    let name = number.to_string();
                    prop_assert_eq!(names.find(&name), model.get(&name).copied());
                }
                prop_assert_eq!(names.iter().count(), model.len());
            }
        }
    }
}
