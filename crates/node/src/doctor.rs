//! `doctor`: is the node whole?

use std::collections::BTreeSet;

use acequia_store::{Donation, Release, Step};
use acequia_types::{Coded, Digest};
use serde::Serialize;

use crate::failure::Failure;
use crate::home::Node;
use crate::mirror::Mirror;

/// One thing the doctor looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Examination {
    /// What was looked at.
    pub name: String,
    /// Whether it is well.
    pub held: bool,
    /// Counts and words.
    pub detail: String,
}

/// Blobs without which this node's own records are not whole.
pub(crate) fn referred(donations: &[Donation], steps: &[Step], releases: &[Release]) -> BTreeSet<Digest> {
    let mut referred: BTreeSet<Digest> = BTreeSet::new();
    referred.extend(donations.iter().flat_map(|donation| [Some(donation.sealed), donation.mapping]).flatten());
    referred.extend(steps.iter().flat_map(|step| step.blobs.iter().map(|(_, digest)| *digest)));
    referred.extend(releases.iter().flat_map(|release| release.files.iter().map(|(_, digest)| *digest)));
    referred.extend(releases.iter().flat_map(crate::ledger::sealed_of));
    referred
}

impl Node {
    /// Looks at records, keys, blobs and published versions. `mend` removes what no record refers to.
    ///
    /// # Errors
    /// When the store itself cannot be read.
    pub async fn doctor(&self, mend: bool) -> Result<Vec<Examination>, Failure> {
        // While something is mended nothing may be stored, or what was just stored would look left over.
        let _lock = if mend { Some(self.lock()?) } else { None };
        let _uploads = if mend { Some(self.lock_uploads()?) } else { None };
        let mut findings = Vec::new();
        let mut look = |name: &str, held: bool, detail: String| {
            findings.push(Examination { name: name.to_owned(), held, detail });
        };
        let records = self.store.check().await;
        look(
            "records",
            records.is_ok(),
            records.map_or_else(|e| e.to_string(), |()| "integrity check passed".to_owned()),
        );

        let private = crate::home::is_private(&self.home.join("keys").join("root.key"));
        let words =
            if private { "the root key is for its owner only" } else { "others can read keys/root.key: chmod 600" };
        look("keys", private, words.to_owned());

        let (donations, steps, releases) =
            (self.store.donations().await?, self.store.steps().await?, self.store.releases().await?);
        // Consents begin and end by the clock: one that runs behind would let expired ones hold.
        let now = self.clock.now();
        let latest = donations.iter().map(|donation| donation.received_at);
        let latest = latest.chain(releases.iter().map(|release| release.published_at)).max();
        let right = latest.is_none_or(|latest| latest <= now);
        let words = if right { "not before anything on record" } else { "before something on record: set the clock" };
        look("clock", right, words.to_owned());

        let trial = self.blobs.try_out();
        let usable = trial.is_ok();
        let words = match trial {
            Ok(()) => format!("{}: can be written, read, listed and removed", self.blobs.place()),
            Err(trial) => {
                let (tried, error) = (trial.tried.as_str(), trial.error);
                format!("{} cannot be {tried}: {error} ({}); {}", self.blobs.place(), error.code(), error.hint())
            }
        };
        look("blob store", usable, words);
        if !usable {
            look("blobs and versions", false, "not looked at".to_owned());
            return Ok(findings);
        }

        let mirrors = self.mirrors().await?;
        let mut referred = referred(&donations, &steps, &releases);
        referred.extend(mirrors.iter().flat_map(Mirror::needs));
        referred.extend(self.store.deposited_blobs().await?);
        let there: BTreeSet<Digest> = self.blobs.list()?.into_iter().collect();
        let missing = referred.difference(&there).count();
        look("blobs present", missing == 0, format!("{} referred to, {missing} missing", referred.len()));

        let damaged = self.blobs.check_all()?;
        look("blobs whole", damaged.is_empty(), format!("{} damaged", damaged.len()));

        // What is known of neighbours can be had again.
        referred.extend(self.manifests_of_neighbours().await?);
        let orphans: Vec<&Digest> = there.difference(&referred).collect();
        if mend {
            for digest in orphans.iter().copied() {
                self.blobs.remove(digest)?;
            }
            self.blobs.sweep()?;
            self.sweep_fetched()?;
        }
        let doing = if mend { "removed" } else { "left by interrupted work; `--mend` removes them" };
        look("blobs without record", true, format!("{} {doing}", orphans.len()));

        let (files, lost) = self.deposits()?.missing().await?;
        let words = format!("{files} files of commits, {lost} without their bytes or key");
        look("deposits", lost == 0, words);

        let own = releases.iter().map(|release| (release.dataset.clone(), release.version.clone()));
        let mirrored = mirrors.iter().filter(|mirror| mirror.is_served());
        let mirrored = mirrored.map(|mirror| (mirror.dataset.clone(), mirror.version.clone()));
        for (dataset, version) in own.chain(mirrored) {
            let name = format!("{dataset} {version}");
            match self.verify(&dataset, Some(&version)).await {
                Ok((_, verification)) => {
                    let failed = verification.checks.iter().filter(|check| !check.held).count();
                    look(&name, failed == 0, format!("{} checks, {failed} failed", verification.checks.len()));
                }
                Err(failure) => look(&name, false, failure.to_string()),
            }
        }
        Ok(findings)
    }
}
