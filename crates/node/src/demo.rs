//! `demo`: the bundled cohorts and simulated donors, so that anybody can walk the course.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, io};

macro_rules! example {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../examples/breast-cancer/", $name)).as_slice())),*]
    };
}

/// The files of `examples/breast-cancer`, so that the program works without its source tree.
const EXAMPLE: &[(&str, &[u8])] = example![
    "rotterdam.csv",
    "rotterdam.mapping.toml",
    "rotterdam.consent.json",
    "gbsg.csv",
    "gbsg.mapping.toml",
    "gbsg.consent.json",
    "recipe.toml",
    "cohort.sql",
    "nodes.hierarchy.csv",
    "survival.plan.toml",
    "survival.model.toml",
    "gbsg.site.toml",
    "donors.cohort.toml",
    "training.sql",
    "README.md",
];

/// Seed and number of the simulated donors.
const SIMULATED: (u64, usize) = (300, 300);

/// Where the demo's files lie.
#[derive(Debug, Clone)]
pub struct DemoFiles {
    /// Tables of the institutions.
    pub cohorts: Vec<PathBuf>,
    /// Folder with the bundles and consents of the simulated donors.
    pub donors: PathBuf,
    /// The recipe.
    pub recipe: PathBuf,
}

/// Writes the example and the simulated donors under `folder`. Writing again gives the same files.
///
/// # Errors
/// [`crate::NodeError::Io`] when the folder cannot be written.
pub fn write_demo_files(folder: &Path) -> Result<DemoFiles, Failure> {
    let (example, donors) = (folder.join("example"), folder.join("donors"));
    for made in [&example, &donors] {
        std::fs::create_dir_all(made).map_err(io("the demo's folder", "written"))?;
    }
    for (name, content) in EXAMPLE {
        std::fs::write(example.join(name), content).map_err(io("the demo's example", "written"))?;
    }
    let cohort = acequia_simulate::donors(SIMULATED.0, SIMULATED.1);
    let bundles = cohort.files.iter().map(|file| (&file.name, &file.bytes));
    let consents = cohort.consents.iter().map(|file| (&file.name, &file.bytes));
    for (name, bytes) in bundles.chain(consents) {
        std::fs::write(donors.join(name), bytes).map_err(io("the simulated donors", "written"))?;
    }
    let cohorts = vec![example.join("rotterdam.csv"), example.join("gbsg.csv")];
    Ok(DemoFiles { cohorts, donors, recipe: example.join("recipe.toml") })
}
