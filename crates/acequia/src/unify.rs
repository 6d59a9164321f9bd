//! `acequia unify`: FHIR files become OMOP CDM 5.4 tables, without a node.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use acequia_intake::{Format, IntakeError, Limits, expected_pass, lines_of, sniff, stream, tell};
use acequia_node::{Exit, Failure};
use acequia_omop::Vocabulary;
use acequia_types::{Coded, Place, Problem, SourceId};
use acequia_unify::IdKey;
use acequia_unify::load::{Folded, Input, LoadReport, Settings, fold, load, remove_persons};
use acequia_vocabulary::read_review;
use serde_json::json;

use crate::show::{Out, say};

/// Turn FHIR files into OMOP CDM 5.4 tables (Parquet), with lineage and counts
///
/// Reads FHIR R4: NDJSON (bulk data), bundles of any type, patient summaries; plain, gzip or zip; a folder stands for
/// its files. Loading into a folder again takes only what changed: unchanged resources cost almost nothing, changed ones
/// replace their rows. Changes wait in `changes/` until `--fold` puts them into the tables.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  acequia unify export/ -o omop\n  acequia unify monday.ndjson -o omop --source clinic --fold\n  acequia unify -o omop --remove withdrawn.txt"
)]
pub(crate) struct Args {
    /// Files and folders
    #[arg(value_name = "PATH", required_unless_present_any = ["fold", "remove"])]
    paths: Vec<PathBuf>,
    /// Folder of the tables
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,
    /// Name of the source: ids of two sources never meet
    #[arg(long, default_value = "source", value_name = "ID")]
    source: String,
    /// File with the secret for ids, 64 hex digits; made inside the output folder when not given
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Index of a vocabulary (`acequia vocabulary load`); the bundled pack when not given
    #[arg(long, value_name = "FILE")]
    vocabulary: Option<PathBuf>,
    /// Review file of local codes (`acequia vocabulary candidates`): what two persons decided goes before the vocabulary
    #[arg(long, value_name = "FILE")]
    local_codes: Option<PathBuf>,
    /// Put waiting changes into the tables
    #[arg(long)]
    fold: bool,
    /// Take out persons: a file with one Patient id per line
    #[arg(long, value_name = "FILE")]
    remove: Option<PathBuf>,
}

fn problem(what: impl Into<String>, hint: &str) -> Failure {
    Failure { code: "UN009".to_owned(), message: what.into(), hint: hint.to_owned(), exit: Exit::Usage }
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
        let hint = "check the path, its permissions and the free space".to_owned();
        Failure { code: "UN009".to_owned(), message: format!("{what} cannot be used: {}", error.kind()), hint, exit }
    }
}

/// Loads what can be read; the status tells whether that was everything.
pub(crate) fn run(args: &Args, threads: usize, out: &Out) -> Result<ExitCode, Failure> {
    let mut status = ExitCode::SUCCESS;
    let source = SourceId::parse(&args.source)?;
    let key = key(args)?;
    if !args.paths.is_empty() {
        let report = load_files(args, source.as_str(), key, threads)?;
        if !report.refused_files.is_empty() {
            status = ExitCode::from(Exit::Failure.code());
        }
        if !out.json {
            talk(&report);
        }
        if out.json {
            say(&format!("{:#}", json!(report)));
        } else {
            say(&words(&report, &args.out, args.fold));
        }
    }
    if args.fold {
        told(&fold(&args.out)?, "folded", out);
    }
    if let Some(file) = &args.remove {
        let list = std::fs::read_to_string(file).map_err(io("the list of persons"))?;
        let persons: Vec<&str> = list.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let key = self::key(args)?;
        told(&remove_persons(&args.out, &key, source.as_str(), &persons)?, "removed", out);
    }
    Ok(status)
}

/// The secret: of the user, or one that the folder keeps.
fn key(args: &Args) -> Result<IdKey, Failure> {
    let own = args.out.join(".acequia").join("id-key");
    let path = args.key.as_deref().unwrap_or(&own);
    if args.key.is_none() && !own.exists() {
        std::fs::create_dir_all(args.out.join(".acequia")).map_err(io("the output folder"))?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|_| problem("the system gives no random numbers", "give a key with --key"))?;
        write_secret(&own, &hex::encode(secret)).map_err(io("the key of the folder"))?;
    }
    let text = std::fs::read_to_string(path).map_err(io("the key"))?;
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim(), &mut secret)
        .map_err(|_| problem("the key is not 64 hex digits", "make one with `openssl rand -hex 32`"))?;
    Ok(IdKey::new(secret))
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Files, in the order of their paths.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    const ENDINGS: [&str; 10] =
        [".json", ".ndjson", ".jsonl", ".hl7", ".xml", ".json.gz", ".ndjson.gz", ".jsonl.gz", ".hl7.gz", ".xml.gz"];
    let mut files = Vec::new();
    let mut waiting: Vec<PathBuf> = paths.iter().rev().cloned().collect();
    while let Some(path) = waiting.pop() {
        if !path.is_dir() {
            files.push(path);
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(io("an input folder"))? {
            let entry = entry.map_err(io("an input folder"))?.path();
            let name = entry.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
            if entry.is_dir() || ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                inside.push(entry);
            }
        }
        inside.sort();
        waiting.extend(inside.into_iter().rev());
    }
    if files.is_empty() {
        return Err(problem("there is no file to read", "FHIR files end in .json or .ndjson, perhaps with .gz"));
    }
    Ok(files)
}

