//! Typed ids. Each is parsed once at the edge; inside, an invalid one cannot exist.

use serde::{Deserialize, Serialize};

use crate::{Coded, Exit};

/// Why a text is not an id. The text itself is never repeated: it may hold a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// Which kind of id.
        what: &'static str,
    },
    /// Longer than the limit.
    #[error("{what} is longer than {limit} characters")]
    TooLong {
        /// Which kind of id.
        what: &'static str,
        /// Allowed characters.
        limit: usize,
    },
    /// A character outside the allowed set.
    #[error("{what} has a character other than a-z, 0-9, '-', '_' and '.' at position {position}")]
    Character {
        /// Which kind of id.
        what: &'static str,
        /// One-based position of the first such character.
        position: usize,
    },
}

impl Coded for IdError {
    fn code(&self) -> &'static str {
        "TY001"
    }
    fn hint(&self) -> &'static str {
        "use lower-case letters, digits, '-', '_' and '.'"
    }
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

fn check(what: &'static str, text: &str) -> Result<(), IdError> {
    const LIMIT: usize = 96;
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > LIMIT {
        return Err(IdError::TooLong { what, limit: LIMIT });
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    match text.chars().position(|c| !allowed(c)) {
        Some(at) => Err(IdError::Character { what, position: at + 1 }),
        None if text.starts_with('.') => Err(IdError::Character { what, position: 1 }),
        None => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the id.
            ///
            /// # Errors
            /// [`IdError`] when the text is empty, too long or has other characters than `a-z 0-9 - _ .`.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check($what, text)?;
                Ok(Self(text.to_owned()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }
    };
}

id!(
    /// A person or institution that gives data: the account, not the patient's name.
    DonorId,
    "donor id"
);
id!(
    /// Where records come from: an institution's register or the donors' own uploads.
    SourceId,
    "source id"
);
id!(
    /// One donated file inside this node. Shared logs name this, never the file, whose name may hold an identity.
    IntakeId,
    "intake id"
);

/// `namespace/name` of a published data set, as clients type it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetName {
    namespace: String,
    name: String,
}

impl DatasetName {
    /// Parses `namespace/name`.
    ///
    /// # Errors
    /// [`IdError`] when either half is missing or has other characters than `a-z 0-9 - _ .`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (namespace, name) = text.split_once('/').ok_or(IdError::Empty { what: "data set name after '/'" })?;
        check("data set namespace", namespace)?;
        check("data set name", name)?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The part before the slash.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Display for DatasetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl From<DatasetName> for String {
    fn from(value: DatasetName) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for DatasetName {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_error_never_repeats_the_text() {
        let error = DonorId::parse("Jane Doe").unwrap_err().to_string();
        assert!(!error.contains("Jane"), "{error}");
        assert_eq!(error, "donor id has a character other than a-z, 0-9, '-', '_' and '.' at position 1");
    }

    #[test]
    fn path_tricks_are_not_ids() {
        for bad in ["", "..", ".hidden", "a/b", "a b"] {
            assert!(SourceId::parse(bad).is_err(), "{bad}");
        }
        assert!(DatasetName::parse("acequia/breast-cancer-survival").is_ok());
        assert!(DatasetName::parse("acequia").is_err());
        assert!(DatasetName::parse("a/../b").is_err());
    }
}
