//! Shift recovery: the attack that a date shift must withstand.
//!
//! The attacker sees the released days and codes of a person, and knows how days and codes are spread over the true
//! calendar: how many events fall on each day (weekdays, holidays, the edges of collection, growth), and in each week for
//! every code (seasons, pandemics, new drugs). He has this from everybody but the person he attacks, which is more than an
//! outsider has. For each possible shift he moves the days back, adds up how likely they are, and takes the likeliest shift.
//!
//! The shifts of few persons would say little about the next key, so each attacked person is given several shifts at random.

use std::collections::BTreeMap;

use acequia_privacy::{Interval, clopper_pearson};
use acequia_types::Day;
use hashbrown::HashMap;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::PersonShift;

/// Persons that are attacked, and attempts where there are fewer.
const TARGETS: usize = 2_000;
/// Events of a person that the attacker uses.
const EVENTS: usize = 100;
/// What the attacker may find beyond chance.
pub(crate) const MARGIN: f64 = 0.05;
/// Uses of a code from which on its spread over time can be told.
const USES: u64 = 20;
/// Bits per use that make a code one of a time.
const BITS: f64 = 0.25;
/// Days of the bins in which the spread of a code is looked at.
const BIN: i64 = 91;

/// How often shifts are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// What the attacker has, does and wants.
    pub attacker: String,
    /// Attempts.
    pub attempts: u64,
    /// Attempts in which the exact shift was found.
    pub successes: u64,
    /// Successes over attempts.
    pub rate: f64,
    /// 95 % interval of the rate (Clopper-Pearson).
    pub interval: Interval,
    /// Rate of guessing: one over the number of shifts.
    pub chance: f64,
    /// What the rate may not exceed.
    pub limit: f64,
}

impl Recovery {
    /// Whether the attacker finds no more than chance and the margin.
    pub fn held(&self) -> bool {
        self.rate <= self.limit
    }
}

/// How days and codes are spread over the calendar, and the events of the persons that are attacked.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    days: BTreeMap<i64, u64>,
    codes: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    weeks: Vec<BTreeMap<i64, u64>>,
    /// Those with the smallest hashes.
    targets: BTreeMap<[u8; 8], Events>,
    /// True days of birth, of which the shifted year is released.
    births: BTreeMap<[u8; 8], i64>,
}

/// Days and codes of a person, with how often they come.
type Events = BTreeMap<(i64, Option<u32>), u64>;

fn hash_of(person: &str) -> [u8; 8] {
    blake3::hash(person.as_bytes()).as_bytes()[..8].try_into().expect("a hash has 32 bytes")
}

fn year_of(day: i64) -> Option<i32> {
    use chrono::Datelike;
    Some(Day::default().checked_add_signed(chrono::TimeDelta::try_days(day)?)?.year())
}

fn week_of(day: i64) -> i64 {
    day.div_euclid(7)
}

#[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

impl Survey {
    /// An event of a person: its true day since 1970-01-01, and a code where there is one.
    pub(crate) fn event(&mut self, person: &str, day: i64, code: Option<&str>) {
        let code = code.map(|code| match self.codes.get(code) {
            Some(at) => *at,
            None => {
                let at = u32::try_from(self.names.len()).expect("fewer than 2^32 codes");
                self.codes.insert(code.into(), at);
                self.names.push(code.into());
                self.weeks.push(BTreeMap::new());
                at
            }
        });
        match code {
            Some(code) => *self.weeks[code as usize].entry(week_of(day)).or_default() += 1,
            None => *self.days.entry(day).or_default() += 1,
        }
        let hash = hash_of(person);
        if self.targets.len() < TARGETS || self.targets.last_key_value().is_some_and(|(last, _)| hash <= *last) {
            *self.targets.entry(hash).or_default().entry((day, code)).or_default() += 1;
            if self.targets.len() > TARGETS {
                self.targets.pop_last();
            }
        }
    }

