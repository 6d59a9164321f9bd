//! Values that still identify people.

use std::collections::BTreeSet;
use std::sync::Arc;

use acequia_types::{Coded, DonorId, Exit};

use crate::Grant;

/// A value about one or more donors that only a [`Grant`] for all of them opens.
///
/// No `Deref`, no `Serialize`, no `Display`; `Debug` prints how many donors stand behind the value and nothing else.
pub struct Identified<T> {
    value: T,
    donors: Arc<BTreeSet<DonorId>>,
}

/// The grant does not cover everybody the value is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no grant for {missing} of {donors} donors behind this value")]
pub struct NotGranted {
    /// Donors the grant leaves out.
    pub missing: usize,
    /// Donors behind the value.
    pub donors: usize,
}

impl Coded for NotGranted {
    fn code(&self) -> &'static str {
        "CU001"
    }
    fn hint(&self) -> &'static str {
        "evaluate consent for the purpose again; a donor who refused, withdrew or was never asked stays closed"
    }
    fn exit(&self) -> Exit {
        Exit::NotPermitted
    }
}

impl<T> Identified<T> {
    /// Marks `value` as being about `donor`. Marking needs no permission; opening does.
    pub fn new(donor: DonorId, value: T) -> Self {
        Self { value, donors: Arc::new(BTreeSet::from([donor])) }
    }

    /// Marks `value` as being about every one of `donors`.
    pub fn of_many(donors: BTreeSet<DonorId>, value: T) -> Self {
        Self { value, donors: Arc::new(donors) }
    }

    /// Whom the value is about.
    pub fn donors(&self) -> &BTreeSet<DonorId> {
        &self.donors
    }

    /// Looks inside.
    ///
    /// # Errors
    /// [`NotGranted`] when `grant` leaves out one of the donors.
    pub fn open(&self, grant: &Grant) -> Result<&T, NotGranted> {
        self.covered_by(grant)?;
        Ok(&self.value)
    }

    /// Takes the value out.
    ///
    /// # Errors
    /// [`NotGranted`] when `grant` leaves out one of the donors.
    pub fn into_open(self, grant: &Grant) -> Result<T, NotGranted> {
        self.covered_by(grant)?;
        Ok(self.value)
    }

    /// Transforms the value without opening it to the caller.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Identified<U> {
        Identified { value: f(self.value), donors: self.donors }
    }

    fn covered_by(&self, grant: &Grant) -> Result<(), NotGranted> {
        let missing = self.donors.iter().filter(|donor| !grant.covers(donor)).count();
        if missing == 0 { Ok(()) } else { Err(NotGranted { missing, donors: self.donors.len() }) }
    }
}

impl<T> std::fmt::Debug for Identified<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identified<{}>({} donors)", std::any::type_name::<T>(), self.donors.len())
    }
}
