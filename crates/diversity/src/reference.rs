//! Reference populations: bundled, as statistical offices publish them, or of the user's own dimensions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::DiversityError;
use crate::interval::{interval, natural};

/// One cell of the reference population.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceCell {
    /// Name: a value of the column, or an interval such as `50-54`, `<20`, `>=90`, `100+`.
    pub label: String,
    /// Share of the population, or any number proportional to it.
    pub share: f64,
}

/// How a reference population is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceBy {
    /// Bands of age of so many years (a multiple of those of the table), such as `40-49`; the last is open.
    Age {
        /// Years in a band.
        years: u32,
        /// First year of the open band.
        open_from: u32,
    },
    /// `female`, `male`.
    Sex,
}

/// People by region, first year of the band of age, and sex.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReferencePopulation {
    people: BTreeMap<(String, u32, String), f64>,
}

impl ReferencePopulation {
    /// Reads a table with the columns `region`, `age` (`0-4`, `100+`), `sex` (`F`, `M`) and `population_thousand`: the
    /// form of UN World Population Prospects 2019 in long rows.
    ///
    /// ```
    /// # use acequia_diversity::{ReferenceBy, ReferencePopulation};
    /// let table = "region,age,sex,population_thousand\nX,0-4,F,1\nX,0-4,M,2\nX,5-9,F,3\nX,5+,M,4\n";
    /// let population = ReferencePopulation::read(table)?;
    /// let sexes = population.cells("X", ReferenceBy::Sex);
    /// assert_eq!((sexes[0].label.as_str(), sexes[0].share), ("female", 0.4));
    /// # Ok::<(), acequia_diversity::DiversityError>(())
    /// ```
    ///
    /// # Errors
    /// [`DiversityError::Reference`] with the line that cannot be read.
    pub fn read(table: &str) -> Result<Self, DiversityError> {
        let unfit = |problem: String| DiversityError::Reference { problem };
        let mut lines = table.trim_start_matches('\u{feff}').lines().zip(1..);
        let header: Vec<String> = lines.next().map_or(Vec::new(), |(line, _)| fields(line));
        let place = |column: &str| {
            let found = header.iter().position(|found| found == column);
            found.ok_or_else(|| unfit(format!("has no column {column}")))
        };
        let [region, age, sex, people] =
            [place("region")?, place("age")?, place("sex")?, place("population_thousand")?];
        let mut population = Self::default();
        for (line, number) in lines.filter(|(line, _)| !line.trim().is_empty()) {
            let row = fields(line);
            let wrong = |what| unfit(format!("line {number}: {what}"));
            let field = |place: usize| row.get(place).map(String::as_str).ok_or_else(|| wrong("a field is missing"));
            let first = field(age)?.split(['-', '+']).next().and_then(|first| first.trim().parse::<u32>().ok());
            let first = first.ok_or_else(|| wrong("age is no band such as 0-4 or 100+"))?;
            let sex = match field(sex)? {
                "F" | "f" | "female" => "female",
                "M" | "m" | "male" => "male",
                _ => return Err(wrong("sex is neither F nor M")),
            };
            let count: f64 = field(people)?.trim().parse().map_err(|_| wrong("the population is no number"))?;
            if !(count.is_finite() && count >= 0.0) {
                return Err(wrong("the population is no number from 0"));
            }
            *population.people.entry((field(region)?.to_owned(), first, sex.to_owned())).or_default() += count;
        }
        Ok(population)
    }

    /// Regions in the table, sorted.
    pub fn regions(&self) -> Vec<&str> {
        let mut regions: Vec<&str> = self.people.keys().map(|(region, ..)| region.as_str()).collect();
        regions.dedup();
        regions
    }

