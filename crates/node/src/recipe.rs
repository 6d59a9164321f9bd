//! The recipe: one TOML file that says how a data set is made. It holds no patient data.

use std::collections::BTreeMap;
use std::path::Path;

use acequia_custody::Purpose;
use acequia_deidentify::{Ledger, Policy};
use acequia_gate::InputDigest;
use acequia_release::{ConsentPlan, Plan};
use acequia_types::{Day, Digest, SourceId, digest_named};
use acequia_vocabulary::{Review, read_review};
use serde::Deserialize;

use crate::failure::{Failure, NodeError, io};

/// A recipe with the files it refers to.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Whose records, for what, and which rows of them.
    pub cohort: CohortDefinition,
    /// Seed of the split assignment.
    pub seed: u64,
    /// How the table is de-identified.
    pub policy: Policy,
    /// How a version must stand beside the earlier ones.
    pub ledger: Ledger,
    /// Hierarchy files that the policy names.
    pub hierarchies: BTreeMap<String, Vec<u8>>,
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

/// Whose records a cohort is made from, for what, and which rows of them.
#[derive(Debug, Clone)]
pub struct CohortDefinition {
    /// Which sources are used.
    pub sources: Vec<SourceId>,
    /// What donors must have allowed.
    pub purpose: Purpose,
    /// What people of the sources decided about their own codes; goes before the vocabulary.
    pub review: Option<Review>,
    /// One `SELECT` over the OMOP tables: one row per person.
    pub sql: String,
    /// The day from which on dates are in the future.
    pub as_of: Day,
    /// Digest of the file that states it, and of every file it refers to.
    pub digest: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCohort {
    sources: Vec<SourceId>,
    purpose: Purpose,
    as_of: Day,
    sql: String,
    #[serde(default)]
    local_codes: Option<String>,
}

impl CohortDefinition {
    /// Reads the cohort of a training (TOML); the files it names are looked for beside it.
    ///
    /// # Errors
    /// [`NodeError::Recipe`] with row and key, [`NodeError::Io`] when a file is missing.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let files = Files::beside(path)?;
        let written: WrittenCohort = files.parse()?;
        if written.purpose != Purpose::ModelTraining {
            return Err(wrong("purpose: models are trained under model-training").into());
        }
        let for_what = (written.sources, written.purpose);
        let cohort = files.cohort("acequia cohort v1", for_what, &written.sql, written.local_codes.as_deref(), &[])?;
        Ok(Self { as_of: written.as_of, ..cohort })
    }
}

/// What an impact assessment is about: a recipe, or the cohort of a training.
#[derive(Debug, Clone)]
pub struct Assessable {
    /// Whose records, for what.
    pub cohort: CohortDefinition,
    /// How they are de-identified before they are published; `None` for a training, which publishes no rows.
    pub policy: Option<Policy>,
}

impl Assessable {
    /// Reads either kind of file.
    ///
    /// # Errors
    /// As [`Recipe::read`] and [`CohortDefinition::read`].
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let table: toml::Table = Files::beside(path)?.parse()?;
        // Only what publishes says how it releases.
        if table.contains_key("release") || table.contains_key("cohort") {
            let recipe = Recipe::read(path)?;
            return Ok(Self { cohort: recipe.cohort, policy: Some(recipe.policy) });
        }
        Ok(Self { cohort: CohortDefinition::read(path)?, policy: None })
    }
}

/// A file that says what to do, and those beside it that it names.
pub(crate) struct Files<'p> {
    folder: &'p Path,
    pub(crate) text: String,
}

impl<'p> Files<'p> {
    pub(crate) fn beside(path: &'p Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(io("the recipe", "read"))?;
        Ok(Self { folder: path.parent().unwrap_or(Path::new(".")), text })
    }

