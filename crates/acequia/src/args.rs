//! The words of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use acequia_node::{ConsentChange, DatasetName, Day, Level, Purpose, TakenDown, parse_day};
use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::hierarchy::HierarchyArgs;
use crate::risk::RiskArgs;
use crate::shift_dates::ShiftDatesArgs;

/// The open medical-AI commons: from donated health records to open, de-identified data sets.
#[derive(Parser)]
#[command(
    name = "acequia",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  acequia demo\n  acequia --home my-node init\n  acequia --home my-node donate records/\n\nExit status: 0 done, 1 failed, 2 wrong words, 3 not found, 4 not permitted, 5 refused by policy,\n6 damaged, 75 try again later. `acequia explain CODE` says what an error means."
)]
pub(crate) struct Args {
    /// Folder of the node
    #[arg(long, global = true, env = "ACEQUIA_HOME", default_value = "acequia-node", value_name = "FOLDER")]
    pub(crate) home: PathBuf,
    /// Print one JSON document to stdout instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress bars
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Threads to use [default: all]
    #[arg(long, global = true, env = "ACEQUIA_THREADS", value_name = "N")]
    pub(crate) threads: Option<usize>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a new node: keys, records, an empty vault
    #[command(after_help = "Example:\n  acequia --home my-node init")]
    Init,
    /// Take in files of people and institutions, and seal them
    ///
    /// FHIR R4, HL7 v2, C-CDA, Apple Health, phenopackets, and tables with a mapping; plain, gzip or zip. A folder stands
    /// for its files. `acequia read` tries a file first.
    /// Beside `name.csv`, `name.mapping.toml` is its mapping and `name.consent.json` its consent. A file without
    /// consent is sealed and stays closed. A file that cannot be read is quarantined and counted. Concepts a mapping
    /// may use are in crates/omop/data/concepts.csv.
    #[command(
        after_help = "Examples:\n  acequia donate records/\n  acequia donate register.csv --mapping register.mapping.toml --consent register.consent.json"
    )]
    Donate {
        /// Files and folders
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Mapping for all tables
        #[arg(long, value_name = "FILE")]
        mapping: Option<PathBuf>,
        /// Consent for all files
        #[arg(long, value_name = "FILE")]
        consent: Option<PathBuf>,
    },
    /// Try files: which format they are, what they say, what is wrong and where; no node is needed
    Read(crate::read::Args),
    /// See and change what donors allow
    #[command(
        after_help = "Examples:\n  acequia consent list\n  acequia consent withdraw donor-0007\n  acequia consent give donor-0007 --purpose open-publication --until 2030-12-31"
    )]
    Consent {
        #[command(subcommand)]
        command: ConsentCommand,
    },
    /// Requests of persons about their data: access, erasure and the others, from receipt to answer
    #[command(
        after_help = "Examples:\n  acequia rights open donor-0007 access\n  acequia rights list\n  acequia rights execute 1 --to handed-over"
    )]
    Rights {
        #[command(subcommand)]
        command: crate::rights::RightsCommand,
    },
    /// Papers from what is on record: consent receipts, FHIR consents, the record of processing
    #[command(after_help = "Examples:\n  acequia papers receipt donor-0007\n  acequia papers processing --json")]
    Papers {
        #[command(subcommand)]
        command: crate::papers::PapersCommand,
    },
    /// Walk the course for one recipe, from consent to a published version
    ///
    /// What is finished and unchanged is taken over; a run that was interrupted goes on where it stopped.
    #[command(after_help = "Example:\n  acequia run examples/breast-cancer/recipe.toml")]
    Run {
        /// The recipe (TOML)
        recipe: PathBuf,
    },
    /// Publish a trained model with its card and what it is worth elsewhere
    ///
    /// The card (TOML) names the model's file and its validation records, and says what only people know; docs/models.md explains
    /// every key. Donors it learned from are asked again, licences of what it learned from are held against its own, and a
    /// model that was not attacked, or tells whose rows it learned from, stays here.
    Publish(crate::publish::PublishArgs),
    /// See published versions and copy them to a folder
    #[command(
        after_help = "Examples:\n  acequia release list\n  acequia release export acequia/breast-cancer-survival@1.0.0 --to folder"
    )]
    Release {
        #[command(subcommand)]
        command: ReleaseCommand,
    },
    /// Recheck a published version, or a downloaded one in a folder
    #[command(
        after_help = "Examples:\n  acequia verify acequia/breast-cancer-survival\n  acequia verify acequia/breast-cancer-survival@1.0.0\n  acequia verify downloads/breast-cancer-survival --key 5f2c..."
    )]
    Verify {
        /// `namespace/name`, `namespace/name@version`, or a folder with a manifest.json
        what: String,
        /// Public key of the gate that must have sealed a downloaded version, 64 hex digits, as its publisher tells it elsewhere
        #[arg(long, value_name = "HEX")]
        key: Option<String>,
    },
    /// Serve the catalogue, the pages and the Hub-compatible API
    #[command(
        after_help = "Example:\n  acequia serve --address 127.0.0.1:8080\n  HF_ENDPOINT=http://127.0.0.1:8080 python -c 'from datasets import load_dataset; ...'"
    )]
    Serve {
        /// Address and port; port 0 takes a free one
        #[arg(long, env = "ACEQUIA_ADDRESS", default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
        address: SocketAddr,
        /// Address given out to readers, for a node behind a proxy: https://data.example.org
        #[arg(long, value_name = "URL")]
        public_address: Option<String>,
    },
    /// Examine the node: records, blobs, published versions
    #[command(after_help = "Examples:\n  acequia doctor\n  acequia doctor --mend")]
    Doctor {
        /// Remove what interrupted work left behind
        #[arg(long)]
        mend: bool,
    },
    /// Say what an error code means and what to do
    #[command(after_help = "Example:\n  acequia explain NO004")]
    Explain {
        /// Such as NO004
        code: String,
    },
    /// Move the node's bytes to a bucket of S3 or back
    #[command(after_help = "Example:\n  acequia blobs copy --to s3://blobs/my-node")]
    Blobs {
        /// What to do
        #[command(subcommand)]
        command: crate::blobs::BlobsCommand,
    },
    /// Let donors and institutions in to the node's pages
    #[command(
        after_help = "Examples:\n  acequia account invite donor-0007 --by anna\n  acequia account invite rotterdam --institution --by anna\n  acequia account list --json"
    )]
    Account {
        /// What to do
        #[command(subcommand)]
        command: crate::account::AccountCommand,
    },
    /// Decide who may read what is not open
    #[command(
        after_help = "Examples:\n  acequia access list --open\n  acequia access show 3f0c9a1e77ab-1\n  acequia access grant 3f0c9a1e77ab-1 --days 365 --by anna"
    )]
    Access {
        /// What to do
        #[command(subcommand)]
        command: crate::access::AccessCommand,
    },
    /// Let members of the network write to the node with stock Hub clients
    #[command(
        after_help = "Examples:\n  acequia token create --for 'Anna, Example Lab' --scope example-lab/* --by bernd\n  acequia token list\n  acequia token revoke 5f0c9a1e --by bernd"
    )]
    Token {
        /// What to do
        #[command(subcommand)]
        command: crate::deposit::TokenCommand,
    },
    /// See what members of the network handed in, take it for the course, or refuse it
    #[command(
        after_help = "Examples:\n  acequia deposit list\n  acequia deposit show example-lab/cohort\n  acequia deposit take example-lab/cohort@v1.0.0 --into incoming/cohort --by bernd"
    )]
    Deposit {
        /// What to do
        #[command(subcommand)]
        command: crate::deposit::DepositCommand,
    },
    /// Walk the course on the bundled cohorts and simulated donors, then serve the result
    #[command(after_help = "Examples:\n  acequia --home demo demo\n  acequia --home demo demo --no-serve --json")]
    Demo {
        /// Address and port; port 0 takes a free one [default: 127.0.0.1:8080, or a free port where that is taken]
        #[arg(long, env = "ACEQUIA_ADDRESS", value_name = "HOST:PORT")]
        address: Option<SocketAddr>,
        /// Stop after publishing
        #[arg(long)]
        no_serve: bool,
        /// Train a model over three hospitals besides, each a process of its own that talks over the network
        #[arg(long)]
        network: bool,
    },
    /// Check and repair a folder of OMOP tables (CSV or Parquet) without a node
    ///
    /// Runs the 2,535 checks of OHDSI's DataQualityDashboard for CDM 5.4 and those of the site in one pass over each table.
    /// Nothing is changed in place: repaired tables are written anew, with a log.
    Cleanse(crate::cleanse::CleanseArgs),
    /// Tell who is in the data compared with a reference population, and who is not, without a node
    ///
    /// Small counts are hidden together with all from which they would follow. Columns of a table are known by name: age
    /// (or birth_date and death_date), sex, race, ethnicity, region, language, education, site, device and others.
    Diversity(Box<crate::diversity::DiversityArgs>),
    /// De-identify a table (CSV or Parquet) without a node
    ///
    /// The policy names every column with its role, the hierarchies, k and further models. What is written is recounted
    /// from the file before it gets its name. Rows come in the order of what they hold.
    #[command(
        after_help = "Example:\n  acequia deidentify examples/breast-cancer/gbsg.csv -c examples/breast-cancer/gbsg.policy.toml -o safe.csv\n  acequia deidentify examples/diabetes/encounters.csv -c examples/diabetes/encounters.policy.toml -o persons.csv"
    )]
    Deidentify {
        /// The table
        table: PathBuf,
        /// The policy (TOML)
        #[arg(long, short = 'c', value_name = "FILE")]
        policy: PathBuf,
        /// Where the released table goes: CSV, or Parquet if it ends in .parquet
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
        /// Table of the population, for models that compare with one
        #[arg(long, value_name = "FILE")]
        population: Option<PathBuf>,
        /// Table of the persons' events, where the policy names events that are not in the table itself
        #[arg(long, value_name = "FILE", conflicts_with = "population")]
        events: Option<PathBuf>,
        /// Run all attacks, and write a report of one page (HTML) that can be printed
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// Tables that might need more are worked on from disk, with the same result
        #[arg(long, default_value_t = 2048, value_name = "MB")]
        memory_mb: u64,
    },
    /// Measure how easily persons in a table can be found
    #[command(
        after_help = "Examples:\n  acequia risk examples/breast-cancer/gbsg.csv --known age --known grade --known size\n  acequia risk examples/breast-cancer/gbsg.csv -c examples/breast-cancer/gbsg.policy.toml --population 83000000 --special-uniques --report risk.html"
    )]
    Risk(RiskArgs),
    /// Recount a table and check that it satisfies a policy
    #[command(after_help = "Example:\n  acequia check-anonymity safe.csv -c examples/breast-cancer/gbsg.policy.toml")]
    CheckAnonymity {
        /// The table; where the policy names events, theirs is read from beside it
        table: PathBuf,
        /// The policy (TOML)
        #[arg(long, short = 'c', value_name = "FILE")]
        policy: PathBuf,
        /// Table of the population, for models that compare with one
        #[arg(long, value_name = "FILE")]
        population: Option<PathBuf>,
    },
    /// Print or draw a hierarchy of a policy
    ///
    /// Rows are those of the field's layout, value;level 1;…;root, and can be used as a hierarchy file.
    #[command(
        after_help = "Examples:\n  acequia hierarchy examples/breast-cancer/gbsg.policy.toml grade --tree\n  acequia hierarchy examples/breast-cancer/gbsg.policy.toml age --table examples/breast-cancer/gbsg.csv --svg age.svg"
    )]
    Hierarchy(HierarchyArgs),
    /// Move all days of each person by one secret shift, over several tables
    ///
    /// Intervals stay exactly what they are. Before anything is written, an attack that knows the calendar tries to find the
    /// shifts. Persons become pseudonyms, so that the tables still belong together. This alone does not make data anonymous.
    #[command(
        name = "shift-dates",
        after_help = "Examples:\n  acequia shift-dates --new-key dates.key\n  acequia shift-dates visits.csv drugs.parquet -c dates.toml -o shifted"
    )]
    ShiftDates(ShiftDatesArgs),
    /// Find records of the same person, in one table, between two, or between parties that show each other none
    ///
    /// Reads plain CSV. Thresholds are estimated from the data; no true links are needed. Blocking rules that would compare too many pairs are
    /// refused with their size.
    #[command(
        after_help = "Examples:\n  acequia link admissions.csv -o people.csv\n  acequia link a.csv b.csv -c link.toml -o links.csv --json\n  acequia link new.csv --register people.register --key project.key -o people.csv\n  acequia link private a.clk b.clk -o links.csv"
    )]
    Link(Box<crate::link::LinkArgs>),
    /// Load, compare and search vocabularies; map local codes
    #[command(
        after_help = "Examples:\n  acequia vocabulary load vocabulary_download_v5.zip\n  acequia vocabulary search potassium serum\n  acequia vocabulary candidates codes.csv -o review.csv"
    )]
    Vocabulary {
        #[command(subcommand)]
        command: crate::vocabulary::VocabularyCommand,
    },
    /// Run a part of a cluster: a scheduler or an executor (docs/cluster.md)
    #[cfg(feature = "cluster")]
    #[command(
        after_help = "Examples:\n  acequia cluster scheduler --exchange /mnt/exchange\n  acequia cluster executor --scheduler 10.0.0.5:50050 --work work --exchange /mnt/exchange"
    )]
    Cluster {
        /// What to run
        #[command(subcommand)]
        command: crate::cluster::ClusterCommand,
    },
    Unify(crate::unify::Args),
    /// Train a model, or compute a statistic, over tables of sites by a run plan
    ///
    /// Sites say sums and nothing else. The result is the one that all rows in one table would give. docs/learning.md
    /// explains the plan.
    Train(Box<crate::train::TrainArgs>),
    /// This node among others: its key, the roster of members, adding up for runs of others
    #[command(
        after_help = "Examples:\n  acequia network key\n  acequia network join roster.json --trust 5f0c…\n  acequia network members"
    )]
    Network {
        /// What to do
        #[command(subcommand)]
        command: crate::network::NetworkCommand,
    },
    /// Answer runs of the network with sums over a table, after people here allowed them
    #[command(
        after_help = "Examples:\n  acequia site serve --table register.csv\n  acequia site runs\n  acequia site approve 3fa9 --by anna"
    )]
    Site {
        /// What to do
        #[command(subcommand)]
        command: crate::network::SiteCommand,
    },
    /// Measure what a frozen model is worth at other sites
    ///
    /// Discrimination, calibration, overall error and net benefit at each site and pooled, with intervals; as JSON and as a
    /// page under the headings of TRIPOD+AI and PROBAST+AI. Not an approval as a medical device.
    Validate(Box<crate::validate::ValidateArgs>),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  acequia completions bash > acequia.bash")]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Subcommand)]
