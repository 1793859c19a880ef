//! Debounces what a reader sees into what a person did: put a card on, took it off.
//!
//! A resting card may be missed once in a while (a lost frame, a card at the edge of the field) and a card that is
//! being put down appears and vanishes; neither may flicker upward.

use crate::api::bridge::Presence;
use encoder_protocols::id::{Detection, Target};

/// Looks in a row without a card before it counts as taken away.
const MISSES_MAX: u8 = 3;

/// What lies on one encoder, debounced. Pure: the caller says what each look saw.
#[derive(Clone, Debug)]
pub struct Debouncer {
    state: State,
    /// A card counts from its first sight and is gone after its first miss.
    is_certain: bool,
    misses_max: u8,
}

impl Default for Debouncer {
    fn default() -> Self {
        Self { state: State::default(), is_certain: false, misses_max: MISSES_MAX }
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Absent,
    Arriving(Target),
    Present {
        target: Target,
        misses: u8,
        several: bool,
    },
    Several {
        misses: u8,
    },
}

impl Debouncer {
    /// For readers that say themselves when a card comes and goes: what they say is believed at once.
    pub fn certain() -> Self {
        Self { is_certain: true, misses_max: 1, ..Self::default() }
    }

    /// Takes one look at the field; says whether what is reported changed.
    pub fn observe(&mut self, detection: Detection) -> bool {
        let before = (self.presence(), self.target());
        self.state = match (self.state, detection) {
            (State::Absent | State::Arriving(_), Detection::None) => State::Absent,
            (State::Arriving(known), Detection::One(target)) if known.uid == target.uid => {
                State::Present { target, misses: 0, several: false }
            }
            (State::Absent | State::Arriving(_), Detection::Several) => State::Several { misses: 0 },
            (State::Present { target: known, .. }, Detection::One(target)) if known.uid == target.uid => {
                State::Present { target, misses: 0, several: false }
            }
            // A new card, or a swapped one, which was certainly lifted: it starts anew.
            (
                State::Absent | State::Arriving(_) | State::Present { .. } | State::Several { .. },
                Detection::One(target),
            ) => {
                if self.is_certain {
                    State::Present { target, misses: 0, several: false }
                } else {
                    State::Arriving(target)
                }
            }
            (State::Present { target, misses, several }, Detection::None) => {
                if misses + 1 < self.misses_max {
                    State::Present { target, misses: misses + 1, several }
                } else {
                    State::Absent
                }
            }
            (State::Present { target, several: false, .. }, Detection::Several) => {
                State::Present { target, misses: 0, several: true }
            }
            (State::Present { several: true, .. } | State::Several { .. }, Detection::Several) => {
                State::Several { misses: 0 }
            }
            (State::Several { misses }, Detection::None) => {
                if misses + 1 < self.misses_max {
                    State::Several { misses: misses + 1 }
                } else {
                    State::Absent
                }
            }
        };
        before != (self.presence(), self.target())
    }

    /// What is reported.
    pub fn presence(&self) -> Presence {
        match self.state {
            State::Absent => Presence::Absent,
            State::Arriving(_) => Presence::Arriving,
            State::Present { .. } => Presence::Present,
            State::Several { .. } => Presence::Several,
        }
    }

    /// The one card that lies there, if it is one.
    pub fn target(&self) -> Option<Target> {
        match self.state {
            State::Present { target, .. } => Some(target),
            State::Absent | State::Arriving(_) | State::Several { .. } => None,
        }
    }

    /// Whether the next look can only tell something new of a person, not of the field: nothing lies there, or what lies
    /// there was seen the last time too.
    pub fn is_settled(&self) -> bool {
        match self.state {
            State::Absent | State::Present { misses: 0, several: false, .. } | State::Several { misses: 0 } => true,
            State::Arriving(_) | State::Present { .. } | State::Several { .. } => false,
        }
    }

