//! The recipe: one TOML file that says how a data set is made. It holds no patient data.

use std::collections::BTreeMap;
use std::path::Path;

use acequia_custody::Purpose;
use acequia_deidentify::{Ledger, Policy};
use acequia_gate::InputDigest;
use acequia_release::{ConsentPlan, Plan};
use acequia_types::{Digest, SourceId, digest_named};
use acequia_vocabulary::{Review, read_review};
use serde::Deserialize;

use crate::failure::{Failure, NodeError, io};

/// A recipe with the files it refers to.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Which sources are used.
    pub sources: Vec<SourceId>,
    /// What donors must have allowed.
    pub purpose: Purpose,
    /// Seed of the split assignment.
    pub seed: u64,
    /// One `SELECT` over the OMOP tables: one row per person.
    pub cohort_sql: String,
    /// What people of the sources decided about their own codes; goes before the vocabulary.
    pub review: Option<Review>,
    /// How the table is de-identified.
    pub policy: Policy,
    /// How a version must stand beside the earlier ones.
    pub ledger: Ledger,
    /// Hierarchy files that the policy names.
    pub hierarchies: BTreeMap<String, Vec<u8>>,
    /// Digest of the recipe and every file it refers to.
    pub digest: Digest,
    release: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    sources: Vec<SourceId>,
    purpose: Purpose,
    seed: u64,
    #[serde(default)]
    local_codes: Option<String>,
    cohort: Cohort,
    deidentify: Policy,
    #[serde(default)]
    ledger: Ledger,
    release: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cohort {
    sql: String,
}

fn wrong(message: impl Into<String>) -> NodeError {
    NodeError::Recipe { message: message.into() }
}

impl Recipe {
    /// Reads a recipe; the files it names are looked for beside it.
    ///
    /// # Errors
    /// [`NodeError::Recipe`] with row and key, [`NodeError::Io`] when a file is missing.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(io("the recipe", "read"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let beside = |name: &str| -> Result<Vec<u8>, Failure> {
            if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
                return Err(wrong(format!("{name}: name a file in the recipe's own folder")).into());
            }
            Ok(std::fs::read(folder.join(name)).map_err(io(format!("{name}, which the recipe names,"), "read"))?)
        };
        let written: Written = toml::from_str(&text).map_err(|error| {
            let row = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            wrong(format!("row {row}: {}", error.message()))
        })?;
        if written.purpose != Purpose::OpenPublication {
            let problem = "a recipe publishes openly, so its purpose must be open-publication";
            return Err(wrong(format!("purpose: {problem}")).into());
        }
        written.ledger.check(&written.deidentify)?;
        let sql = beside(&written.cohort.sql)?;
        let cohort_sql = String::from_utf8(sql).map_err(|_| wrong(format!("{} is not UTF-8", written.cohort.sql)))?;
        let review = written.local_codes.as_deref().map(beside).transpose()?;
        let mut hierarchies = BTreeMap::new();
        for name in written.deidentify.hierarchy_files().into_iter().chain(written.deidentify.key_files()) {
            hierarchies.insert(name.to_owned(), beside(name)?);
        }
        let mut parts: Vec<(&str, &[u8])> = vec![("recipe", text.as_bytes()), ("cohort", cohort_sql.as_bytes())];
        parts.extend(review.iter().map(|bytes| ("local codes", bytes.as_slice())));
        parts.extend(hierarchies.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        let digest = digest_named("acequia recipe v1", parts);
        let recipe = Self {
            sources: written.sources,
            purpose: written.purpose,
            seed: written.seed,
            cohort_sql,
            review: review.map(|bytes| read_review(&bytes)).transpose()?,
            policy: written.deidentify,
            ledger: written.ledger,
            hierarchies,
            digest,
            release: written.release,
        };
        // A mistake in the texts should be told before an hour of work, not after.
        let placeholder = InputDigest { source: "-".to_owned(), format: "-".to_owned(), files: 0, digest };
        recipe.plan(vec![placeholder], ConsentPlan::default())?.check()?;
        Ok(recipe)
    }

    /// The release plan: the recipe's texts and settings with the run's digests and counts.
    ///
    /// # Errors
    /// [`NodeError::Recipe`] when `[release]` has a wrong or missing key.
    pub fn plan(&self, inputs: Vec<InputDigest>, consent: ConsentPlan) -> Result<Plan, Failure> {
        let mut plan = serde_json::to_value(&self.release).map_err(|_| wrong("[release] cannot be read"))?;
        for computed in ["seed", "recipe", "program", "inputs", "consent"] {
            if plan.get(computed).is_some() {
                return Err(wrong(format!("[release] must not set {computed}; the program states it")).into());
            }
        }
        plan["seed"] = self.seed.into();
        plan["recipe"] = self.digest.to_string().into();
        plan["program"] = crate::PROGRAM.into();
        let json =
            |value: Result<serde_json::Value, serde_json::Error>| value.map_err(|_| wrong("[release] cannot be read"));
        plan["inputs"] = json(serde_json::to_value(inputs))?;
        plan["consent"] = json(serde_json::to_value(consent))?;
        Ok(serde_json::from_value(plan).map_err(|error| wrong(format!("[release]: {error}")))?)
    }
}
