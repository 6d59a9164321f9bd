//! Who may read what is not open: what readers ask for, and what the trustee decides.

use std::sync::Arc;

use acequia_access::{Decision, House, PromiseLine, Readers, RequestLine, RequestShown};
use acequia_hub::Catalogue;

use crate::failure::Failure;
use crate::home::Node;
use crate::settings::Settings;

impl Node {
    fn readers(&self) -> Readers {
        Readers::new(self.store.clone(), Arc::clone(&self.clock), self.access_key())
    }

    /// Every request for access, oldest first.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn access_requests(&self) -> Result<Vec<RequestLine>, Failure> {
        Ok(self.readers().list().await?)
    }

    /// A request for access with what was written.
    ///
    /// # Errors
    /// [`acequia_access::AccessError::NoRequest`].
    pub async fn access_request(&self, name: &str) -> Result<RequestShown, Failure> {
        Ok(self.readers().show(name).await?)
    }

    /// Records what the trustee decides about a request. It counts from the reader's next question on.
    ///
    /// # Errors
    /// [`acequia_access::AccessError::NoRequest`], [`acequia_access::AccessError::Decision`].
    pub async fn decide_access(&self, name: &str, decision: &Decision, by: &str) -> Result<RequestLine, Failure> {
        Ok(self.readers().decide(name, decision, by).await?)
    }

    /// Every promise of readers, oldest first.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn access_promises(&self) -> Result<Vec<PromiseLine>, Failure> {
        Ok(self.readers().promises().await?)
    }

    /// Takes a promise back for a reason, or lets it count again, without one. It counts from the reader's next question on.
    ///
    /// # Errors
    /// [`acequia_access::AccessError::NoPromise`], [`acequia_access::AccessError::Decision`].
    pub async fn decide_promise(
        &self,
        name: &str,
        taken_back_for: Option<&str>,
        by: &str,
    ) -> Result<PromiseLine, Failure> {
        Ok(self.readers().decide_promise(name, taken_back_for, by).await?)
    }

    /// Access in front of `behind`, which learns of every request what it may read. `address` is the node's as readers reach it. Nobody
    /// signs in over plain HTTP, but on this very machine.
    ///
    /// # Errors
    /// Errors of the settings.
    pub(crate) fn access(
        &self,
        catalogue: Arc<dyn Catalogue>,
        address: &str,
        behind: axum::Router,
    ) -> Result<axum::Router, Failure> {
        let settings = Settings::read(&self.home)?;
        let safe = address.starts_with("https://") || address.starts_with("http://localhost:");
        let login = settings.login(&self.home)?;
        if login.is_some() && !safe {
            tracing::warn!("nobody can sign in: the public address is not https");
        }
        let house = House {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            root: self.access_key(),
            catalogue,
            login: login.filter(|_| safe),
            visas: settings.visas(),
            address: address.to_owned(),
            contact: settings.operator().map(|operator| operator.contact).filter(|contact| !contact.is_empty()),
        };
        Ok(acequia_access::router(house, behind)?)
    }
}