fn open(path: &Path) -> std::io::Result<Box<dyn Read + Send>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    stream(file, bytes, &Limits::default())
}

fn load_files(args: &Args, source: &str, key: IdKey, threads: usize) -> Result<LoadReport, Failure> {
    let files = files(&args.paths)?;
    let (mut inputs, mut formats, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let in_file = |number: usize, error: &IntakeError| {
        let place = Place { intake: Some(format!("file {number}")), ..Place::default() };
        Problem::new(error.code(), error.to_string(), place, error.hint())
    };
    for (path, number) in files.iter().zip(1..) {
        let mut head = Vec::new();
        open(path).and_then(|file| file.take(1 << 16).read_to_end(&mut head)).map_err(io("an input file"))?;
        match told_by(&head) {
            Ok((format, lines)) => {
                formats.push((number, format));
                let expects = if lines { expected_pass(&head) } else { None };
                inputs.push(Input { open: Box::new(move || open(path)), lines, expects });
            }
            // One file that cannot be read does not keep the others out; it is counted.
            Err(error) if files.len() > 1 => refused.push(in_file(number, &error)),
            Err(error) => return Err(error.into()),
        }
    }
    if let (true, Some(problem)) = (inputs.is_empty(), refused.first()) {
        let (code, hint) = (problem.code.clone(), problem.hint.clone());
        let message = format!("none of the {} files can be read; the first: {}", files.len(), problem.what);
        return Err(Failure { code, message, hint, exit: Exit::Failure });
    }
    let reader = |input: usize, text: &str, first_row: u64, pass, sink: &mut dyn acequia_omop::Sink| {
        let (number, format) = formats[input];
        tell(text, format, first_row, pass, sink).map_err(|error| in_file(number, &error))
    };
    let opened;
    let vocabulary = match &args.vocabulary {
        Some(path) => {
            opened = acequia_vocabulary::open(path)?;
            &opened
        }
        None => Vocabulary::bundled(),
    };
    let local_codes = match &args.local_codes {
        Some(path) => {
            let review = read_review(&std::fs::read(path).map_err(io("the review file"))?)?;
            review.check(vocabulary)?;
            review.local_codes().into()
        }
        None => Default::default(),
    };
    let settings = Settings { threads, local_codes, refused, ..Settings::new(key, source, vocabulary) };
    Ok(load(&inputs, &reader, &settings, &args.out)?)
}

/// The format of a file, by its beginning, and whether any run of its lines can be read by itself.
fn told_by(head: &[u8]) -> Result<(Format, bool), IntakeError> {
    match sniff(&String::from_utf8_lossy(head)) {
        // What needs more than a look at its beginning is not read here.
        Some(Format::Csv) => Err(IntakeError::NeedsMapping),
        Some(Format::OmopCsv | Format::OmopParquet) => Err(IntakeError::CdmTable),
        Some(format) if !matches!(format, Format::FhirNdjson | Format::FhirBundle) => Ok((format, false)),
        _ if head.is_empty() => Err(IntakeError::Empty),
        _ => match lines_of(head).ok_or(IntakeError::UnknownFormat)? {
            true => Ok((Format::FhirNdjson, true)),
            false => Ok((Format::FhirBundle, false)),
        },
    }
}

/// Problems, to stderr.
fn talk(report: &LoadReport) {
    const LISTED: usize = 12;
    for problem in report.refused_files.iter().chain(&report.listed_problems).take(LISTED) {
        eprintln!("note: {problem}\n  {}", problem.hint);
    }
    let all = report.refused_files.len() as u64 + report.problems.values().sum::<u64>();
    if all > LISTED as u64 {
        eprintln!("… and {} more; report.json lists the first 200 and counts all", all - LISTED as u64);
    }
}

fn words(report: &LoadReport, out: &Path, fold: bool) -> String {
    let counts = &report.counts;
    let mut text = format!(
        "{} items: {} loaded, {} excluded, {} held, {} unmapped, {} rejected; {} unchanged, {} replaced\n",
        counts.total,
        counts.loaded,
        counts.excluded,
        counts.held,
        counts.unmapped,
        counts.rejected,
        report.unchanged,
        report.replaced
    );
    for (reason, count) in &report.reasons {
        text += &format!("  {reason:<48} {count:>12}\n");
    }
    text += "rows written\n";
    for (table, rows) in report.rows.iter().filter(|(_, rows)| **rows > 0) {
        text += &format!("  {table:<48} {rows:>12}\n");
    }
    let place = if report.generation > 1 && !fold {
        format!("{}/changes; `acequia unify -o {} --fold` puts them into the tables", out.display(), out.display())
    } else {
        out.display().to_string()
    };
    text + &format!("in {place}")
}

fn told(folded: &Folded, what: &str, out: &Out) {
    if out.json {
        say(&format!("{:#}", json!({ what: folded })));
        return;
    }
    let gone: u64 = folded.gone.values().sum();
    let rows: u64 = folded.rows.iter().filter(|(table, _)| *table != "lineage").map(|(_, rows)| rows).sum();
    say(&format!("{what}: {rows} rows in the tables, {gone} gone (lineage included)"));
}
