//! Of which xorbs the files of drafts are made, for reading them by Xet. Worked out while bytes arrive, sealed beside them, and worked out again
//! where it is missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use acequia_gate::ReleasedFile;
use acequia_hub::wire;
use acequia_store::StoredObject;
use acequia_types::{Coded, Digest};
use acequia_xet::{Plan, XetHash};

use crate::stow::SealedFile;
use crate::{DepositError, DepositName, Deposits};

/// What plans are called among the objects of a deposit.
const PLAN: &str = "xet-";
/// Xorbs of all plans that are kept in mind, of 48 bytes each.
const MOST_IN_MIND: usize = 500_000;
/// Files that stay opened, with a chunk of 4 MiB each.
const MOST_OPENED: usize = 4;

/// Where the plan of an object lies.
fn beside(object: &str) -> String {
    format!("{PLAN}{object}")
}

/// The object that this is the plan of; any other is itself.
pub(crate) fn object_of(object: &str) -> &str {
    object.strip_prefix(PLAN).unwrap_or(object)
}

/// A deposit and a content of it.
type Named = (String, Digest);

/// Plans that are in memory, and those that are being made.
#[derive(Default)]
pub(crate) struct Plans {
    in_mind: Mutex<BTreeMap<Named, Arc<Plan>>>,
    being_made: Mutex<BTreeSet<Named>>,
    /// Files that xorbs were read of last: a chunk of them is opened, and xorbs lie in it one after the other.
    opened: Mutex<VecDeque<(Named, Arc<SealedFile>)>>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Plans {
    fn get(&self, key: &str, sha256: Digest) -> Option<Arc<Plan>> {
        let in_mind = self.in_mind.lock().unwrap_or_else(PoisonError::into_inner);
        in_mind.get(&(key.to_owned(), sha256)).cloned()
    }

    /// The content of a file that was asked for lately, by the file's hash.
    fn named(&self, key: &str, hash: &XetHash) -> Option<Digest> {
        let in_mind = self.in_mind.lock().unwrap_or_else(PoisonError::into_inner);
        in_mind.iter().find(|((own, _), plan)| own == key && plan.hash() == hash).map(|((_, sha256), _)| *sha256)
    }

    /// Forgets what is in mind of a deposit.
    pub(crate) fn forget(&self, key: &str) {
        self.in_mind.lock().unwrap_or_else(PoisonError::into_inner).retain(|(own, _), _| own != key);
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).retain(|((own, _), _)| own != key);
    }

    fn put(&self, key: &str, sha256: Digest, plan: Plan) -> Arc<Plan> {
        let mut in_mind = self.in_mind.lock().unwrap_or_else(PoisonError::into_inner);
        let xorbs = in_mind.values().fold(plan.xorbs().len(), |sum, plan| sum.saturating_add(plan.xorbs().len()));
        if xorbs > MOST_IN_MIND {
            in_mind.clear();
        }
        let plan = Arc::new(plan);
        in_mind.insert((key.to_owned(), sha256), Arc::clone(&plan));
        plan
    }
}

fn hash_of(stored: &StoredObject) -> Option<XetHash> {
    XetHash::parse(&stored.tag).ok()
}

impl Deposits {
    /// Keeps the plan of an object. Its hash stands in the record, so that lists need not open it.
    pub(crate) async fn keep_plan(&self, key: &str, object: &str, plan: &Plan) -> Result<(), DepositError> {
        let (name, kept) = (beside(object), plan.to_bytes());
        let mut writer = self.sealed(key).await?.writer(&name, 0, kept.len() as u64);
        let written = tokio::task::spawn_blocking(move || {
            writer.write(&kept)?;
            writer.finish()
        });
        let both = written.await.map_err(|_| DepositError::Sealed)??;
        self.keep_as(key, &name, (0, plan.hash().to_string()), both).await
    }