    /// The people of a region, divided; shares sum to 1. Empty for a region that the table lacks.
    pub fn cells(&self, region: &str, by: ReferenceBy) -> Vec<ReferenceCell> {
        let mut sums: BTreeMap<(u32, String), f64> = BTreeMap::new();
        for ((found, first, sex), people) in &self.people {
            if found == region {
                *sums.entry(cell_of(*first, sex, by)).or_default() += people;
            }
        }
        let all: f64 = sums.values().sum();
        sums.into_iter().map(|((_, label), people)| ReferenceCell { label, share: people / all }).collect()
    }

    /// Share of each band of age and sex, by (first year, sex).
    pub fn by_age_and_sex(&self, region: &str, years: u32, open_from: u32) -> BTreeMap<(u32, String), f64> {
        let mut sums: BTreeMap<(u32, String), f64> = BTreeMap::new();
        for ((found, first, sex), people) in &self.people {
            if found == region {
                let band = (first / years.max(1) * years.max(1)).min(open_from);
                *sums.entry((band, sex.clone())).or_default() += people;
            }
        }
        let all: f64 = sums.values().sum();
        sums.values_mut().for_each(|people| *people /= all);
        sums
    }
}

/// A reference population divided by any columns, such as age and sex, or education.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reference {
    /// What it is, for readers.
    pub population: String,
    /// Where its figures come from.
    pub source: String,
    /// Columns that divide it.
    pub dimensions: Vec<String>,
    /// Values of the columns, and people (or any number proportional to them). Sorted, each combination once.
    pub cells: Vec<(Vec<String>, f64)>,
}

/// UN World Population Prospects 2019 for mid-2020; see `data/README.md`.
const BUNDLED: &str = include_str!("../data/population-2020.csv");

/// Names of the column with the people.
const PEOPLE: [&str; 8] = ["people", "population", "population_thousand", "count", "n", "share", "obs_value", "value"];
/// Names of the column with the area.
const AREA: [&str; 5] = ["area", "region", "geo", "country", "geo\\time_period"];
/// Columns that say how a figure came to be, not what it counts.
const ASIDE: [&str; 7] = ["dataflow", "last update", "freq", "unit", "obs_flag", "conf_status", "time_period"];
/// Shares of areas and years in one table are never added up; ages and sexes that are sums of others are left out.
const SUMS: [&str; 3] = ["TOTAL", "T", "UNK"];

impl Reference {
    /// The bundled population of an area by five years of age and sex in 2020: `EU27`, `World`, a country.
    ///
    /// ```
    /// # use acequia_diversity::Reference;
    /// let europe = Reference::bundled("eu27")?;
    /// assert_eq!((europe.dimensions.join(" "), europe.cells.len()), ("age sex".to_owned(), 42));
    /// # Ok::<(), acequia_diversity::DiversityError>(())
    /// ```
    ///
    /// # Errors
    /// [`DiversityError::Area`].
    pub fn bundled(area: &str) -> Result<Self, DiversityError> {
        let mut lines = BUNDLED.lines().map(fields);
        let bands = lines.next().unwrap_or_default();
        let (mut cells, mut name, mut areas) = (Vec::new(), String::new(), Vec::new());
        for row in lines {
            if row[0].eq_ignore_ascii_case(area.trim()) {
                name.clone_from(&row[0]);
                let sex = if row[1] == "F" { "female" } else { "male" };
                for (band, people) in bands.iter().zip(&row).skip(2) {
                    cells.push((vec![band.clone(), sex.to_owned()], people.parse().unwrap_or(0.0)));
                }
            }
            areas.push(row[0].clone());
        }
        areas.dedup();
        if cells.is_empty() {
            return Err(DiversityError::Area { known: some_of(&areas) });
        }
        Ok(Self {
            population: format!("{name}, 2020, all ages and both sexes"),
            source: "United Nations, World Population Prospects 2019 (CC BY 3.0 IGO)".to_owned(),
            dimensions: vec!["age".to_owned(), "sex".to_owned()],
            cells: in_order(cells),
        })
    }

