//! What every error of the project carries besides its message: a stable code, a hint and an exit status.

/// Exit status of the command line, stable for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something failed (1).
    Failure,
    /// The words of the command were wrong (2).
    Usage,
    /// What was named does not exist (3).
    NotFound,
    /// Not permitted, for instance by consent (4).
    NotPermitted,
    /// A privacy or completeness gate refused (5).
    PolicyRefused,
    /// Bytes are not what they were (6).
    Integrity,
    /// Try again later (75, `EX_TEMPFAIL` of sysexits.h).
    Temporary,
}

impl Exit {
    /// The number handed to the operating system.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NotPermitted => 4,
            Self::PolicyRefused => 5,
            Self::Integrity => 6,
            Self::Temporary => 75,
        }
    }
}

/// An error that can be looked up in the manual.
///
/// The message says what happened and where, never a patient's value; the hint says what to do about it.
pub trait Coded: std::error::Error {
    /// Stable code such as `IN003`, listed in `docs/errors.md`.
    fn code(&self) -> &'static str;
    /// What the reader can do, one sentence.
    fn hint(&self) -> &'static str;
    /// Exit status of a command that ends with this error.
    fn exit(&self) -> Exit {
        Exit::Failure
    }
}
