//! `account`: who may sign in to the node's pages.

use acequia_portal::{Account, Holder, Invitation};

use crate::failure::{Failure, NodeError};
use crate::home::Node;

impl Node {
    /// A code for somebody, who then signs in with a passkey. `by` is who knows the person. Whoever lost the passkey is invited by
    /// two different persons.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn invite(&self, holder: &Holder, by: &str) -> Result<Invitation, Failure> {
        Ok(acequia_portal::invite(&self.store, holder, by, self.clock.now()).await?)
    }

    /// Whether the node holds anything of a donor or an institution.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn holds(&self, holder: &Holder) -> Result<bool, Failure> {
        Ok(match holder {
            Holder::Donor(donor) => {
                self.store.consent(donor).await?.is_some() || !self.store.donations_of(donor).await?.is_empty()
            }
            Holder::Institution(source) => !self.store.donations_from(source).await?.is_empty(),
        })
    }

    /// Every account, by role and name.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn accounts(&self) -> Result<Vec<Account>, Failure> {
        Ok(self.store.accounts().await?)
    }

    /// Closes an account: its passkeys and codes open nothing any more. What was given and decided stays.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when there is none.
    pub async fn close_account(&self, holder: &Holder, by: &str) -> Result<(), Failure> {
        let closed = self.store.close_account(holder, by, self.clock.now()).await?;
        if closed { Ok(()) } else { Err(NodeError::NotFound { what: "account" }.into()) }
    }
}
