//! `acequia link`: which records are about the same person.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use acequia_link::{
    Change, Config, Encoded, Key, LinkError, Logged, PrivateSummary, Register, RuleSize, Summary, Table, dedupe,
    encode, link, link_encoded, write_cluster_pairs, write_clusters, write_links, write_private_links,
    write_register_clusters,
};
use acequia_node::Failure;
use acequia_types::{Clock, SystemClock, Timestamp, parse_timestamp};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::show::Out;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct LinkArgs {
    /// One CSV table to search, or two to link
    #[arg(required = true, num_args = 1..=2, value_name = "TABLE")]
    tables: Vec<PathBuf>,
    /// What to compare and how (TOML); guessed from the columns otherwise
    #[arg(long, short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to write: pairs of rows for two tables, every row with its cluster for one
    #[arg(long, short = 'o', required = true, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write all pairs of one person; for one table
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// Write down the configuration in use, to read and to repeat it
    #[arg(long, value_name = "FILE")]
    write_config: Option<PathBuf>,
    /// Add the table's records to this register of people, made when it is not there
    #[arg(long, value_name = "FILE", requires = "key")]
    register: Option<PathBuf>,
    /// Key file of the project; for a register
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Log of what merged and split [default: the register's name with .log]
    #[arg(long, value_name = "FILE", requires = "register")]
    log: Option<PathBuf>,
    /// Time for the log (2026-01-31T12:00:00Z) [default: now]
    #[arg(long, value_name = "TIME", value_parser = time, requires = "register")]
    at: Option<Timestamp>,
    #[command(subcommand)]
    command: Option<LinkCommand>,
}

#[derive(Subcommand)]
enum LinkCommand {
    /// Make the key file of a project
    ///
    /// The trustee makes it and gives it to the parties that encode, and to nobody who compares.
    #[command(after_help = "Example:\n  acequia link key -o project.key")]
    Key {
        /// File to write; never over an existing one
        #[arg(long, short = 'o', value_name = "FILE")]
        out: PathBuf,
    },
    /// Encode a table for linkage with another party
    ///
    /// Every row becomes a keyed Bloom filter. The file holds rows in the order of the table and nothing else; keep the table to translate rows back.
    #[command(after_help = "Example:\n  acequia link encode a.csv --key project.key -c link.toml -o a.clk")]
    Encode {
        /// The table (CSV)
        table: PathBuf,
        /// Key file of the project
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// What to encode; all parties need the same. Guessed from the columns otherwise
        #[arg(long, short = 'c', value_name = "FILE")]
        config: Option<PathBuf>,
        /// File to write
        #[arg(long, short = 'o', value_name = "FILE")]
        out: PathBuf,
    },
    /// Link two encoded tables, without the key
    #[command(after_help = "Example:\n  acequia link private a.clk b.clk -o links.csv")]
    Private {
        /// Encoded table of one party
        a: PathBuf,
        /// Encoded table of the other
        b: PathBuf,
        /// Where to write the pairs of rows
        #[arg(long, short = 'o', value_name = "FILE")]
        out: PathBuf,
        /// Link from this estimated probability on
        #[arg(long, default_value_t = 0.5, value_name = "P")]
        probability: f64,
    },
    /// Take records out of a register, for instance of a donor who withdraws
    #[command(
        after_help = "Example:\n  acequia link forget withdrawn.csv --register people.register --key project.key -o clusters.csv"
    )]
    Forget {
        /// CSV with the column that names records
        records: PathBuf,
        /// The register
        #[arg(long, value_name = "FILE")]
        register: PathBuf,
        /// Key file of the project
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where to write every record that is left with its cluster
        #[arg(long, short = 'o', value_name = "FILE")]
        out: PathBuf,
        /// Log of what merged and split [default: the register's name with .log]
        #[arg(long, value_name = "FILE")]
        log: Option<PathBuf>,
        /// Time for the log [default: now]
        #[arg(long, value_name = "TIME", value_parser = time)]
        at: Option<Timestamp>,
    },
}

fn time(text: &str) -> Result<Timestamp, String> {
    parse_timestamp(text).ok_or_else(|| "a time as 2026-01-31T12:00:00Z, or a day".to_owned())
}

pub(crate) fn run(args: &LinkArgs, threads: usize, out: &Out) -> Result<(), Failure> {
    match &args.command {
        Some(LinkCommand::Key { out: to }) => {
            Key::create(to)?;
            let to = to.display().to_string();
            out.print(
                || json!({ "key_file": to }),
                || format!("The key is in {to}. Give it to the parties that encode, and to nobody who compares."),
            );
        }
        Some(LinkCommand::Encode { table, key, config, out: to }) => {
            let table = Table::read(table)?;
            let encoded = encode(&table, &configuration(config.as_deref(), &[&table])?, &Key::read(key)?)?;
            encoded.write(to)?;
            let (records, bits) = (encoded.records(), encoded.bits());
            out.print(
                || json!({ "records": records, "bits": bits, "file": to.display().to_string() }),
                || format!("{records} records, {bits} bits each, are in {}.", to.display()),
            );
        }
        Some(LinkCommand::Private { a, b, out: to, probability }) => {
            let linked = link_encoded(&Encoded::read(a)?, &Encoded::read(b)?, *probability, threads)?;
            write_private_links(to, &linked)?;
            out.print(|| json!(linked.summary), || private_words(&linked.summary));
        }
        Some(LinkCommand::Forget { records, register, key, out: to, log, at }) => {
            let (path, key) = (register, Key::read(key)?);
            let mut register = Register::read(path)?;
            let id = register.config().id.clone().unwrap_or_default();
            let names = Table::read(records)?;
            let names: BTreeSet<String> =
                (0..names.len()).filter_map(|row| names.field(row, &id)).map(str::to_owned).collect();
            let outcome = register.remove(&names, &key, at.unwrap_or_else(|| SystemClock.now()), threads)?;
            keep(&register, path, log.as_deref(), to, &outcome, out)?;
        }
        None => linked(args, threads, out)?,
    }
    Ok(())
}