    pub(crate) fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        let text = &self.text;
        Ok(toml::from_str(text).map_err(|error| {
            let row = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            wrong(format!("row {row}: {}", error.message()))
        })?)
    }

    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, Failure> {
        if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(wrong(format!("{name}: name a file in the recipe's own folder")).into());
        }
        Ok(std::fs::read(self.folder.join(name)).map_err(io(format!("{name}, which the recipe names,"), "read"))?)
    }

    /// The cohort, of which `named` are further files that decide about it.
    fn cohort(
        &self,
        kind: &str,
        (sources, purpose): (Vec<SourceId>, Purpose),
        sql: &str,
        local_codes: Option<&str>,
        named: &[(&str, &[u8])],
    ) -> Result<CohortDefinition, Failure> {
        let not_utf8 = |_| wrong(format!("{sql} is not UTF-8"));
        let sql = String::from_utf8(self.read(sql)?).map_err(not_utf8)?;
        let review = local_codes.map(|name| self.read(name)).transpose()?;
        let mut parts: Vec<(&str, &[u8])> = vec![("recipe", self.text.as_bytes()), ("cohort", sql.as_bytes())];
        parts.extend(review.iter().map(|bytes| ("local codes", bytes.as_slice())));
        parts.extend_from_slice(named);
        let digest = digest_named(kind, parts);
        let review = review.map(|bytes| read_review(&bytes)).transpose()?;
        Ok(CohortDefinition { sources, purpose, review, sql, as_of: Day::default(), digest })
    }
}

impl Recipe {
    /// Reads a recipe; the files it names are looked for beside it.
    ///
    /// # Errors
    /// [`NodeError::Recipe`] with row and key, [`NodeError::Io`] when a file is missing.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let files = Files::beside(path)?;
        let written: Written = files.parse()?;
        if written.purpose != Purpose::OpenPublication {
            let problem = "a recipe publishes openly, so its purpose must be open-publication";
            return Err(wrong(format!("purpose: {problem}")).into());
        }
        written.ledger.check(&written.deidentify)?;
        let mut hierarchies = BTreeMap::new();
        for name in written.deidentify.hierarchy_files().into_iter().chain(written.deidentify.key_files()) {
            hierarchies.insert(name.to_owned(), files.read(name)?);
        }
        let named: Vec<(&str, &[u8])> =
            hierarchies.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let cohort = files.cohort(
            "acequia recipe v1",
            (written.sources, written.purpose),
            &written.cohort.sql,
            written.local_codes.as_deref(),
            &named,
        )?;
        let mut recipe = Self {
            cohort,
            seed: written.seed,
            policy: written.deidentify,
            ledger: written.ledger,
            hierarchies,
            release: written.release,
        };
        // A mistake in the texts should be told before an hour of work, not after.
        let digest = recipe.cohort.digest;
        let placeholder = InputDigest { source: "-".to_owned(), format: "-".to_owned(), files: 0, digest };
        let plan = recipe.plan(vec![placeholder], ConsentPlan::default())?;
        plan.check()?;
        recipe.cohort.as_of = plan.released_on;
        Ok(recipe)
    }

    /// The release plan: the recipe's texts and settings with the run's digests and counts.
    ///
    /// # Errors
    /// [`NodeError::Recipe`] when `[release]` has a wrong or missing key.
    pub fn plan(&self, inputs: Vec<InputDigest>, consent: ConsentPlan) -> Result<Plan, Failure> {
        let mut plan = serde_json::to_value(&self.release).map_err(|_| wrong("[release] cannot be read"))?;
        for computed in ["seed", "recipe", "program", "inputs", "consent", "people"] {
            if plan.get(computed).is_some() {
                return Err(wrong(format!("[release] must not set {computed}; the program states it")).into());
            }
        }
        plan["seed"] = self.seed.into();
        plan["recipe"] = self.cohort.digest.to_string().into();
        plan["program"] = crate::PROGRAM.into();
        let json =
            |value: Result<serde_json::Value, serde_json::Error>| value.map_err(|_| wrong("[release] cannot be read"));
        plan["inputs"] = json(serde_json::to_value(inputs))?;
        plan["consent"] = json(serde_json::to_value(consent))?;
        Ok(serde_json::from_value(plan).map_err(|error| wrong(format!("[release]: {error}")))?)
    }
}