    /// The hashes of all files that there is a plan of, by their SHA-256.
    pub(crate) async fn plan_hashes(&self, key: &str) -> Result<BTreeMap<String, XetHash>, DepositError> {
        let all = self.stored(key).await?;
        Ok(all.iter().filter_map(|own| Some((own.object.strip_prefix(PLAN)?.to_owned(), hash_of(own)?))).collect())
    }

    /// The hash of a file, if there is a plan of it. Otherwise one is made in the background.
    pub(crate) async fn plan_hash(
        self: &Arc<Self>,
        key: &str,
        sha256: Digest,
    ) -> Result<Option<XetHash>, DepositError> {
        let stored = self.object(key, &beside(&sha256.to_string()), 0).await?;
        let hash = stored.as_ref().and_then(hash_of);
        if hash.is_none() {
            self.make_plan(key, sha256);
        }
        Ok(hash)
    }

    /// The plan of a file, if there is one.
    pub(crate) async fn plan(&self, key: &str, sha256: Digest) -> Result<Option<Arc<Plan>>, DepositError> {
        if let Some(plan) = self.plans.get(key, sha256) {
            return Ok(Some(plan));
        }
        let Some(stored) = self.object(key, &beside(&sha256.to_string()), 0).await? else { return Ok(None) };
        let file = self.sealed(key).await?.file(&stored);
        let read = tokio::task::spawn_blocking(move || file.read(0..file.len()));
        let plan = Plan::from_bytes(&read.await.map_err(|_| DepositError::Sealed)??);
        Ok(plan.map(|plan| self.plans.put(key, sha256, plan)))
    }

    /// The content with this hash of Xet, if there is a plan of one.
    pub(crate) async fn planned(&self, key: &str, hash: &XetHash) -> Result<Option<Digest>, DepositError> {
        if let Some(known) = self.plans.named(key, hash) {
            return Ok(Some(known));
        }
        let all = self.plan_hashes(key).await?;
        let found = all.iter().find(|(_, own)| *own == hash);
        Ok(found.and_then(|(sha256, _)| Digest::parse(sha256).ok()))
    }

    /// The bytes of a file of a draft, whose last chunk stays opened for the next xorb.
    pub(crate) async fn kept_open(
        &self,
        name: &DepositName,
        file: &ReleasedFile,
    ) -> Result<Arc<SealedFile>, DepositError> {
        let own = (name.key(), file.sha256);
        let opened = || self.plans.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, there)) = opened().iter().find(|(key, _)| *key == own) {
            return Ok(Arc::clone(there));
        }
        let bytes = Arc::new(self.file(name, file).await?);
        let mut opened = opened();
        if opened.len() == MOST_OPENED {
            opened.pop_front();
        }
        opened.push_back((own, Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// Begins to make a plan of an object that is here, if nobody does.
    fn make_plan(self: &Arc<Self>, key: &str, sha256: Digest) {
        let own = (key.to_owned(), sha256);
        if !self.plans.being_made.lock().unwrap_or_else(PoisonError::into_inner).insert(own.clone()) {
            return;
        }
        let deposits = Arc::clone(self);
        tokio::spawn(async move {
            let _alone = deposits.plans.one_at_a_time.lock().await;
            if let Err(error) = deposits.made_plan(&own.0, sha256).await {
                tracing::warn!(code = error.code(), "a file of a draft is not told as xorbs: {error}");
            }
            deposits.plans.being_made.lock().unwrap_or_else(PoisonError::into_inner).remove(&own);
        });
    }

    async fn made_plan(&self, key: &str, sha256: Digest) -> Result<(), DepositError> {
        let _working = self.working().await?;
        let object = sha256.to_string();
        let Some(stored) = self.object(key, &object, 0).await? else { return Ok(()) };
        let file = self.sealed(key).await?.file(&stored);
        let planned = tokio::task::spawn_blocking(move || wire::xet_plan(&file, sha256, stored.bytes));
        let plan = planned.await.map_err(|_| DepositError::Sealed)?.map_err(|_| DepositError::Sealed)?;
        self.keep_plan(key, &object, &plan).await
    }
}
