//! Made-up people: seeded, with families under one roof, namesakes, and records with slips.

use acequia_link::Table;

/// A generator of numbers (SplitMix64), so that every run has the same people.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Small numbers are frequent, as frequent names are.
    fn skewed(&mut self, count: usize) -> usize {
        self.below(count).min(self.below(count))
    }

    pub(crate) fn shuffle<T>(&mut self, of: &mut [T]) {
        for at in (1..of.len()).rev() {
            let other = self.below(at + 1);
            of.swap(at, other);
        }
    }
}

pub(crate) const COLUMNS: [&str; 8] =
    ["pid", "given_name", "surname", "sex", "birth_date", "street", "postcode", "city"];

const START: [&str; 20] = [
    "Al", "Be", "Car", "Da", "El", "Fer", "Ga", "Hel", "Is", "Jo", "Ka", "Li", "Ma", "Nor", "Ol", "Pe", "Ro", "Sa",
    "To", "Wil",
];
const MIDDLE: [&str; 10] = ["ri", "ber", "na", "lo", "min", "de", "sto", "vi", "gar", "the"];
const END: [&str; 10] = ["a", "us", "ette", "mann", "sen", "ez", "ski", "o", "ine", "ard"];

fn word(random: &mut Random) -> String {
    format!("{}{}{}", START[random.skewed(20)], MIDDLE[random.skewed(10)], END[random.skewed(10)])
}

/// A record, in the order of [`COLUMNS`], and the person that it is about.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) person: usize,
    pub(crate) fields: [String; 8],
}

/// People of so many households, one to four in each.
pub(crate) fn people(households: usize, seed: u64) -> Vec<Made> {
    let mut random = Random(seed);
    let mut people = Vec::new();
    for _ in 0..households {
        let surname = word(&mut random);
        let street = format!("{} {}", word(&mut random), 1 + random.below(120));
        let (postcode, city) = (format!("{:05}", 10_000 + random.skewed(400)), word(&mut random));
        for _ in 0..1 + random.below(4) {
            let born = format!("{}-{:02}-{:02}", 1920 + random.below(100), 1 + random.below(12), 1 + random.below(28));
            let sex = if random.chance(50) { "f" } else { "m" };
            let given = word(&mut random);
            let fields = [&format!("p{}", people.len()), &given, &surname, sex, &born, &street, &postcode, &city];
            let fields = fields.map(str::to_owned);
            people.push(Made { person: people.len(), fields });
        }
    }
    people
}

/// Another record of the same person: slips, swaps, gaps, moved house.
pub(crate) fn again(of: &Made, name: String, random: &mut Random) -> Made {
    let mut made = of.clone();
    made.fields[0] = name;
    if random.chance(4) {
        made.fields.swap(1, 2);
    }
    if random.chance(3) {
        made.fields[4] =
            format!("{}-{:02}-{:02}", 1920 + random.below(100), 1 + random.below(12), 1 + random.below(28));
    }
    if random.chance(8) {
        made.fields[5] = format!("{} {}", word(random), 1 + random.below(120));
        made.fields[6] = format!("{:05}", 10_000 + random.below(400));
    }
    for field in &mut made.fields[1..] {
        if random.chance(4) {
            field.clear();
        } else if random.chance(8) && field.len() > 2 {
            slip(field, random);
        }
    }
    made
}

/// One character lost, doubled, changed or swapped.
fn slip(field: &mut String, random: &mut Random) {
    let mut letters: Vec<char> = field.chars().collect();
    let at = random.below(letters.len() - 1);
    match random.below(4) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 => letters[at] = char::from(b'a' + random.below(26) as u8),
        _ => letters.swap(at, at + 1),
    }
    *field = letters.into_iter().collect();
}

pub(crate) fn table(records: &[Made]) -> Table {
    let rows = records.iter().map(|made| made.fields.iter().map(String::as_str).collect());
    Table::from_rows(COLUMNS, rows).unwrap()
}

/// Two files: of all people in the first, so many percent are in the second, which has others besides.
pub(crate) fn two_files(households: usize, percent: usize, seed: u64) -> (Vec<Made>, Vec<Made>) {
    let all = people(households, seed);
    let mut random = Random(seed ^ 77);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for made in &all {
        match random.below(200) {
            at if at < 2 * percent => {
                a.push(made.clone());
                b.push(again(made, format!("q{}", made.person), &mut random));
            }
            at if at % 2 == 0 => a.push(made.clone()),
            _ => b.push(again(made, format!("q{}", made.person), &mut random)),
        }
    }
    random.shuffle(&mut b);
    (a, b)
}

/// One file, up to three more records of a person.
pub(crate) fn one_file(households: usize, seed: u64) -> Vec<Made> {
    let mut random = Random(seed ^ 99);
    let mut records = Vec::new();
    for made in people(households, seed) {
        for copy in 0..random.below(4).saturating_sub(1) {
            records.push(again(&made, format!("r{}-{copy}", made.person), &mut random));
        }
        records.push(made);
    }
    random.shuffle(&mut records);
    records
}

/// F1 of pairs of rows, and how many are missed and wrong.
pub(crate) fn f1(a: &[Made], b: &[Made], within: bool, links: &[(u32, u32)]) -> (f64, usize, usize) {
    let mut truth = std::collections::BTreeSet::new();
    for (row, made) in a.iter().enumerate() {
        for (other, that) in b.iter().enumerate() {
            if made.person == that.person && (!within || row < other) {
                truth.insert((row as u32, other as u32));
            }
        }
    }
    let right = links.iter().filter(|link| truth.contains(link)).count();
    let f1 = 2.0 * right as f64 / (truth.len() + links.len()).max(1) as f64;
    (f1, truth.len() - right, links.len() - right)
}
