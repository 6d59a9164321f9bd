//! Passes for addresses that clients read without their own token, as those of xorbs are. A pass stands for the token, or for what passports were
//! exchanged for, and opens nothing by itself: who stands behind it is asked at every request, so that it ends with what it stands for.

use acequia_types::{Digest, Timestamp};
use ring::hmac;

/// What a pass begins with.
pub(super) const BEGINS: &str = "acequia_xet_";
/// How long one counts, in seconds, if what it stands for does.
const GOOD_FOR_S: i64 = 6 * 60 * 60;

/// What a pass stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// The token of this id.
    Token(String),
    /// What passports were exchanged for, by its digest.
    Passports(Digest),
}

/// Makes passes and reads them.
pub(super) struct Passes(hmac::Key);

impl Passes {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A pass for what is called `name`, which is good for nothing else.
    pub(super) fn make(&self, whose: &Whose, name: &str, now: Timestamp) -> String {
        let (kind, id) = match whose {
            Whose::Token(id) => ("t", id.clone()),
            Whose::Passports(digest) => ("p", digest.to_string()),
        };
        let stated = format!("{kind}.{id}.{}", now.unix_s() + GOOD_FOR_S);
        let signature = hmac::sign(&self.0, format!("{stated}\0{name}").as_bytes());
        format!("{BEGINS}{stated}.{}", hex::encode(signature))
    }

    /// What a pass for what is called `name` stands for, if this node made it and its time is not up.
    pub(super) fn read(&self, pass: &str, name: &str, now: Timestamp) -> Option<Whose> {
        let (stated, signature) = pass.strip_prefix(BEGINS)?.rsplit_once('.')?;
        let signature = hex::decode(signature).ok()?;
        hmac::verify(&self.0, format!("{stated}\0{name}").as_bytes(), &signature).ok()?;
        let [kind, id, until] = stated.split('.').collect::<Vec<_>>()[..] else { return None };
        if now.unix_s() > until.parse().ok()? {
            return None;
        }
        match kind {
            "t" => Some(Whose::Token(id.to_owned())),
            "p" => Digest::parse(id).ok().map(Whose::Passports),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_good_for_its_name_its_node_and_its_time() {
        let passes = Passes::new(&[1; 32]);
        let at = Timestamp::from_unix_s;
        for whose in [Whose::Token("0a0b".to_owned()), Whose::Passports(Digest::of(b"x"))] {
            let pass = passes.make(&whose, "datasets/lab/cohort", at(1000));
            let read = |pass: &str, name: &str, now: i64| passes.read(pass, name, at(now));
            assert_eq!(read(&pass, "datasets/lab/cohort", 1000 + GOOD_FOR_S), Some(whose));
            assert_eq!(read(&pass, "datasets/lab/cohort", 1001 + GOOD_FOR_S), None);
            assert_eq!(read(&pass, "datasets/lab/cohorts", 1000), None);
            assert_eq!(Passes::new(&[2; 32]).read(&pass, "datasets/lab/cohort", at(1000)), None);
            for place in 0..pass.len() {
                let mut changed = pass.clone();
                let other = if &pass[place..=place] == "0" { "1" } else { "0" };
                changed.replace_range(place..=place, other);
                assert_eq!(read(&changed, "datasets/lab/cohort", 1000), None, "{place}");
            }
        }
    }
}
