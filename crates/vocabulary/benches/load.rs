//! A vocabulary export of the size of a full Athena download, made up on the spot, loaded and asked.
//!
//! `cargo bench -p acequia-vocabulary --bench load -- 5000000 30000000` writes so many concepts, and so many rows of
//! relationships and ancestors each, into the folder for temporary files, loads them in a process of its own, and prints
//! CPU time and peak memory. A folder or zip given instead of numbers is loaded as it is.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use acequia_omop::SearchScope;
use acequia_vocabulary::{load, open, open_checked};

/// The next of a fixed sequence (Knuth's MMIX generator), below `most`.
fn next(state: &mut u64, most: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % most
}

/// Tables in which ids are not in order and names have words of all frequencies, as in Athena.
fn write(folder: &Path, concepts: u64, pairs: u64) -> std::io::Result<()> {
    const VOCABULARIES: [&str; 8] = ["SNOMED", "RxNorm", "LOINC", "ICD10CM", "NDC", "RxNorm Extension", "CIEL", "Read"];
    const WORDS: [&str; 16] = [
        "structure",
        "of",
        "oral",
        "tablet",
        "disorder",
        "injection",
        "in",
        "blood",
        "left",
        "right",
        "procedure",
        "acute",
        "mg",
        "serum",
        "volume",
        "by",
    ];
    let table = |name: &str, header: &str| -> std::io::Result<BufWriter<File>> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(folder.join(name))?);
        writeln!(out, "{}", header.replace(' ', "\t"))?;
        Ok(out)
    };
    let mut state = 1;
    let mut out = table(
        "VOCABULARY.csv",
        "vocabulary_id vocabulary_name vocabulary_reference vocabulary_version vocabulary_concept_id",
    )?;
    writeln!(out, "None\tOMOP Standardized Vocabularies\tOMOP generated\tv5.0 made up\t44819096")?;
    out.flush()?;
    let mut out = table(
        "CONCEPT.csv",
        "concept_id concept_name domain_id vocabulary_id concept_class_id standard_concept concept_code valid_start_date valid_end_date invalid_reason",
    )?;
    // A step that shares no factor with the number of concepts visits every id once.
    let step = 2_654_435_761_u64;
    let id = |at: u64| at * 9 + 1;
    let mut at = 0;
    for _ in 0..concepts {
        at = (at + step) % concepts;
        let vocabulary = VOCABULARIES[usize::try_from(at % 8).unwrap_or(0)];
        write!(out, "{}\t", id(at))?;
        for _ in 0..3 + next(&mut state, 5) {
            write!(out, "{} ", WORDS[usize::try_from(next(&mut state, 16)).unwrap_or(0)])?;
        }
        let rare = next(&mut state, 1 << 10) * next(&mut state, 1 << 10);
        let standard = if at % 3 == 0 { "S" } else { "" };
        writeln!(
            out,
            "term{rare}\tCondition\t{vocabulary}\tClass {}\t{standard}\t{at}A\t19700101\t20991231\t",
            at % 300
        )?;
    }
    out.flush()?;
    let mut out = table(
        "CONCEPT_RELATIONSHIP.csv",
        "concept_id_1 concept_id_2 relationship_id valid_start_date valid_end_date invalid_reason",
    )?;
    for row in 0..pairs {
        let (from, to) = (id(next(&mut state, concepts)), id(next(&mut state, concepts)));
        let relationship = match row % 8 {
            0 => "Maps to",
            4 => "Mapped from",
            _ => "Is a",
        };
        writeln!(out, "{from}\t{to}\t{relationship}\t19700101\t20991231\t")?;
    }
    out.flush()?;
    let mut out = table(
        "CONCEPT_ANCESTOR.csv",
        "ancestor_concept_id descendant_concept_id min_levels_of_separation max_levels_of_separation",
    )?;
    for _ in 0..pairs {
        // A few concepts are above most, as in a hierarchy.
        let near = next(&mut state, concepts).min(next(&mut state, concepts)).min(next(&mut state, concepts));
        writeln!(out, "{}\t{}\t1\t1", id(near), id(next(&mut state, concepts)))?;
    }
    out.flush()?;
    let mut out = table("CONCEPT_SYNONYM.csv", "concept_id concept_synonym_name language_concept_id")?;
    for _ in 0..concepts / 2 {
        let (concept, rare) = (id(next(&mut state, concepts)), next(&mut state, 1 << 20));
        writeln!(out, "{concept}\tother name of term{rare} in words\t4180186")?;
    }
    out.flush()
}

/// CPU time in seconds and peak memory in MB of this process.
fn used() -> (f64, f64) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let nanoseconds: f64 = read("schedstat").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    let status = read("status");
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    (nanoseconds / 1e9, peak.unwrap_or(f64::NAN) / 1024.0)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["load", export, index] => {
            let loaded = load(Path::new(export), Path::new(index), &mut |_, _| {}).expect("an export");
            let (cpu_s, peak_mb) = used();
            println!("load: {cpu_s:.1} CPU s, peak {peak_mb:.0} MB, {loaded:?}");
        }
        ["ask", index] => {
            let opened = open(Path::new(index)).expect("an index");
            let (open_s, open_mb) = used();
            println!("open: {open_s:.3} CPU s, peak {open_mb:.0} MB, {} concepts", opened.len());
            let mut found = 0;
            let mut state = 1;
            let concepts: Vec<i64> =
                (0..100_000).map(|_| next(&mut state, opened.len() as u64).cast_signed() * 9 + 1).collect();
            let (before, _) = used();
            for concept in concepts.iter().filter_map(|id| opened.by_id(*id)) {
                found += usize::from(opened.by_code(concept.vocabulary_id, concept.code) == Some(concept));
                found += opened.maps_to(concept.concept_id).count();
            }
            let (after, _) = used();
            println!("100,000 codes by id, by code and mapped: {:.3} CPU s ({found} found)", after - before);
            let hits = opened.search("acute disorder of left structure term4711", SearchScope::default(), 5);
            let (searched, peak_mb) = used();
            println!(
                "one search: {:.3} CPU s, {} found, peak {peak_mb:.0} MB (mapped pages included)",
                searched - after,
                hits.len()
            );
            let (before, _) = used();
            open_checked(Path::new(index)).expect("an index");
            println!("checking every byte: {:.2} CPU s", used().0 - before);
        }
        [concepts, pairs] => {
            let (Ok(concepts), Ok(pairs)) = (concepts.parse(), pairs.parse()) else {
                eprintln!("skipped: say how many concepts and pairs");
                return ExitCode::SUCCESS;
            };
            let folder = tempfile::tempdir().expect("a temporary folder");
            write(folder.path(), concepts, pairs).expect("room on disk");
            measure(folder.path(), folder.path());
        }
        [export] => {
            let folder = tempfile::tempdir().expect("a temporary folder");
            measure(Path::new(export), folder.path());
        }
        _ => eprintln!("skipped: say how many concepts and pairs, for instance 5000000 30000000"),
    }
    ExitCode::SUCCESS
}

/// Loads and asks, each in a process of its own, so that peaks are theirs.
fn measure(export: &Path, folder: &Path) {
    let index = folder.join("index");
    let me = std::env::current_exe().expect("the name of this program");
    let run = |words: &[&std::ffi::OsStr]| {
        Command::new(&me).args(words).status().expect("this program can be started");
    };
    run(&["load".as_ref(), export.as_os_str(), index.as_os_str()]);
    println!("index: {} MB", std::fs::metadata(&index).map_or(0, |found| found.len() >> 20));
    run(&["ask".as_ref(), index.as_os_str()]);
}