    /// Reads a table of a reference population.
    ///
    /// Rows under a header, with commas or tabs. One column holds people (`people`, `population`, `count`, `share`, …), one
    /// may hold the area (`area`, `region`, `geo`, `country`), and all others divide the population. Eurostat's layouts of
    /// `demo_pjan` are read too: SDMX-CSV (`geo`, `TIME_PERIOD`, `OBS_VALUE`), and TSV with years as columns. There ages
    /// such as `Y_LT1`, `Y30`, `Y_OPEN` become years, and sums (`TOTAL`, `T`) and unknown ages are left out.
    ///
    /// ```
    /// # use acequia_diversity::Reference;
    /// let tsv = "freq,unit,age,sex,geo\\TIME_PERIOD\t2019 \t2020 \nA,NR,TOTAL,F,ES\t9 \t9 \nA,NR,Y_LT1,F,ES\t: \t5 e\nA,NR,Y1,M,ES\t4 \t4 p\n";
    /// let spain = Reference::parse(tsv, Some("ES"), Some(2020))?;
    /// assert_eq!(spain.cells, [(vec!["0".into(), "female".into()], 5.0), (vec!["1".into(), "male".into()], 4.0)]);
    /// # Ok::<(), acequia_diversity::DiversityError>(())
    /// ```
    ///
    /// # Errors
    /// [`DiversityError::Reference`] with the line; [`DiversityError::Area`] when the table has several areas and none or
    /// an unknown one is asked for.
    pub fn parse(table: &str, area: Option<&str>, year: Option<i32>) -> Result<Self, DiversityError> {
        let unfit = |problem: String| DiversityError::Reference { problem };
        let rows = long_rows(table, year)?;
        let Some((header, rows)) = rows.split_first() else { return Err(unfit("the table is empty".to_owned())) };
        let names: Vec<String> = header.1.iter().map(|name| name.trim().to_lowercase()).collect();
        let find = |wanted: &[&str]| wanted.iter().find_map(|wanted| names.iter().position(|name| name == wanted));
        let people = find(&PEOPLE).ok_or_else(|| {
            unfit("no column is named people, population, count, n, share, value or OBS_VALUE".to_owned())
        })?;
        let place = find(&AREA);
        let time = names.iter().position(|name| name == "time_period");
        let kept: Vec<usize> = (0..names.len())
            .filter(|at| *at != people && Some(*at) != place && !ASIDE.contains(&names[*at].as_str()))
            .collect();
        if kept.is_empty() {
            return Err(unfit("no column divides the population".to_owned()));
        }
        let mut areas: Vec<String> = Vec::new();
        let mut years: Vec<i32> = Vec::new();
        let mut read = Vec::with_capacity(rows.len());
        for (line, row) in rows {
            let wrong = |what: &str| unfit(format!("line {line}: {what}"));
            if row.len() != names.len() {
                return Err(wrong("it has more or fewer fields than the header"));
            }
            let count = row[people].trim().trim_end_matches(|c: char| c.is_ascii_lowercase() || c == ' ');
            if count.is_empty() || count == ":" {
                continue;
            }
            let count: f64 = count.parse().map_err(|_| wrong("the number of people is no number"))?;
            if !(count.is_finite() && count >= 0.0) {
                return Err(wrong("the number of people is no number from 0 on"));
            }
            let values: Vec<&str> = kept.iter().map(|at| row[*at].trim()).collect();
            let sum =
                |(at, value): (&usize, &&str)| matches!(names[*at].as_str(), "age" | "sex") && SUMS.contains(value);
            if kept.iter().zip(&values).any(sum) {
                continue;
            }
            let mut words = Vec::with_capacity(values.len());
            for (at, value) in kept.iter().zip(values) {
                words.push(match names[*at].as_str() {
                    "age" => age_band(value).ok_or_else(|| wrong("age is no band such as 0-4, 100+ or Y30"))?,
                    "sex" => sex_word(value).to_owned(),
                    _ => value.to_owned(),
                });
            }
            let own = place.map_or("", |at| row[at].trim()).to_owned();
            let when: i32 = time.and_then(|at| row[at].trim().get(..4)?.parse().ok()).unwrap_or(0);
            areas.push(own.clone());
            years.push(when);
            read.push((own, when, words, count));
        }
        areas.sort_unstable();
        areas.dedup();
        let wanted = match (area, areas.as_slice()) {
            (Some(area), _) => areas.iter().find(|known| known.eq_ignore_ascii_case(area.trim())),
            (None, [only]) => Some(only),
            _ => None,
        };
        let Some(wanted) = wanted.cloned() else { return Err(DiversityError::Area { known: some_of(&areas) }) };
        let latest = years.iter().copied().max().unwrap_or(0);
        let at = year.filter(|_| time.is_some()).unwrap_or(latest);
        let cells: Vec<(Vec<String>, f64)> = read
            .into_iter()
            .filter(|(area, when, ..)| *area == wanted && *when == at)
            .map(|(_, _, words, count)| (words, count))
            .collect();
        let mut reference = Self {
            population: [wanted.as_str(), if at > 0 { "" } else { "the reference population" }].concat(),
            source: String::new(),
            dimensions: kept.iter().map(|at| names[*at].clone()).collect(),
            cells: in_order(cells),
        };
        if at > 0 {
            reference.population = format!("{wanted}, {at}");
        } else if !wanted.is_empty() {
            reference.population.clone_from(&wanted);
        }
        let single = |cell: &&(Vec<String>, f64)| {
            let age = reference.dimensions.iter().position(|name| name == "age");
            age.is_some_and(|at| cell.0[at].ends_with('+'))
        };
        if reference.dimensions.iter().any(|name| name == "age") && reference.cells.iter().filter(single).count() == 0 {
            open_end(&mut reference);
        }
        let all: f64 = reference.cells.iter().map(|(_, people)| people).sum();
        if all.is_nan() || all <= 0.0 {
            return Err(unfit("it has nobody in that area and year".to_owned()));
        }
        Ok(reference)
    }

