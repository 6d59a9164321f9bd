//! `acequia diversity`: who is in the data compared with a reference population, without a node.

use std::path::{Path, PathBuf};

use acequia_cleanse::Folder;
use acequia_diversity::{
    AskedPerson, DiversityError, NotRecorded, People, Prediction, Question, Reference, Report, TableSettings, page,
    report,
};
use acequia_node::{Day, Failure, parse_day};
use acequia_omop::CdmTable;
use clap::Args;
use serde_json::json;

use crate::show::Out;

/// Words of the command.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  acequia diversity omop/ --area EU27 -o diversity.json --page diversity.html\n  acequia diversity people.csv --area World --on 2020-07-01 --purpose \"risk of stroke\"\n  acequia diversity people.csv --reference education.csv --by education --previous diversity.json"
)]
pub(crate) struct DiversityArgs {
    /// Folder of OMOP tables, or a table with one row per person (CSV, Parquet)
    path: PathBuf,
    /// Reference population: a table of people by any columns, or Eurostat's demo_pjan; may be given again
    #[arg(long, value_name = "FILE.csv")]
    reference: Vec<PathBuf>,
    /// Area of the reference; without --reference it is looked up in UN World Population Prospects 2019 (EU27, World, a country)
    #[arg(long, value_name = "NAME")]
    area: Option<String>,
    /// Year of the reference, where it has several [default: the last]
    #[arg(long, value_name = "YEAR")]
    year: Option<i32>,
    /// Day at which age counts, or death before it [default for OMOP: the last day of observation]
    #[arg(long, value_name = "DAY", value_parser = day)]
    on: Option<Day>,
    /// What the data are to serve for
    #[arg(long, default_value = "", value_name = "TEXT")]
    purpose: String,
    /// Hide counts from 1 to this minus 1, and those from which they would follow; 0 hides none
    #[arg(long, default_value_t = 10, value_name = "N")]
    minimum: u64,
    /// Years in a band of age; the last band is open
    #[arg(long, default_value_t = 10, value_name = "YEARS")]
    bands: u32,
    /// First year of the open band
    #[arg(long, default_value_t = 90, value_name = "YEARS")]
    open_from: u32,
    /// Column of the table that groups are formed by, besides those known by name; may be given again
    #[arg(long = "by", value_name = "COLUMN")]
    by: Vec<String>,
    /// Columns whose combinations are counted, with commas between; may be given again
    #[arg(long, value_name = "COLUMNS")]
    combine: Vec<String>,
    /// Column with sites, devices, languages or years, besides those known by name; may be given again
    #[arg(long, value_name = "COLUMN")]
    coverage: Vec<String>,
    /// Column with the number of events of a person; may be given again
    #[arg(long, value_name = "COLUMN")]
    events: Vec<String>,
    /// Column with the years a person was followed
    #[arg(long, value_name = "COLUMN")]
    follow_up: Option<String>,
    /// Column that identifies people, for predictions [default for OMOP: person_id]
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Who was asked for consent: a table with outcome, perhaps count, and columns that groups are formed by
    #[arg(long, value_name = "FILE.csv")]
    consent: Option<PathBuf>,
    /// What a model predicted: a table with person_id, truth, predicted
    #[arg(long, value_name = "FILE.csv")]
    predictions: Option<PathBuf>,
    /// What is not recorded, and why: NAME=REASON; may be given again
    #[arg(long = "absent", value_name = "NAME=REASON", value_parser = absent)]
    absent: Vec<NotRecorded>,
    /// The report before, to tell what changed
    #[arg(long, value_name = "FILE.json")]
    previous: Option<PathBuf>,
    /// Write the report
    #[arg(long, short, value_name = "FILE.json")]
    out: Option<PathBuf>,
    /// Write the report as a page
    #[arg(long, value_name = "FILE.html")]
    page: Option<PathBuf>,
}

fn day(text: &str) -> Result<Day, String> {
    parse_day(text).ok_or_else(|| "a day as YYYY-MM-DD".to_owned())
}

fn absent(text: &str) -> Result<NotRecorded, String> {
    let (name, reason) = text.split_once('=').ok_or_else(|| "NAME=REASON".to_owned())?;
    Ok(NotRecorded { name: name.trim().to_owned(), reason: reason.trim().to_owned() })
}

