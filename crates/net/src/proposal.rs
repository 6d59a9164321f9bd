//! Whose plan it is: whoever proposes one signs it with the key that the roster knows, and no plan enters a site's queue without.
//! The connection proves who asks now; the signature stays with the plan, for whoever looks at it later, and goes along where other
//! sites pass a proposal on.

use acequia_types::{Digest, digest_named};

use crate::error::NetError;
use crate::identity::Identity;
use crate::roster::Roster;

const PURPOSE: &str = "acequia proposal 1";

/// What is signed: the plan, the roster it is to run under, and the sites where they propose it to one another.
fn subject(plan: &Digest, roster: &Digest, sites: &[String]) -> Digest {
    let head = [("plan", plan.as_bytes().as_slice()), ("roster", roster.as_bytes().as_slice())];
    digest_named(PURPOSE, head.into_iter().chain(sites.iter().map(|site| ("site", site.as_bytes()))))
}

/// Signs a plan as the member that `identity` is.
pub(crate) fn sign(identity: &Identity, plan: &Digest, roster: &Digest, sites: &[String]) -> String {
    identity.sign(PURPOSE, &subject(plan, roster, sites))
}

/// Whether the member `by` signed it.
///
/// # Errors
/// [`NetError::Unsigned`].
pub(crate) fn verify(
    roster: &Roster,
    by: &str,
    plan: &Digest,
    sites: &[String],
    signature: Option<&str>,
) -> Result<(), NetError> {
    let refuse = |reason| Err(NetError::Unsigned { by: by.to_owned(), reason });
    let Some(signature) = signature else { return refuse("it has no signature") };
    let subject = subject(plan, &roster.digest(), sites);
    match roster.named(by) {
        Some(member) if member.key.verifies(PURPOSE, &subject, signature) => Ok(()),
        Some(_) => refuse("another key signed it, or it is another plan, roster or set of sites"),
        None => refuse("the roster knows no such member"),
    }
}
