//! Reference populations by age and sex, as the United Nations and statistical offices publish them.

use std::collections::BTreeMap;

use crate::{ReferenceCell, ReleaseError};

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
    /// # use acequia_release::{ReferenceBy, ReferencePopulation};
    /// let table = "region,age,sex,population_thousand\nX,0-4,F,1\nX,0-4,M,2\nX,5-9,F,3\nX,5+,M,4\n";
    /// let population = ReferencePopulation::read(table)?;
    /// let sexes = population.cells("X", ReferenceBy::Sex);
    /// assert_eq!((sexes[0].label.as_str(), sexes[0].share), ("female", 0.4));
    /// # Ok::<(), acequia_release::ReleaseError>(())
    /// ```
    ///
    /// # Errors
    /// [`ReleaseError::Plan`] with the line that cannot be read.
    pub fn read(table: &str) -> Result<Self, ReleaseError> {
        let unfit = |problem: String| ReleaseError::Plan { field: "reference population".to_owned(), problem };
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