pub(crate) fn run(args: &DiversityArgs, out: &Out) -> Result<(), Failure> {
    let settings = TableSettings {
        on: args.on,
        age_years: args.bands,
        open_from: args.open_from,
        id: args.id.clone(),
        dimensions: args.by.clone(),
        coverage: args.coverage.clone(),
        events: args.events.clone(),
        follow_up: args.follow_up.clone(),
    };
    let mut references = Vec::new();
    for path in &args.reference {
        let text = read(path, "the reference population")?;
        references.push(Reference::parse(&String::from_utf8_lossy(&text), args.area.as_deref(), args.year)?);
    }
    if let (true, Some(area)) = (references.is_empty(), &args.area) {
        references.push(Reference::bundled(area)?);
    }
    for reference in &mut references {
        *reference = reference.in_bands(args.bands, args.open_from);
    }
    let people = if args.path.is_dir() {
        let folder = Folder::open(&args.path)?;
        People::from_omop::<Failure>(&mut |table: CdmTable, take| folder.rows(table, take), &settings)?
    } else {
        People::read(&args.path, &settings)?
    };
    people.enough(args.minimum)?;
    let combine: Vec<Vec<String>> = match args.combine.as_slice() {
        [] => vec![people.usual_combination()],
        asked => {
            asked.iter().map(|names| names.split(',').map(|name| people.combining(name.trim())).collect()).collect()
        }
    };
    let opened = |path: &PathBuf, what: &str| read(path, what);
    let question = Question {
        purpose: args.purpose.clone(),
        references,
        intersections: combine.into_iter().filter(|columns| columns.len() > 1).collect(),
        asked: match &args.consent {
            Some(path) => AskedPerson::read(opened(path, "the table of consents")?.as_slice())?,
            None => Vec::new(),
        },
        predictions: match &args.predictions {
            Some(path) => Prediction::read(opened(path, "the table of predictions")?.as_slice())?,
            None => Vec::new(),
        },
        not_recorded: args.absent.clone(),
        previous: match &args.previous {
            Some(path) => Some(Report::parse(&opened(path, "the report before")?)?),
            None => None,
        },
        ..Question::new(args.minimum)
    };
    let report = report(&people, &question)?;
    if let Some(path) = &args.out {
        let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
        text.push('\n');
        crate::files::write_aside(path, &text)?;
    }
    if let Some(path) = &args.page {
        crate::files::write_aside(path, &page(&crate::files::title(&args.path), &report))?;
    }
    out.print(|| json!(report), || words(&report));
    Ok(())
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, DiversityError> {
    std::fs::read(path).map_err(|error| DiversityError::Io { what: what.to_owned(), doing: "read", kind: error.kind() })
}

/// Gaps that are listed.
const LISTED: usize = 8;

fn words(report: &Report) -> String {
    let hidden = || "hidden".to_owned();
    let mut text = format!("{} people", report.people.map_or_else(hidden, |people| people.to_string()));
    if !report.population.is_empty() {
        text += &format!(", compared with {}", report.population);
    }
    text.push('\n');
    for dimension in &report.dimensions {
        text += &format!("{}\n", dimension.title);
        let mut figures = Vec::new();
        if let Some(distance) = dimension.total_variation_distance {
            figures.push(format!("distance {distance}"));
        }
        if let Some(index) = dimension.population_stability_index {
            figures.push(format!("stability index {index}"));
        }
        if let Some(divergence) = dimension.kullback_leibler {
            figures.push(format!("divergence {divergence}"));
        }
        if let Some(number) = dimension.effective_number {
            figures.push(format!("as varied as {number} of {} groups", dimension.cells.len()));
        }
        if let Some(weighting) = &dimension.weighting {
            figures.push(format!("weighted as {} people", weighting.effective_size));
        }
        if let Some(outside) = dimension.cells_outside {
            figures.push(format!("{outside} groups out of proportion"));
        }
        if !figures.is_empty() {
            text += &format!("  {}\n", figures.join(", "));
        }
        for gap in dimension.gaps.iter().take(LISTED) {
            text +=
                &format!("  {:<24} {:.2} of its share, {} people needed\n", gap.label, gap.ratio, gap.people_needed);
        }
    }
    for one in &report.intersectional {
        let people = one.people_in_small.map_or_else(hidden, |people| people.to_string());
        let occupied = one.occupied.unwrap_or_default();
        text += &format!(
            "{}: {occupied} combinations, {} with fewer than {} people, holding {people}\n",
            one.columns.join(" x "),
            one.small,
            report.minimum_cell
        );
    }
    if let Some(change) = report.change.as_ref().filter(|change| change.small_differences > 0) {
        text += &format!(
            "{} counts differ from the report before by fewer than {} people\n",
            change.small_differences, report.minimum_cell
        );
    }
    let absent: Vec<&str> = report.not_recorded.iter().map(|fact| fact.name.as_str()).collect();
    if !absent.is_empty() {
        text += &format!("not recorded: {}\n", absent.join(", "));
    }
    text
}
