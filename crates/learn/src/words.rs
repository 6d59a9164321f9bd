//! A plan in sentences, for whoever decides at a site: which columns are looked at, whose rows count, how often is asked.

use crate::plan::{CensoredAt, Cohort, Condition, Missing, Outcome, Plan, Task};
use crate::variable::{Step, Variable};

impl Plan {
    /// What it looks at and how often it asks, in sentences.
    pub fn in_words(&self) -> String {
        let mut text = String::new();
        let variables: Vec<String> = self.variables.iter().map(variable).collect();
        text += &match variables.as_slice() {
            [] => "It looks at no variables.".to_owned(),
            some => format!("It looks at {}.", some.join("; ")),
        };
        match &self.outcome {
            None => {}
            Some(Outcome::Survival { components, censored_at, cut_days }) => {
                let events: Vec<String> = components
                    .iter()
                    .map(|component| format!("{} (days in {})", component.event, component.time))
                    .collect();
                let end = match censored_at {
                    CensoredAt::First => "earliest",
                    CensoredAt::Last => "latest",
                };
                let cut = cut_days.map_or(String::new(), |days| format!(", for {days} days at most"));
                text += &format!(
                    " The outcome is the first of {}, followed to the {end} end of follow-up{cut}.",
                    events.join(", ")
                );
            }
            Some(Outcome::Number { value } | Outcome::Binary { value }) => {
                text += &format!(" The outcome is {}.", variable(value));
            }
        }
        text += &cohort(&self.cohort);
        let rounds = self.rounds_at_most();
        text += &format!(" It asks {rounds} {} at most.", if rounds == 1 { "time" } else { "times" });
        if let Some(day) = self.last_day {
            text += &format!(" It is answered until {day}.");
        }
        text
    }

    /// Rounds of questions, at most.
    pub fn rounds_at_most(&self) -> u64 {
        match &self.task {
            Task::Count | Task::Histogram { .. } | Task::KaplanMeier { .. } | Task::LogRank { .. } => 1,
            Task::Moments | Task::Linear { .. } | Task::Pca { .. } => 2,
            Task::Quantile { low, high, resolution, .. } => {
                // Each round leaves one of so many parts of what is left.
                let mut steps = ((high - low) / resolution).ceil();
                let mut rounds = 0;
                while steps >= 1.0 && rounds < 64 {
                    steps = (steps / 63.0).floor();
                    rounds += 1;
                }
                rounds + 1
            }
            Task::Logistic { newton, .. } | Task::Cox { newton, .. } | Task::DiscreteTime { newton, .. } => {
                1 + u64::from(newton.rounds)
            }
            Task::Boosting(settings) => 2 + (settings.trees * settings.depth) as u64,
            Task::Averaging(settings) => {
                let looks_before = settings.noise.is_none() && self.variables.iter().all(|one| one.image.is_none());
                u64::from(settings.rounds) + u64::from(looks_before)
            }
        }
    }
}

fn cohort(cohort: &Cohort) -> String {
    let conditions: Vec<String> = cohort.conditions.iter().map(condition).collect();
    let missing = match cohort.missing {
        Missing::Refuse => "a missing value stops it",
        Missing::Drop => "rows that lack a value are left out",
    };
    let mut text = match conditions.as_slice() {
        [] => format!(" All rows count; {missing}."),
        some => format!(" Rows count where {}; {missing}.", some.join(" and ")),
    };
    if let Some(held_out) = &cohort.held_out {
        let percent = held_out.share * 100.0;
        text += &format!(" About {percent} % of the persons are held out by lot: the model does not learn from them.");
    }
    text
}

fn condition(condition: &Condition) -> String {
    let column = &condition.column;
    let mut parts = Vec::new();
    if let Some(texts) = &condition.one_of {
        parts.push(format!("{column} is {}", listed(texts)));
    }
    let bounds = [
        ("at least", condition.at_least),
        ("above", condition.above),
        ("at most", condition.at_most),
        ("below", condition.below),
    ];
    parts.extend(
        bounds.into_iter().filter_map(|(word, bound)| bound.map(|bound| format!("{column} is {word} {bound}"))),
    );
    parts.join(" and ")
}

fn listed(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    quoted.join(" or ")
}

fn variable(variable: &Variable) -> String {
    let source = variable.source();
    let mut text = match source == variable.name {
        true => format!("the column {source}"),
        false => format!("{} from the column {source}", variable.name),
    };
    if let Some(image) = &variable.image {
        text += &format!(" (images of {} by {} pixels)", image.width, image.height);
    }
    let mut steps: Vec<String> = variable.steps.iter().map(step).collect();
    if variable.standardise {
        steps.push("standardised over all sites".to_owned());
    }
    if steps.is_empty() { text } else { format!("{text} ({})", steps.join(", ")) }
}

fn step(step: &Step) -> String {
    let numbers = |numbers: &[f64]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match step {
        Step::Levels(texts) => format!("{} and no other text", listed(texts)),
        Step::OneOf(texts) => format!("whether it is {}", listed(texts)),
        Step::Codes(codes) => {
            let codes: Vec<String> = codes.iter().map(|(text, code)| format!("\"{text}\" as {code}")).collect();
            codes.join(", ")
        }
        Step::Band { edges, .. } => format!("in bands cut at {}", numbers(edges)),
        Step::Above(bound) => format!("whether it is above {bound}"),
        Step::Subtract(by) => format!("less {by}"),
        Step::Divide(by) => format!("divided by {by}"),
        Step::Cap(bound) => format!("{bound} at most"),
        Step::Floor(bound) => format!("{bound} at least"),
        Step::Power(power) => format!("to the power of {power}"),
        Step::PowerLog(power) => format!("to the power of {power} times its logarithm"),
        Step::Log => "its logarithm".to_owned(),
        Step::SplineTerm { knots, term } => format!("term {term} of a spline with knots {}", numbers(knots)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_decides_reads_columns_cohort_and_rounds() {
        let plan = Plan::from_toml(
            r#"
schema = "acequia-plan/1"
title = "Recurrence"
task = { kind = "cox" }
last_day = "2030-01-31"
privacy = { minimum_rows = 50 }
outcome = { kind = "survival", components = [{ time = "t", event = "e" }], cut_days = 1826.25 }
cohort = { where = [{ column = "age", at_least = 18, below = 90 }, { column = "sex", one_of = ["f"] }], missing = "drop" }
variables = [{ name = "grade3", column = "grade", steps = [{ one_of = ["3"] }] }, { name = "nodes", steps = [{ cap = 19 }], standardise = true }]
"#,
        );
        assert_eq!(
            plan.unwrap().in_words(),
            "It looks at grade3 from the column grade (whether it is \"3\"); the column nodes (19 at most, standardised over all sites). \
             The outcome is the first of e (days in t), followed to the earliest end of follow-up, for 1826.25 days at most. \
             Rows count where age is at least 18 and age is below 90 and sex is \"f\"; rows that lack a value are left out. \
             It asks 31 times at most. It is answered until 2030-01-31."
        );
    }
}