fn linked(args: &LinkArgs, threads: usize, out: &Out) -> Result<(), Failure> {
    let usage = |message: &str| LinkError::Config { message: message.to_owned() };
    let Some(to) = &args.out else { return Err(usage("-o says where to write").into()) };
    let tables = args.tables.iter().map(|path| Table::read(path)).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = &args.register {
        let ([table], Some(key)) = (tables.as_slice(), &args.key) else {
            return Err(usage("a register takes in one table at a time").into());
        };
        let key = Key::read(key)?;
        let mut register = match path.exists() {
            true if args.config.is_some() => {
                return Err(usage("the register has its configuration; leave -c out").into());
            }
            true => Register::read(path)?,
            false => Register::new(configuration(args.config.as_deref(), &[table])?, &key)?,
        };
        let outcome = register.add(table, &key, args.at.unwrap_or_else(|| SystemClock.now()), threads)?;
        write_down(args.write_config.as_deref(), register.config())?;
        return Ok(keep(&register, path, args.log.as_deref(), to, &outcome, out)?);
    }
    let config = configuration(args.config.as_deref(), &tables.iter().collect::<Vec<_>>())?;
    write_down(args.write_config.as_deref(), &config)?;
    let summary = match tables.as_slice() {
        [a, b] => {
            if args.pairs.is_some() {
                return Err(usage("--pairs is for one table; for two, -o holds the pairs").into());
            }
            let linked = link(a, b, &config, threads)?;
            write_links(to, a, b, &linked)?;
            linked.summary
        }
        [table, ..] => {
            let found = dedupe(table, &config, threads)?;
            write_clusters(to, table, &found)?;
            if let Some(pairs) = &args.pairs {
                write_cluster_pairs(pairs, table, &found)?;
            }
            found.summary
        }
        [] => return Err(usage("name one table or two").into()),
    };
    out.print(|| json!(summary), || words(&summary));
    Ok(())
}

fn configuration(path: Option<&Path>, tables: &[&Table]) -> Result<Config, LinkError> {
    path.map_or_else(|| Config::guess(tables), Config::read)
}

fn write_down(path: Option<&Path>, config: &Config) -> Result<(), LinkError> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, config.to_toml()).map_err(|error| LinkError::File {
        file: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        problem: format!("cannot be written: {}", error.kind()),
    })
}

fn keep(
    register: &Register,
    path: &Path,
    log: Option<&Path>,
    to: &Path,
    (change, logged): &(Change, Vec<Logged>),
    out: &Out,
) -> Result<(), LinkError> {
    let log = log.map_or_else(|| path.with_extension("log"), Path::to_owned);
    register.write(path, &log, logged)?;
    write_register_clusters(to, register)?;
    out.print(
        || json!({ "change": change, "events": logged }),
        || {
            format!(
                "{} records of {} people: {} new, {} changed, {} as they were, {} taken out. {} events are in {}.",
                change.records,
                change.people,
                change.new,
                change.updated,
                change.unchanged,
                change.removed,
                logged.len(),
                log.display()
            )
        },
    );
    Ok(())
}

fn words(summary: &Summary) -> String {
    let compared: Vec<String> = summary
        .config
        .column
        .iter()
        .map(|column| format!("{} ({})", column.name, json!(column.compare).as_str().unwrap_or_default()))
        .collect();
    let largest = |sizes: &[RuleSize]| sizes.iter().map(|size| size.pairs).max().unwrap_or(0);
    let mut text = match summary.people {
        Some(people) => format!(
            "{} records are {people} people; the largest cluster has {} records.\n",
            summary.records[0],
            summary.largest_cluster.unwrap_or(0)
        ),
        None => format!("{} links between {} and {} records.\n", summary.links, summary.records[0], summary.records[1]),
    };
    text += &format!(
        "Expected under the model: precision {:.4}, recall {:.4} of the compared pairs; threshold {:.1} bits.\n",
        summary.expected.precision, summary.expected.recall, summary.threshold
    );
    text += &format!(
        "Compared: {} of {} pairs, by {} blocking rules (the largest: {} pairs); {} rules were too large.\n",
        summary.pairs_compared,
        summary.pairs_possible,
        summary.rules.len(),
        largest(&summary.rules),
        summary.rules_left_out.len()
    );
    text + &format!("Columns: {}.\n", compared.join(", "))
}

fn private_words(summary: &PrivateSummary) -> String {
    let threshold = summary.threshold.map_or("none".to_owned(), |dice| format!("{dice:.3}"));
    format!(
        "{} links between {} and {} records; {} are empty.\nExpected: precision {:.4}, recall {:.4} of the pairs considered; lowest Dice of a link {threshold}.\n",
        summary.links,
        summary.records[0],
        summary.records[1],
        summary.empty[0] + summary.empty[1],
        summary.expected_precision,
        summary.expected_recall
    )
}
