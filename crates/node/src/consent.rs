//! `consent`: who allows what, and changes to it, by the clock of the node.

use acequia_custody::rights::Rules;
use acequia_store::NoticeText;
use acequia_types::{DonorId, Timestamp};
use acequia_vault::{ConsentChange, ConsentLine, DeskError, Happening, Withdrawal, open_publication_notice};

use crate::failure::{Failure, NodeError};
use crate::home::Node;

/// What a donor reads before allowing open publication, under the law in force; at a node [`Node::notice`] says it under its rules.
///
/// # Errors
/// [`NodeError::NotFound`] when the notice is not in that language.
pub fn bundled_notice(language: &str) -> Result<NoticeText, Failure> {
    let days = Rules::gdpr().cooling_off_days;
    let notice = open_publication_notice(language, days, Timestamp::from_unix_s(0));
    Ok(notice.ok_or(NodeError::NotFound { what: "notice in that language" })?)
}

/// The node's own words for what the desk does not find.
fn found<T>(answer: Result<T, DeskError>) -> Result<T, Failure> {
    answer.map_err(|error| match error {
        DeskError::NoDonor => NodeError::NotFound { what: "donor" }.into(),
        DeskError::NoLanguage => NodeError::NotFound { what: "notice in that language" }.into(),
        other => other.into(),
    })
}

impl Node {
    /// What a donor reads before allowing open publication: that it cannot be called back. The words go on record, for a consent
    /// names them.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when the notice is not in that language.
    pub async fn notice(&self, language: &str) -> Result<NoticeText, Failure> {
        found(self.desk().notice(language, self.clock.now()).await)
    }

    /// What followed from a donor's withdrawal.
    ///
    /// # Errors
    /// When nothing of the donor is on file.
    pub async fn withdrawal(&self, donor: &DonorId) -> Result<Withdrawal, Failure> {
        Ok(self.desk().withdrawal(donor, &self.policy, self.clock.now()).await?)
    }

    /// What happened to a donor's data, newest first.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when nothing is on file.
    pub async fn timeline(&self, donor: &DonorId) -> Result<Vec<Happening>, Failure> {
        found(self.desk().timeline(donor, self.clock.now()).await)
    }

    /// How one donor stands.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when nothing is on file.
    pub async fn consent(&self, donor: &DonorId) -> Result<ConsentLine, Failure> {
        found(self.desk().standing(donor, self.clock.now()).await)
    }

    /// How everybody stands.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn consents(&self) -> Result<Vec<ConsentLine>, Failure> {
        found(self.desk().standings(self.clock.now()).await)
    }

    /// Records what a donor does, now. The next version follows it; what is published stays.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when the donor never gave anything to this node.
    pub async fn change_consent(&self, donor: &DonorId, change: ConsentChange) -> Result<ConsentLine, Failure> {
        found(self.desk().change_consent(donor, change, self.clock.as_ref()).await)
    }
}
