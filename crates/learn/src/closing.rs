//! Over which sites an aggregator closed a round. It is on its disk before the sum is told: a second sum over other sites is refused
//! also after a crash, for the difference of the two could be somebody's data.

use std::collections::BTreeSet;

use acequia_types::Digest;
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::plan::Dropouts;
use crate::protocol::Ask;

/// Sites in a masked sum, at least, whatever a plan says: a sum over one is that one's.
pub const SITES_MIN: usize = 2;

/// A round that is to be closed, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    context: Digest,
    question: Digest,
    sites: Vec<String>,
}

impl Closed {
    /// The round of a question, over these sites.
    pub fn over(ask: &Ask, sites: impl IntoIterator<Item = String>) -> Self {
        let sites: BTreeSet<String> = sites.into_iter().collect();
        Self { context: ask.context(), question: ask.question.digest(), sites: sites.into_iter().collect() }
    }

    /// Whose shares are added up, sorted.
    pub fn sites(&self) -> &[String] {
        &self.sites
    }

    /// Over which sites a question was closed before, if it was: no sum of it may be over others.
    pub fn binds<'c>(ask: &Ask, before: &'c [Self]) -> Option<&'c [String]> {
        let (context, question) = (ask.context(), ask.question.digest());
        before.iter().find(|closed| closed.context == context || closed.question == question).map(Self::sites)
    }

    /// Whether `from` may have it closed, after the rounds that were closed before, of a run of all these sites. `true` where it is new,
    /// and is to be on disk before the sum is told.
    ///
    /// # Errors
    /// [`LearnError::Protocol`].
    pub fn is_new(&self, from: &str, before: &[Self], all: &[String], dropouts: Dropouts) -> Result<bool, LearnError> {
        let refuse = |reason| Err(LearnError::Protocol { from: from.to_owned(), reason });
        if self.sites.len() < SITES_MIN {
            return refuse("a sum over one site would be that site's own");
        }
        if dropouts == Dropouts::Wait && self.sites != all {
            return refuse("the plan lets nobody add up without a site that takes part");
        }
        let known = before.iter().find(|closed| closed.context == self.context);
        if known.is_some_and(|closed| closed != self) {
            return refuse("the round was closed with other sites");
        }
        // Two sums of one question over two sets of sites differ by somebody's rows, whatever the round.
        if before.iter().any(|closed| closed.question == self.question && closed.sites != self.sites) {
            return refuse("the same question was closed with other sites");
        }
        let grew = |closed: &Self| self.sites.iter().any(|site| !closed.sites.contains(site));
        if known.is_none() && before.last().is_some_and(grew) {
            return refuse("a site that was left out stays out");
        }
        Ok(known.is_none())
    }
}