    /// Forgets everything, as when the reader went away.
    pub fn reset(&mut self) {
        self.state = State::Absent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoder_protocols::id::Uid;
    use proptest::prelude::*;

    fn card(uid: [u8; 4]) -> Detection {
        Detection::One(Target::type_a(Uid::new(&uid).unwrap(), [0, 4], 8))
    }

    fn after(looks: &[Detection]) -> Presence {
        let mut debouncer = Debouncer::default();
        for look in looks {
            debouncer.observe(*look);
        }
        debouncer.presence()
    }

    #[test]
    fn a_card_counts_from_its_second_sight() {
        assert_eq!(after(&[card([1; 4])]), Presence::Arriving);
        assert_eq!(after(&[card([1; 4]), card([1; 4])]), Presence::Present);
        assert_eq!(after(&[card([1; 4]), Detection::None]), Presence::Absent);
    }

    #[test]
    fn a_reader_that_hears_of_cards_is_believed_at_once() {
        let mut debouncer = Debouncer::certain();
        assert!(debouncer.observe(card([1; 4])));
        assert_eq!(debouncer.target().unwrap().uid.as_bytes(), [1; 4]);
        assert!(debouncer.observe(card([2; 4])));
        assert_eq!(debouncer.target().unwrap().uid.as_bytes(), [2; 4]);
        assert!(debouncer.observe(Detection::None));
        assert_eq!(debouncer.presence(), Presence::Absent);
        assert!(debouncer.observe(Detection::Several));
        assert!(debouncer.observe(Detection::None));
        assert_eq!(debouncer.presence(), Presence::Absent);
    }

    #[test]
    fn a_resting_card_that_is_missed_twice_does_not_flicker() {
        let mut debouncer = Debouncer::default();
        debouncer.observe(card([1; 4]));
        debouncer.observe(card([1; 4]));
        for _ in 0..100 {
            assert!(!debouncer.observe(Detection::None));
            assert!(!debouncer.observe(Detection::None));
            assert!(!debouncer.observe(card([1; 4])));
        }
        for _ in 0..MISSES_MAX {
            debouncer.observe(Detection::None);
        }
        assert_eq!(debouncer.presence(), Presence::Absent);
    }

    #[test]
    fn another_card_is_never_reported_under_the_first_ones_number() {
        let mut debouncer = Debouncer::default();
        debouncer.observe(card([1; 4]));
        debouncer.observe(card([1; 4]));
        debouncer.observe(card([2; 4]));
        assert_eq!(debouncer.target(), None);
        debouncer.observe(card([2; 4]));
        assert_eq!(debouncer.target().unwrap().uid.as_bytes(), [2; 4]);
    }

    #[test]
    fn a_second_card_is_several() {
        assert_eq!(after(&[card([1; 4]), card([1; 4]), Detection::Several, Detection::Several]), Presence::Several);
        assert_eq!(after(&[Detection::Several]), Presence::Several);
    }

    fn detection() -> impl Strategy<Value = Detection> {
        prop_oneof![Just(Detection::None), Just(Detection::Several), (1_u8..4).prop_map(|uid| card([uid; 4])),]
    }

    proptest! {
        #[test]
        fn presence_follows_what_stays(looks in prop::collection::vec(detection(), 0..40), last in detection()) {
            let mut debouncer = Debouncer::default();
            for look in looks {
                debouncer.observe(look);
            }
            for _ in 0..4 {
                debouncer.observe(last);
            }
            prop_assert!(!debouncer.observe(last));
            let expected = match last {
                Detection::None => Presence::Absent,
                Detection::One(_) => Presence::Present,
                Detection::Several => Presence::Several,
            };
            prop_assert_eq!(debouncer.presence(), expected);
        }

        #[test]
        fn a_reported_card_was_seen_twice_in_a_row(looks in prop::collection::vec(detection(), 1..40)) {
            let mut debouncer = Debouncer::default();
            let mut seen = Vec::new();
            for look in looks {
                let known = debouncer.target();
                debouncer.observe(look);
                seen.push(look);
                if let (None, Some(target)) = (known, debouncer.target()) {
                    let twice = seen.iter().rev().take(2).all(|look| *look == Detection::One(target));
                    prop_assert!(twice && seen.len() >= 2);
                }
            }
        }
    }
}
