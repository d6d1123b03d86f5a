//! Decide and evolve: the one shape of every rule in this crate.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A thing with a history of its own, decided on and evolved purely.
///
/// Ids, time, prices and limits come in with the command as recorded inputs: neither function reads
/// a clock, makes a random number or knows a database.
///
/// The state can be written and read back, so that a long history need not be folded every time.
pub trait Aggregate:
    Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What can be asked of it.
    type Command: Send;
    /// What can have happened to it.
    type Event: Send + Sync;
    /// Why it says no.
    type Refusal: std::error::Error + Send + Sync + 'static;

    /// What its streams are called, before the slash: `credit_account`.
    const KIND: &'static str;

    /// Says what happens when `command` is asked of this state, or why not. A retry of something
    /// that is already done answers with no events.
    ///
    /// # Errors
    /// The refusal, which names what stands in the way.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// Takes in one thing that happened. History is never refused.
    #[must_use]
    fn evolve(self, event: &Self::Event) -> Self;
}

/// Folds a history into the state it leads to.
#[must_use]
pub fn fold<A: Aggregate>(events: &[A::Event]) -> A {
    events.iter().fold(A::default(), A::evolve)
}

#[cfg(test)]
pub(crate) mod testing {
    //! Given, when, then.
    use super::{Aggregate, fold};
    use std::fmt::Debug;

    pub(crate) fn given<A: Aggregate>(events: &[A::Event]) -> Given<A> {
        Given(fold(events))
    }

    pub(crate) struct Given<A>(A);

    impl<A: Aggregate> Given<A> {
        pub(crate) fn when(self, command: A::Command) -> Then<A> {
            Then(self.0.decide(command))
        }
    }

    pub(crate) struct Then<A: Aggregate>(Result<Vec<A::Event>, A::Refusal>);

    impl<A: Aggregate> Then<A>
    where
        A::Event: PartialEq + Debug,
        A::Refusal: PartialEq,
    {
        #[track_caller]
        pub(crate) fn happened(self, events: &[A::Event]) {
            assert_eq!(self.0.expect("the command to be accepted"), events);
        }

        #[track_caller]
        pub(crate) fn refused(self, refusal: &A::Refusal) {
            assert_eq!(&self.0.expect_err("the command to be refused"), refusal);
        }

        #[track_caller]
        pub(crate) fn accepted(self) -> Vec<A::Event> {
            self.0.expect("the command to be accepted")
        }
    }
}