pub(crate) enum ConsentCommand {
    /// How everybody stands
    #[command(after_help = "Example:\n  acequia consent list --json")]
    List,
    /// How one donor stands, with the history
    #[command(after_help = "Example:\n  acequia consent show donor-0007")]
    Show {
        /// The donor's account
        donor: String,
    },
    /// Record that a donor allows purposes
    #[command(after_help = "Example:\n  acequia consent give donor-0007 --purpose research --purpose model-training")]
    Give {
        /// The donor's account
        donor: String,
        /// What is allowed: open-publication, research, model-training
        #[arg(long = "purpose", required = true, value_name = "PURPOSE", value_parser = purpose)]
        purposes: Vec<Purpose>,
        /// Last day of validity (YYYY-MM-DD)
        #[arg(long, value_name = "DAY", value_parser = day)]
        until: Option<Day>,
        /// Language in which the donor was shown `acequia consent notice`: en, de, fr
        #[arg(long, value_name = "LANGUAGE")]
        shown: Option<String>,
    },
    /// Record that a donor says no to purposes
    #[command(after_help = "Example:\n  acequia consent refuse donor-0007 --purpose open-publication")]
    Refuse {
        /// The donor's account
        donor: String,
        /// What is refused
        #[arg(long = "purpose", required = true, value_name = "PURPOSE", value_parser = purpose)]
        purposes: Vec<Purpose>,
    },
    /// Record that a donor withdraws: everything, or less
    ///
    /// Levels, each with those before it: no-contact, no-new-collection, no-further-use (what is in a published data set may stay in
    /// its next versions), leave-next-versions.
    #[command(
        after_help = "Examples:\n  acequia consent withdraw donor-0007\n  acequia consent withdraw donor-0007 --level no-further-use"
    )]
    Withdraw {
        /// The donor's account
        donor: String,
        /// How far
        #[arg(long, default_value = "leave-next-versions", value_parser = level)]
        level: Level,
    },
    /// What a donor must read before allowing open publication: that it cannot be called back
    ///
    /// `consent give --shown LANGUAGE` records that it was shown, word for word.
    #[command(after_help = "Example:\n  acequia consent notice --language de --to notice.txt")]
    Notice {
        /// Language: en, de, fr
        #[arg(long, default_value = "en")]
        language: String,
        /// File to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// What happened to a donor's data: who opened them and for what, where they were published, who was told, what was decided
    #[command(after_help = "Example:\n  acequia consent timeline donor-0007 --language de")]
    Timeline {
        /// The donor's account
        donor: String,
        /// Language: en, de, fr, or one of the node's own
        #[arg(long, default_value = "en")]
        language: String,
    },
    /// What followed from a withdrawal: what stopped, what was removed, who was told, what could not be called back
    #[command(
        after_help = "Examples:\n  acequia consent report donor-0007 --language de --to report.html\n  acequia consent report donor-0007 --json"
    )]
    Report {
        /// The donor's account
        donor: String,
        /// Language: en, de, fr, or one of the node's own
        #[arg(long, default_value = "en")]
        language: String,
        /// File to write, a page that can be printed
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

impl ConsentCommand {
    /// What the command changes, if it changes anything.
    pub(crate) fn change(&self) -> Option<(&str, ConsentChange)> {
        match self {
            Self::List | Self::Show { .. } | Self::Notice { .. } | Self::Timeline { .. } | Self::Report { .. } => None,
            Self::Give { donor, purposes, until, shown } => {
                let (purposes, shown) = (purposes.clone(), shown.clone());
                Some((donor, ConsentChange::Give { purposes, expires_on: *until, shown }))
            }
            Self::Refuse { donor, purposes } => Some((donor, ConsentChange::Refuse { purposes: purposes.clone() })),
            Self::Withdraw { donor, level } => Some((donor, ConsentChange::Withdraw { level: *level })),
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Published versions, oldest first
    #[command(after_help = "Example:\n  acequia release list --json")]
    List,
    /// Copy a version to a folder
    #[command(after_help = "Example:\n  acequia release export acequia/breast-cancer-survival --to folder")]
    Export {
        /// `namespace/name` or `namespace/name@version`
        dataset: Versioned,
        /// Folder to write to
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
    },
    /// Take a version down: its files are served no more, its page says why, recipients are told
    ///
    /// A version with people in it who withdrew gives way by itself when the next one is published.
    #[command(
        after_help = "Example:\n  acequia release take-down acequia/breast-cancer-survival@1.0.0 --reason safety"
    )]
    TakeDown {
        /// `namespace/name@version`
        dataset: Versioned,
        /// Why: withdrawal, safety, law, error
        #[arg(long, value_parser = taken_down)]
        reason: TakenDown,
    },
}

/// A data set and perhaps a version.
#[derive(Clone)]
pub(crate) struct Versioned {
    pub(crate) dataset: DatasetName,
    pub(crate) version: Option<String>,
}

impl FromStr for Versioned {
    type Err = acequia_node::IdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        Ok(Self { dataset: DatasetName::parse(name)?, version: version.map(str::to_owned) })
    }
}

pub(crate) fn purpose(text: &str) -> Result<Purpose, String> {
    Purpose::parse(text).ok_or_else(|| "one of open-publication, research, model-training".to_owned())
}

fn level(text: &str) -> Result<Level, String> {
    Level::parse(text)
        .ok_or_else(|| "one of no-contact, no-new-collection, no-further-use, leave-next-versions".to_owned())
}

fn taken_down(text: &str) -> Result<TakenDown, String> {
    TakenDown::parse(text).ok_or_else(|| "one of withdrawal, safety, law, error".to_owned())
}

pub(crate) fn day(text: &str) -> Result<Day, String> {
    parse_day(text).ok_or_else(|| "a day as YYYY-MM-DD".to_owned())
}