    /// The true day of birth of a person; the attacker knows it.
    pub(crate) fn birth(&mut self, person: &str, day: i64) {
        let hash = hash_of(person);
        if self.births.len() < TARGETS || self.births.last_key_value().is_some_and(|(last, _)| hash <= *last) {
            self.births.insert(hash, day);
            if self.births.len() > TARGETS {
                self.births.pop_last();
            }
        }
    }

    /// Codes that are used more at some times than days are, the most telling first.
    pub(crate) fn of_a_time(&self) -> Vec<&str> {
        let mut all: BTreeMap<i64, u64> = BTreeMap::new();
        self.days.iter().for_each(|(day, count)| *all.entry(day.div_euclid(BIN)).or_default() += count);
        let events: u64 = all.values().sum();
        let mut found: Vec<(f64, &str)> = Vec::new();
        for (weeks, name) in self.weeks.iter().zip(&self.names) {
            let mut bins: BTreeMap<i64, u64> = BTreeMap::new();
            weeks.iter().for_each(|(week, count)| *bins.entry((week * 7).div_euclid(BIN)).or_default() += count);
            let uses: u64 = bins.values().sum();
            if uses < USES {
                continue;
            }
            let bits = |(bin, count): (&i64, &u64)| {
                let here = real(*count) / real(uses);
                let there = (real(all.get(bin).copied().unwrap_or(0)) + 0.5) / (real(events) + 0.5);
                here * (here / there).log2()
            };
            let divergence: f64 = bins.iter().map(bits).sum();
            // What a code spread like all days would show by chance (Miller 1955).
            let by_chance = real((all.len() as u64).saturating_sub(1)) / (2.0 * real(uses) * std::f64::consts::LN_2);
            if divergence - by_chance >= BITS {
                found.push(((divergence - by_chance) * real(uses), name));
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        found.into_iter().map(|(_, name)| name).collect()
    }

    /// Attacks. `window`: first and last day that a released day may have; `is_blank`: codes that are not released.
    pub(crate) fn recover(
        &self,
        shift: &PersonShift,
        window: Option<(i64, i64)>,
        is_blank: impl Fn(&str) -> bool,
    ) -> Recovery {
        let blank: Vec<bool> = self.names.iter().map(|name| is_blank(name)).collect();
        let knowledge = Knowledge::new(self);
        let repeats = TARGETS.div_ceil(self.targets.len().max(1)).min(200);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut attempts, mut successes) = (0, 0);
        for (person, events) in &self.targets {
            let own = Own::of(events);
            let birth = self.births.get(person).copied();
            for _ in 0..repeats {
                let by = shift.nth(rng.random());
                let visible = |(day, code): &(i64, Option<u32>)| {
                    let day = day + by;
                    let inside = window.is_none_or(|(first, last)| (first..=last).contains(&day));
                    let shown = code.is_none_or(|code| !blank[code as usize]);
                    (inside && shown).then_some((day, *code))
                };
                let seen: Vec<(i64, Option<u32>)> = events.keys().filter_map(visible).take(EVENTS).collect();
                attempts += 1;
                // Of several likeliest shifts one is taken at random.
                let (mut best, mut equal, mut guess) = (f64::NEG_INFINITY, 0_u32, 0);
                for back in shift.all() {
                    if birth.is_some_and(|birth| year_of(birth + back) != year_of(birth + by)) {
                        continue;
                    }
                    let score: f64 = seen.iter().map(|(day, code)| knowledge.log(&own, day - back, *code)).sum();
                    if score > best {
                        (best, equal, guess) = (score, 1, back);
                    } else if score >= best {
                        equal += 1;
                        if rng.random_range(0..equal) == 0 {
                            guess = back;
                        }
                    }
                }
                successes += u64::from(guess == by);
            }
        }
        let chance = 1.0 / real(shift.count());
        Recovery {
            attacker: "sees the released days, codes and year of birth of a person, knows the true day of birth, and from \
                       everybody else how days, and the weeks of every code, are spread over the true calendar; takes the \
                       shift that makes what is released likeliest"
                .to_owned(),
            attempts,
            successes,
            rate: if attempts == 0 { 0.0 } else { real(successes) / real(attempts) },
            interval: clopper_pearson(successes, attempts, 0.95),
            chance,
            limit: chance + MARGIN,
        }
    }
}

/// What the attacker must not know: events of the person itself, as far as they are in the counts.
struct Own {
    days: HashMap<i64, u64>,
    weeks: HashMap<(u32, i64), u64>,
    of_code: HashMap<u32, u64>,
    events: u64,
    of_week: HashMap<i64, u64>,
}

impl Own {
    fn of(events: &Events) -> Self {
        let mut own = Self {
            days: HashMap::new(),
            weeks: HashMap::new(),
            of_code: HashMap::new(),
            events: 0,
            of_week: HashMap::new(),
        };
        for ((day, code), count) in events {
            match code {
                Some(code) => {
                    *own.weeks.entry((*code, week_of(*day))).or_default() += count;
                    *own.of_code.entry(*code).or_default() += count;
                }
                None => {
                    *own.days.entry(*day).or_default() += count;
                    *own.of_week.entry(week_of(*day)).or_default() += count;
                    own.events += count;
                }
            }
        }
        own
    }
}

/// Counts of everybody, laid out for looking up.
struct Knowledge {
    first: i64,
    days: Vec<u64>,
    first_week: i64,
    weeks: Vec<u64>,
    events: u64,
    of_code: Vec<u64>,
    code_weeks: Vec<HashMap<i64, u64>>,
}

impl Knowledge {
    fn new(survey: &Survey) -> Self {
        let first = survey.days.keys().next().copied().unwrap_or(0);
        let last = survey.days.keys().next_back().copied().unwrap_or(0);
        let span = |from: i64, to: i64| usize::try_from(to - from + 1).unwrap_or(1);
        let (mut days, mut weeks) = (vec![0; span(first, last)], vec![0; span(week_of(first), week_of(last))]);
        for (day, count) in &survey.days {
            days[usize::try_from(day - first).unwrap_or(0)] += count;
            weeks[usize::try_from(week_of(*day) - week_of(first)).unwrap_or(0)] += count;
        }
        Self {
            first,
            events: days.iter().sum(),
            days,
            first_week: week_of(first),
            weeks,
            of_code: survey.weeks.iter().map(|weeks| weeks.values().sum()).collect(),
            code_weeks: survey
                .weeks
                .iter()
                .map(|weeks| weeks.iter().map(|(week, count)| (*week, *count)).collect())
                .collect(),
        }
    }

