//! Addresses that let somebody upload one thing for some hours. The upload itself carries no token, so the address must say
//! everything, and nobody else must be able to make one.

use acequia_types::{Digest, Timestamp};

use crate::DepositError;

/// How long an address is good for, in seconds: long enough for a slow line.
const GOOD_FOR_S: i64 = 6 * 60 * 60;

/// What of an object an address takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// All of it.
    Whole,
    /// One part, from 1.
    Part(u64),
    /// Nothing more: the parts are all there.
    Complete,
}

impl What {
    fn word(self) -> String {
        match self {
            Self::Whole => "whole".to_owned(),
            Self::Part(number) => format!("part-{number}"),
            Self::Complete => "complete".to_owned(),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        match word {
            "whole" => Some(Self::Whole),
            "complete" => Some(Self::Complete),
            _ => {
                let digits = word.strip_prefix("part-")?;
                let number: u64 = digits.parse().ok()?;
                (number > 0 && number.to_string() == digits).then_some(Self::Part(number))
            }
        }
    }
}

/// Permission to upload one object, or a part of it, to one deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capability {
    /// The deposit, as records name it.
    pub(crate) deposit: String,
    pub(crate) oid: Digest,
    /// Of the whole object.
    pub(crate) bytes: u64,
    pub(crate) what: What,
    /// Whose: what a revoked token gave out counts no more.
    pub(crate) token: String,
    pub(crate) until: Timestamp,
}

/// What a pass opens. One for reading stands in addresses, and uploads nothing, whatever its token may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Read,
    Write,
}

impl Way {
    fn kind(self) -> &'static str {
        match self {
            Self::Read => "xet read",
            Self::Write => "xet",
        }
    }
}

/// Signs addresses.
#[derive(Clone)]
pub(crate) struct Signer([u8; 32]);

impl Signer {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Tells texts of different kinds apart, so that one is never taken for the other.
    fn sign(&self, kind: &str, text: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.0, format!("{kind}\0{text}").as_bytes())
    }

    fn is_signed(&self, kind: &str, text: &str, signature: &str) -> bool {
        // Comparing hashes of blake3 takes the same time whatever they are.
        blake3::Hash::from_hex(signature).is_ok_and(|given| given == self.sign(kind, text))
    }

    /// Until when something that is given out at `now` is good.
    pub(crate) fn until(now: Timestamp) -> Timestamp {
        Timestamp::from_unix_s(now.unix_s() + GOOD_FOR_S)
    }

    /// The path of the address, from the root.
    pub(crate) fn path(&self, capability: &Capability) -> String {
        let Capability { deposit, oid, bytes, what, token, until } = capability;
        let stated = format!("{deposit}/{oid}/{bytes}/{}/{token}/{}", what.word(), until.unix_s());
        format!("/deposits/{stated}/{}", self.sign("upload", &stated))
    }

    /// Reads the path of an address.
    ///
    /// # Errors
    /// [`DepositError::Capability`] when this node did not give it out, or its time is up.
    pub(crate) fn read(&self, parts: &[&str], now: Timestamp) -> Result<Capability, DepositError> {
        let ["deposits", kind, namespace, name, oid, bytes, what, token, until, signature] = parts else {
            return Err(DepositError::Capability);
        };
        let stated = [*kind, *namespace, *name, *oid, *bytes, *what, *token, *until].join("/");
        if !self.is_signed("upload", &stated, signature) {
            return Err(DepositError::Capability);
        }
        let parsed = || {
            Some(Capability {
                deposit: format!("{kind}/{namespace}/{name}"),
                oid: Digest::parse(oid).ok()?,
                bytes: bytes.parse().ok()?,
                what: What::parse(what)?,
                token: (*token).to_owned(),
                until: Timestamp::from_unix_s(until.parse().ok()?),
            })
        };
        parsed().filter(|capability| now <= capability.until).ok_or(DepositError::Capability)
    }

    /// A pass for the Xet routes of one deposit, where clients do not show their token.
    pub(crate) fn pass(&self, way: Way, deposit: &str, token: &str, until: Timestamp) -> String {
        let stated = format!("{deposit}:{token}:{}", until.unix_s());
        format!("{stated}:{}", self.sign(way.kind(), &stated))
    }

    /// The deposit and the token of a pass.
    ///
    /// # Errors
    /// [`DepositError::Capability`] when this node did not give it out, or its time is up.
    pub(crate) fn read_pass<'p>(
        &self,
        way: Way,
        pass: &'p str,
        now: Timestamp,
    ) -> Result<(&'p str, &'p str), DepositError> {
        let (stated, signature) = pass.rsplit_once(':').ok_or(DepositError::Capability)?;
        if !self.is_signed(way.kind(), stated, signature) {
            return Err(DepositError::Capability);
        }
        let mut fields = stated.split(':');
        let (deposit, token, until) = (fields.next(), fields.next(), fields.next());
        let good = until.and_then(|until| until.parse().ok()).is_some_and(|until| now.unix_s() <= until);
        match (deposit, token) {
            (Some(deposit), Some(token)) if good => Ok((deposit, token)),
            _ => Err(DepositError::Capability),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capability(now: i64) -> Capability {
        Capability {
            deposit: "datasets/lab/cohort".to_owned(),
            oid: Digest::of(b"x"),
            bytes: 17,
            what: What::Part(3),
            token: "0a0b0c0d".to_owned(),
            until: Signer::until(Timestamp::from_unix_s(now)),
        }
    }

    fn read(signer: &Signer, path: &str, now: i64) -> Result<Capability, DepositError> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        signer.read(&parts, Timestamp::from_unix_s(now))
    }

    #[test]
    fn an_address_is_good_for_its_time_and_its_node() {
        let signer = Signer::new([1; 32]);
        let path = signer.path(&capability(1000));
        assert_eq!(read(&signer, &path, 1000 + GOOD_FOR_S).unwrap(), capability(1000));
        assert!(read(&signer, &path, 1001 + GOOD_FOR_S).is_err());
        assert!(read(&Signer::new([2; 32]), &path, 1000).is_err());
        for (way, other) in [(Way::Read, Way::Write), (Way::Write, Way::Read)] {
            let pass = signer.pass(way, "datasets/lab/cohort", "0a", Timestamp::from_unix_s(5));
            assert_eq!(signer.read_pass(way, &pass, Timestamp::from_unix_s(5)).unwrap(), ("datasets/lab/cohort", "0a"));
            assert!(signer.read_pass(way, &pass, Timestamp::from_unix_s(6)).is_err());
            assert!(signer.read_pass(other, &pass, Timestamp::from_unix_s(5)).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is changed in it, the address is good for nothing: bound to deposit, object, length, part, token and time.
        #[test]
        fn any_other_address_is_refused(at in any::<prop::sample::Index>(), other in "[0-9a-z/]") {
            let signer = Signer::new([1; 32]);
            let path = signer.path(&capability(1000));
            let at = 10 + at.index(path.len() - 10);
            let mut changed = path.clone();
            changed.replace_range(at..=at, &other);
            if changed != path {
                prop_assert!(read(&signer, &changed, 1000).is_err());
            }
        }
    }
}