    /// The same with ages in bands of so many years, the last from `open_from` on.
    #[must_use]
    pub fn in_bands(&self, years: u32, open_from: u32) -> Self {
        let Some(at) = self.dimensions.iter().position(|name| name == "age") else { return self.clone() };
        let band = |words: &Vec<String>| {
            let mut words = words.clone();
            let first = interval(&words[at]).and_then(|band| band.low).unwrap_or(0.0);
            words[at] = cell_of(first as u32, "", ReferenceBy::Age { years, open_from }).1;
            words
        };
        let cells = self.cells.iter().map(|(words, people)| (band(words), *people)).collect();
        Self { cells: in_order(cells), ..self.clone() }
    }

    /// One dimension alone.
    pub fn margin(&self, at: usize) -> Vec<ReferenceCell> {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for (words, people) in &self.cells {
            *sums.entry(&words[at]).or_default() += people;
        }
        let mut cells: Vec<ReferenceCell> =
            sums.into_iter().map(|(label, share)| ReferenceCell { label: label.to_owned(), share }).collect();
        cells.sort_by(|a, b| natural(&a.label, &b.label));
        cells
    }
}

/// Each combination once, in the order people expect.
fn in_order(cells: Vec<(Vec<String>, f64)>) -> Vec<(Vec<String>, f64)> {
    let mut sums: BTreeMap<Vec<String>, f64> = BTreeMap::new();
    cells.into_iter().for_each(|(words, people)| *sums.entry(words).or_default() += people);
    let mut cells: Vec<(Vec<String>, f64)> = sums.into_iter().collect();
    cells.sort_by(|a, b| {
        let words = a.0.iter().zip(&b.0).map(|(a, b)| natural(a, b));
        words.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    cells
}

/// `Y_OPEN` is the age after the last single one.
fn open_end(reference: &mut Reference) {
    let Some(at) = reference.dimensions.iter().position(|name| name == "age") else { return };
    let ages = reference.cells.iter().filter_map(|(words, _)| words[at].parse::<u32>().ok());
    let first = ages.max().map_or(0, |last| last + 1);
    for (words, _) in reference.cells.iter_mut().filter(|(words, _)| words[at] == OPEN) {
        words[at] = format!("{first}+");
    }
    reference.cells = in_order(std::mem::take(&mut reference.cells));
}

/// What stands for `Y_OPEN` until the last single age is known.
const OPEN: &str = "open";

/// `0-4`, `100+`, `85 and over`, `Y30`, `Y_LT1`, `Y_GE85`, `Y10-14`.
fn age_band(text: &str) -> Option<String> {
    let text = match text.strip_prefix('Y') {
        Some("_LT1") => "0".to_owned(),
        Some("_OPEN") => return Some(OPEN.to_owned()),
        Some(rest) => match (rest.strip_prefix("_GE"), rest.strip_prefix("_LT")) {
            (Some(from), _) => format!("{from}+"),
            (None, Some(below)) => format!("<{below}"),
            _ => rest.to_owned(),
        },
        None => text.to_owned(),
    };
    interval(&text)?;
    Some(text)
}

/// The word for a sex as people and codes write it; others stay as they are. 8507 and 8532 are OMOP's concepts.
pub(crate) fn sex_word(text: &str) -> &str {
    match text.trim() {
        "F" | "f" | "female" | "Female" | "FEMALE" | "woman" | "women" | "8532" => "female",
        "M" | "m" | "male" | "Male" | "MALE" | "man" | "men" | "8507" => "male",
        other => other,
    }
}

/// A few names for a message.
fn some_of(areas: &[String]) -> String {
    let mut text: Vec<&str> = areas.iter().take(6).map(String::as_str).collect();
    if areas.len() > text.len() {
        text.push("and others");
    }
    text.join(", ")
}

/// Lines with their numbers; a table with years as columns becomes rows of one year.
fn long_rows(table: &str, year: Option<i32>) -> Result<Vec<(usize, Vec<String>)>, DiversityError> {
    let lines = table.trim_start_matches('\u{feff}').lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let mut rows: Vec<(usize, Vec<String>)> = Vec::new();
    let mut years: Vec<String> = Vec::new();
    for (line, number) in lines {
        if !line.contains('\t') {
            rows.push((number, fields(line)));
            continue;
        }
        let parts: Vec<&str> = line.trim_end_matches('\r').split('\t').map(str::trim).collect();
        if rows.is_empty() {
            let wide = parts[0].to_lowercase().contains("\\time");
            if wide {
                years = parts[1..].iter().map(|year| (*year).to_owned()).collect();
                let mut header: Vec<String> = fields(parts[0]);
                header.extend(["TIME_PERIOD".to_owned(), "OBS_VALUE".to_owned()]);
                rows.push((number, header));
                continue;
            }
        }
        if years.is_empty() {
            rows.push((number, parts.iter().map(|part| (*part).to_owned()).collect()));
            continue;
        }
        for (own, value) in years.iter().zip(&parts[1..]) {
            if year.is_none_or(|year| own.parse() == Ok(year)) {
                let mut row = fields(parts[0]);
                row.extend([own.clone(), (*value).to_owned()]);
                rows.push((number, row));
            }
        }
    }
    let wide = rows.first().is_some_and(|(_, header)| header.iter().any(|name| name.to_lowercase().contains("\\time")));
    if wide && rows.len() < 2 {
        return Err(DiversityError::Reference { problem: "it has no such year".to_owned() });
    }
    Ok(rows)
}

/// Order and label of a cell.
fn cell_of(first: u32, sex: &str, by: ReferenceBy) -> (u32, String) {
    match by {
        ReferenceBy::Sex => (0, sex.to_owned()),
        ReferenceBy::Age { years, open_from } => {
            let years = years.max(1);
            let band = first / years * years;
            if band >= open_from {
                (open_from, format!("{open_from}+"))
            } else {
                (band, format!("{band}-{}", band + years - 1))
            }
        }
    }
}

/// Fields of a line; a field in quotes may hold commas.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut inside) = (Vec::new(), String::new(), false);
    for character in line.trim_end_matches('\r').chars() {
        match character {
            '"' => inside = !inside,
            ',' if !inside => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eurostat_and_own_tables_are_read() {
        let sdmx = "DATAFLOW,LAST UPDATE,freq,unit,age,sex,geo,TIME_PERIOD,OBS_VALUE,OBS_FLAG\nX,,A,NR,TOTAL,T,DE,2020,99,\nX,,A,NR,Y89,F,DE,2020,7,e\nX,,A,NR,Y_OPEN,F,DE,2020,3,\nX,,A,NR,Y_OPEN,F,DE,2019,1,\nX,,A,NR,UNK,M,DE,2020,4,\nX,,A,NR,Y5,M,DE,2020,5,\n";
        let germany = Reference::parse(sdmx, None, None).unwrap();
        let words = |reference: &Reference| {
            reference.cells.iter().map(|(words, people)| format!("{} {people}", words.join(" "))).collect::<Vec<_>>()
        };
        assert_eq!(words(&germany), ["5 male 5", "89 female 7", "90+ female 3"]);
        assert_eq!(words(&germany.in_bands(10, 90)), ["0-9 male 5", "80-89 female 7", "90+ female 3"]);
        assert_eq!(germany.population, "DE, 2020");
        let own = Reference::parse("education,share\nnone,0.2\ndegree,0.8\n", None, None).unwrap();
        assert_eq!(
            (own.dimensions.join(","), words(&own)),
            ("education".to_owned(), vec!["degree 0.8".to_owned(), "none 0.2".to_owned()])
        );
        let two = "area,sex,people\nA,F,1\nB,F,2\n";
        assert!(matches!(Reference::parse(two, None, None), Err(DiversityError::Area { .. })));
        assert_eq!(words(&Reference::parse(two, Some("b"), None).unwrap()), ["female 2"]);
        assert!(matches!(Reference::bundled("Atlantis"), Err(DiversityError::Area { .. })));
        assert_eq!(Reference::bundled("World").unwrap().cells.len(), 42);
        for table in [
            "",
            "a,b\n",
            "people\n3\n",
            "sex,people\nF,x\n",
            "sex,people\nF\n",
            "age,people\nold,1\n",
            "sex,people\nF,0\n",
        ] {
            assert!(Reference::parse(table, None, None).is_err(), "{table}");
        }
    }

    #[test]
    fn bands_add_up_and_lines_are_named() {
        let table = "region,age,sex,population_thousand\n\"Korea, Rep.\",0-4,F,1\n\"Korea, Rep.\",5-9,M,2\n\"Korea, Rep.\",100+,F,1\n";
        let population = ReferencePopulation::read(table).unwrap();
        assert_eq!(population.regions(), ["Korea, Rep."]);
        let bands = population.cells("Korea, Rep.", ReferenceBy::Age { years: 10, open_from: 90 });
        let told: Vec<_> = bands.iter().map(|cell| (cell.label.as_str(), cell.share)).collect();
        assert_eq!(told, [("0-9", 0.75), ("90+", 0.25)]);
        assert!(population.cells("Atlantis", ReferenceBy::Sex).is_empty());
        for (table, place) in [
            ("region,age,sex\n", "population_thousand"),
            ("region,age,sex,population_thousand\nX,0-4,F\n", "line 2"),
            ("region,age,sex,population_thousand\nX,0-4,F,1\nX,?,F,1\n", "line 3"),
            ("region,age,sex,population_thousand\nX,0-4,Q,1\n", "line 2"),
            ("region,age,sex,population_thousand\nX,0-4,F,-1\n", "line 2"),
        ] {
            let error = ReferencePopulation::read(table).unwrap_err();
            assert!(error.to_string().contains(place), "{error}");
        }
    }
}
