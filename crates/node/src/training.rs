//! Training on donors: their rows join a run as one more site, and consent is asked again before every answer.

use std::collections::BTreeMap;

use acequia_custody::{Approval, ApprovalRefused, Conditions, Grant, Policy, approve_granted};
use acequia_learn::{Data, Plan, SiteMap};
use acequia_types::{Digest, DonorId};
use acequia_vault::{Use, VaultError};

use crate::failure::Failure;
use crate::home::Node;
use crate::progress::Progress;
use crate::recipe::CohortDefinition;

/// How the access log names a run, by the digest of its plan.
pub(crate) fn reason_of(plan: Digest) -> String {
    format!("training, plan {plan}")
}

/// Rows of donors as numbers, for as long as all of them allow it.
pub struct TrainingRows {
    /// The rows.
    pub data: Data,
    /// Files behind them, by donor.
    files: BTreeMap<DonorId, u64>,
    grant: Grant,
    /// The rules it was granted under, with the last day of an assessment.
    policy: Policy,
    /// Digest of the plan, by which the access log names the run.
    reason: String,
    /// Digest of the cohort that they are of.
    cohort: Digest,
}

impl TrainingRows {
    /// People and institutions behind the rows.
    pub fn donors(&self) -> usize {
        self.files.len()
    }
}

impl Node {
    /// The rows of a cohort that a plan needs, from the files whose donors allow it now. `name` names them as a site.
    ///
    /// # Errors
    /// [`crate::NodeError::NothingGranted`]; the coded error of the stage that refused.
    pub async fn training_rows(
        &self,
        name: &str,
        cohort: &CohortDefinition,
        plan: &Plan,
        progress: &dyn Progress,
    ) -> Result<TrainingRows, Failure> {
        let _lock = self.lock()?;
        let policy = self.policy_for(cohort.digest).await?;
        let selection = self.select(cohort, None, &policy, Conditions::none()).await?;
        let reason = reason_of(plan.digest());
        let clean = self.clean_tables(cohort, &selection, &reason, progress, &mut |_, _, _| {}).await?;
        let rows = self.cohort_rows(cohort, &clean.tables)?;
        let data = Data::from_table(name, &rows, &plan.needs(), &SiteMap::default())?;
        let mut files: BTreeMap<DonorId, u64> = BTreeMap::new();
        for donation in selection.granted {
            *files.entry(donation.donor).or_default() += 1;
        }
        Ok(TrainingRows { data, files, grant: selection.grant, policy, reason, cohort: cohort.digest })
    }

    /// Approves one answer (its digest) that follows from the rows, if every donor behind them still allows it.
    ///
    /// # Errors
    /// [`ApprovalRefused`] with the reasons; when consent cannot be read, nobody is known to allow it.
    pub async fn approve_answer(&self, rows: &TrainingRows, answer: Digest) -> Result<Approval, ApprovalRefused> {
        let consents = self.store.consents().await.unwrap_or_default();
        let donors = rows.files.keys().cloned().collect();
        let history = |donor: &DonorId| consents.get(donor).cloned();
        approve_granted(answer, &rows.grant, &donors, history, &rows.policy, self.clock.now())
    }

    /// Puts on record that a model which learned from the rows is told, if every donor still allows it; see [`Node::use_for_training`].
    /// By this it is known later whose rows are in the model.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn tell_model(&self, rows: &TrainingRows, model: Digest) -> Result<bool, Failure> {
        self.use_for_training(rows, &format!("model {model}, cohort {}", rows.cohort)).await
    }

    /// Puts one use of the rows on record, for a `step` of the run (`round 3`), if every donor still allows it. `false` means
    /// that somebody does not: then no number that follows from the rows may leave, and they are to be made anew.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn use_for_training(&self, rows: &TrainingRows, step: &str) -> Result<bool, Failure> {
        let files = rows.files.iter().map(|(donor, files)| (donor, *files)).collect();
        let used = Use { actor: "train", reason: &format!("{}, {step}", rows.reason) };
        let vault = self.vault.clone().under(rows.policy.clone());
        match vault.record_use(&files, &rows.grant, used, self.clock.now()).await {
            Ok(()) => Ok(true),
            Err(VaultError::ConsentChanged { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
