//! The doors. Adding one needs a `compile_fail` twin, a policy note and two reviewers (CONTRIBUTING.md).

use acequia_custody::{Approval, Purpose};
use acequia_deidentify::Deidentified;
use acequia_learn::{SiteFinding, SiteUpdate, TestedModel};
use acequia_types::{Coded, Digest, Exit};

mod sealed {
    pub trait Sealed {}
}

/// A value whose construction proves that a privacy check ran. Sealed: only this crate says which types these are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no proof that a privacy check ran, so it cannot leave the node",
    note = "pass it through `acequia_deidentify::deidentify` first, or answer with `acequia_learn::Site::answer` or `ValidationRequest::answer`, or attack a model and make a `TestedModel` of it"
)]
pub trait Proof: sealed::Sealed {
    /// What donors must have allowed for this kind of value to leave.
    const PURPOSE: Purpose;

    /// What an approval must be about.
    fn subject(&self) -> Digest;
}

impl sealed::Sealed for Deidentified {}
impl Proof for Deidentified {
    const PURPOSE: Purpose = Purpose::OpenPublication;

    fn subject(&self) -> Digest {
        self.digest()
    }
}

impl sealed::Sealed for SiteUpdate {}
impl Proof for SiteUpdate {
    const PURPOSE: Purpose = Purpose::ModelTraining;

    fn subject(&self) -> Digest {
        self.digest()
    }
}

impl sealed::Sealed for SiteFinding {}
impl Proof for SiteFinding {
    const PURPOSE: Purpose = Purpose::ModelTraining;

    fn subject(&self) -> Digest {
        self.digest()
    }
}

impl sealed::Sealed for TestedModel {}
impl Proof for TestedModel {
    const PURPOSE: Purpose = Purpose::ModelTraining;

    fn subject(&self) -> Digest {
        self.digest()
    }
}

/// A setting or text without any person's record in it: a recipe's title, a licence, counts of inputs.
///
/// Implementing it for a type is a reviewed promise; `release` does so for its plan.
pub trait Public {}

/// A value that may leave the node.
#[derive(Debug)]
pub struct Outbound<T> {
    value: T,
}

/// Why the gate stays shut.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The approval is about something else.
    #[error("the approval is about another value than the one at the gate")]
    OtherSubject,
    /// The donors were asked for something else.
    #[error("the approval is for {found}, and this needs {needed}")]
    OtherPurpose {
        /// What donors allowed.
        found: Purpose,
        /// What they must allow.
        needed: Purpose,
    },
    /// A published version does not carry this node's exit seal.
    #[error("the exit seal of {dataset} does not verify")]
    Seal {
        /// Which data set.
        dataset: String,
    },
    /// A manifest is not readable.
    #[error("the manifest of a published version cannot be read")]
    Manifest {
        /// The cause: position in the JSON.
        #[source]
        source: serde_json::Error,
    },
}

impl Coded for GateError {
    fn code(&self) -> &'static str {
        match self {
            Self::OtherSubject => "GA001",
            Self::Seal { .. } => "GA002",
            Self::Manifest { .. } => "GA003",
            Self::OtherPurpose { .. } => "GA004",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::OtherPurpose { .. } => "ask the donors for this purpose; what they gave for another stays inside",
            Self::OtherSubject => "approve exactly the value that is to leave; run the recipe again",
            Self::Seal { .. } => "the version was not published by this node or was changed since; do not serve it",
            Self::Manifest { .. } => "run `acequia doctor`; restore the version from a backup",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::OtherSubject | Self::OtherPurpose { .. } => Exit::NotPermitted,
            Self::Seal { .. } | Self::Manifest { .. } => Exit::Integrity,
        }
    }
}

/// Lets a proven value out, if the approval is about exactly it.
///
/// # Errors
/// [`GateError::OtherSubject`] when the approval is about something else, [`GateError::OtherPurpose`] when donors allowed
/// something else.
pub fn let_out<P: Proof>(value: P, approval: &Approval) -> Result<Outbound<P>, GateError> {
    if approval.subject() != value.subject() {
        return Err(GateError::OtherSubject);
    }
    if approval.purpose() != P::PURPOSE {
        return Err(GateError::OtherPurpose { found: approval.purpose(), needed: P::PURPOSE });
    }
    Ok(Outbound { value })
}

impl<T> Outbound<T> {
    pub(crate) fn readmitted(value: T) -> Self {
        Self { value }
    }

    /// Looks at the value.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// Makes another outbound value from this one and from public settings.
    ///
    /// `make` is a plain function: it cannot capture anything, so nothing but the outbound value and the public
    /// settings flows into the result.
    ///
    /// ```compile_fail,E0308
    /// use acequia_gate::{Outbound, Public};
    /// struct Title(String);
    /// impl Public for Title {}
    /// fn smuggle(out: Outbound<String>, title: &Title, identified: String) {
    ///     let _: Result<Outbound<String>, ()> = out.derive(title, |v, t| Ok(format!("{v}{}{identified}", t.0)));
    /// }
    /// ```
    /// ```
    /// use acequia_gate::{Outbound, Public};
    /// struct Title(String);
    /// impl Public for Title {}
    /// fn derive(out: Outbound<String>, title: &Title, identified: String) {
    ///     let _: Result<Outbound<String>, ()> = out.derive(title, |v, t| Ok(format!("{v}{}", t.0)));
    /// }
    /// ```
    ///
    /// # Errors
    /// What `make` returns.
    pub fn derive<P: Public, U, E>(&self, settings: &P, make: fn(&T, &P) -> Result<U, E>) -> Result<Outbound<U>, E> {
        make(&self.value, settings).map(|value| Outbound { value })
    }
}
