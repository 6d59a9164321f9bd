//! The chain that ties a donor's consent records together, so that none can be changed, dropped or reordered unseen.
//!
//! Each record commits to what was done with a salt of 32 random bytes. When salt and payload are destroyed, the commitment is a
//! number that tells nothing, and the chain can still be verified.
//!
//! Source: reference design §3.2; EDPB Guidelines 02/2025 (keep personal data outside the ledger).

use acequia_types::{Digest, Timestamp, digest_named};

/// Bytes of salt in a commitment.
pub const SALT_BYTES: usize = 32;

/// One link: everything of a record that stays when its payload is destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Place in the donor's chain, from 1.
    pub number: u64,
    /// When the node learnt of it.
    pub known_at: Timestamp,
    /// Commitment to salt and payload.
    pub commitment: Digest,
    /// Digest of the link before; that of nothing for the first.
    pub previous: Digest,
    /// Digest of this link.
    pub digest: Digest,
}

/// What is wrong with a chain. Names places only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainBroken {
    /// A link is missing, doubled or out of order.
    #[error("link {place} of a chain is missing or out of order")]
    Order {
        /// Place, from 1.
        place: u64,
    },
    /// A link was changed.
    #[error("link {place} of a chain was changed")]
    Changed {
        /// Place, from 1.
        place: u64,
    },
    /// A payload is not the one committed to.
    #[error("the payload of link {place} of a chain is not the one committed to")]
    Payload {
        /// Place, from 1.
        place: u64,
    },
}

/// Commitment to a payload: SHA-256 over domain, salt and payload with their lengths.
pub fn commit(salt: &[u8; SALT_BYTES], payload: &[u8]) -> Digest {
    digest_named("acequia consent commitment v1", [("salt", salt.as_slice()), ("payload", payload)])
}

/// Where the chain of a subject begins. A subject is a random name that stands for a donor as long as the node keeps the link
/// between the two.
pub fn beginning(subject: &str) -> Digest {
    digest_named("acequia consent chain v1", [("subject", subject.as_bytes())])
}

impl Link {
    /// The link after `previous`, which is the chain's beginning for the first one.
    pub fn after(previous: Digest, number: u64, known_at: Timestamp, commitment: Digest) -> Self {
        let (place, time) = (number.to_le_bytes(), known_at.unix_s().to_le_bytes());
        let parts: [(&str, &[u8]); 4] = [
            ("number", &place),
            ("known at", &time),
            ("commitment", commitment.as_bytes()),
            ("previous", previous.as_bytes()),
        ];
        let digest = digest_named("acequia consent link v1", parts);
        Self { number, known_at, commitment, previous, digest }
    }
}

/// Verifies a subject's whole chain, oldest first. `payload` gives salt and payload of a place, where they still exist.
///
/// # Errors
/// [`ChainBroken`] with the first place that is wrong.
pub fn verify_chain<'p>(
    subject: &str,
    links: &[Link],
    payload: impl Fn(u64) -> Option<(&'p [u8; SALT_BYTES], &'p [u8])>,
) -> Result<(), ChainBroken> {
    let mut previous = beginning(subject);
    for (place, link) in (1..).zip(links) {
        if link.number != place || link.previous != previous {
            return Err(ChainBroken::Order { place });
        }
        if Link::after(previous, place, link.known_at, link.commitment) != *link {
            return Err(ChainBroken::Changed { place });
        }
        if payload(place).is_some_and(|(salt, payload)| commit(salt, payload) != link.commitment) {
            return Err(ChainBroken::Payload { place });
        }
        previous = link.digest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(subject: &str, payloads: &[&[u8]]) -> Vec<Link> {
        let mut previous = beginning(subject);
        let link = |(at, payload): (usize, &&[u8])| {
            let number = at as u64 + 1;
            let link =
                Link::after(previous, number, Timestamp::from_unix_s(at as i64), commit(&[7; SALT_BYTES], payload));
            previous = link.digest;
            link
        };
        payloads.iter().enumerate().map(link).collect()
    }

    #[test]
    fn every_kind_of_tampering_names_its_place() {
        let subject = "d";
        let payloads: [&[u8]; 3] = [b"give", b"refuse", b"withdraw"];
        let links = chain(subject, &payloads);
        let salt = [7; SALT_BYTES];
        let verify = |links: &[Link], payloads: [&[u8]; 3]| {
            let payload = |place: u64| payloads.get(usize::try_from(place).unwrap() - 1).map(|bytes| (&salt, *bytes));
            verify_chain(subject, links, payload)
        };
        assert_eq!(verify(&links, payloads), Ok(()));
        assert_eq!(verify_chain(subject, &links, |_| None), Ok(()), "without payloads, after erasure");
        assert_eq!(verify(&links, [b"give", b"give", b"withdraw"]), Err(ChainBroken::Payload { place: 2 }));
        assert_eq!(verify(&[links[0].clone(), links[2].clone()], payloads), Err(ChainBroken::Order { place: 2 }));
        let swapped = [links[1].clone(), links[0].clone(), links[2].clone()];
        assert_eq!(verify(&swapped, payloads), Err(ChainBroken::Order { place: 1 }));
        let mut later = links.clone();
        later[1].known_at = Timestamp::from_unix_s(99);
        assert_eq!(verify(&later, payloads), Err(ChainBroken::Changed { place: 2 }));
        assert_eq!(verify_chain("e", &links, |_| None), Err(ChainBroken::Order { place: 1 }));
    }
}