    /// Logarithm of how likely an event is on a day, by what is known from everybody else.
    fn log(&self, own: &Own, day: i64, code: Option<u32>) -> f64 {
        let at = |from: i64, counts: &[u64], place: i64| {
            usize::try_from(place - from).ok().and_then(|at| counts.get(at)).copied().unwrap_or(0)
        };
        let all = self.events - own.events.min(self.events);
        match code {
            None => {
                let here = at(self.first, &self.days, day);
                let here = here - own.days.get(&day).copied().unwrap_or(0).min(here);
                ((real(here) + 0.5) / (real(all) + 0.5 * real(self.days.len() as u64 + 1))).ln()
            }
            Some(code) => {
                let week = week_of(day);
                let here = at(self.first_week, &self.weeks, week);
                let here = here - own.of_week.get(&week).copied().unwrap_or(0).min(here);
                let usual = (real(here) + 3.5) / (real(all) + 3.5 * real(self.weeks.len() as u64 + 1));
                let uses = self.of_code[code as usize];
                let uses = uses - own.of_code.get(&code).copied().unwrap_or(0).min(uses);
                let used = self.code_weeks[code as usize].get(&week).copied().unwrap_or(0);
                let used = used - own.weeks.get(&(code, week)).copied().unwrap_or(0).min(used);
                // How much likelier the code makes the week than any event does; the day itself is counted without code.
                ((real(used) + 2.0 * usual) / (real(uses) + 2.0) / usual).ln()
            }
        }
    }
}
