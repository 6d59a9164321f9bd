//! Variables: a column of a table and the typed steps that make a number of it. There is no place for code.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::LearnError;

/// One step from a column's text to a number. Numbers are taken as written; a text is looked up.
///
/// Steps are the transformations of the literature on prognostic models: indicators, fractional polynomials
/// (Royston and Altman 1994) and restricted cubic splines (Harrell 2015, section 2.4.5, divided by the squared range).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// The texts that there are. They stay what they are; any other text is an error, and a model has no prediction for it. Without this
    /// step [`Self::OneOf`] takes a text that nobody ever saw for none of its own.
    Levels(Vec<String>),
    /// Text to 1 when it is one of these, 0 otherwise.
    OneOf(Vec<String>),
    /// Text to the number that stands for it; a text that is none of these is an error.
    Codes(BTreeMap<String, f64>),
    /// Number to text: the label of the band it falls into. Bands are open below and closed above: with edges 20 and 50,
    /// 20 is in the first and 50 in the second.
    Band {
        /// Upper ends of all bands but the last, ascending.
        edges: Vec<f64>,
        /// One label more than there are edges.
        labels: Vec<String>,
    },
    /// 1 when the number is above the bound, 0 otherwise.
    Above(f64),
    /// Subtracts a constant.
    Subtract(f64),
    /// Divides by a constant.
    Divide(f64),
    /// The number, or the bound where the number is higher.
    Cap(f64),
    /// The number, or the bound where the number is lower.
    Floor(f64),
    /// x to this power.
    Power(f64),
    /// x to this power times the natural logarithm of x.
    PowerLog(f64),
    /// Natural logarithm.
    Log,
    /// One of the non-linear terms of a restricted cubic spline.
    SplineTerm {
        /// At least three knots, ascending.
        knots: Vec<f64>,
        /// Which term, from 1 to the number of knots less two.
        #[serde(default = "one")]
        term: usize,
    },
}

fn one() -> usize {
    1
}

impl Step {
    /// Whether it asks what a text is.
    pub fn takes_text(&self) -> bool {
        matches!(self, Self::Levels(_) | Self::OneOf(_) | Self::Codes(_))
    }
}

/// What is between two steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(f64),
}

/// Why a cell has no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    Missing,
    Problem(&'static str),
}

/// A variable of a plan or a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name in the result.
    pub name: String,
    /// The column it comes from; the name when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is done with the column, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// The column names image files instead; for networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Whether to subtract the mean and divide by the standard deviation (divisor n - 1) over all rows of all sites.
    #[serde(default, skip_serializing_if = "is_false")]
    pub standardise: bool,
}

/// Images that a column names: grey PNG files, by their paths from the folder of the table. A pixel is a number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
}

/// Pixels of a side, at most.
const LARGEST_SIDE: usize = 1024;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Variable {
    /// A column as it is.
    pub fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), column: None, steps: Vec::new(), image: None, standardise: false }
    }

    /// The same with steps.
    #[must_use]
    pub fn with(mut self, column: &str, steps: Vec<Step>) -> Self {
        self.column = Some(column.to_owned());
        self.steps = steps;
        self
    }

    /// Numbers that it is in a row: one, or the pixels of its image.
    pub fn numbers(&self) -> usize {
        self.image.map_or(1, |image| image.width * image.height)
    }

    /// The column it comes from.
    pub fn source(&self) -> &str {
        self.column.as_deref().unwrap_or(&self.name)
    }
}

/// Refuses a variable that cannot work, whatever the data.
pub(crate) fn check_variable(variable: &Variable) -> Result<(), LearnError> {
    let sides = 2..=LARGEST_SIDE;
    match &variable.image {
        Some(_) if !variable.steps.is_empty() || variable.standardise => Err(LearnError::Plan {
            message: format!("variable {}: an image is taken as it is; leave steps and standardise out", variable.name),
        }),
        Some(image) if !sides.contains(&image.width) || !sides.contains(&image.height) => Err(LearnError::Plan {
            message: format!("variable {}: an image has from 2 to {LARGEST_SIDE} pixels to a side", variable.name),
        }),
        _ => check_steps(&variable.name, &variable.steps),
    }
}

/// Refuses steps that cannot work, whatever the data.
pub(crate) fn check_steps(name: &str, steps: &[Step]) -> Result<(), LearnError> {
    let wrong = |what: &str| Err(LearnError::Plan { message: format!("variable {name}: {what}") });
    let ascending = |numbers: &[f64]| numbers.windows(2).all(|pair| pair[0] < pair[1]);
    let finite = |number: f64| number.is_finite();
    let mut levels: Option<&[String]> = None;
    for step in steps {
        match step {
            Step::OneOf(texts) if levels.is_some_and(|levels| texts.iter().any(|text| !levels.contains(text))) => {
                return wrong("one_of names a text that is none of the levels before it");
            }
            Step::OneOf(texts) if texts.is_empty() => return wrong("one_of names no text"),
            Step::Levels(texts) if texts.is_empty() => return wrong("levels names no text"),
            Step::Codes(codes) if codes.is_empty() || !codes.values().all(|code| finite(*code)) => {
                return wrong("codes needs texts with finite numbers");
            }
            Step::Band { edges, labels } if labels.len() != edges.len() + 1 || !ascending(edges) => {
                return wrong("band needs ascending edges and one label more than edges");
            }
            Step::SplineTerm { knots, term }
                if knots.len() < 3 || !ascending(knots) || *term == 0 || *term > knots.len() - 2 =>
            {
                return wrong(
                    "spline_term needs three or more ascending knots, and a term from 1 to the number of knots less two",
                );
            }
            Step::Divide(by) if *by == 0.0 || !finite(*by) => {
                return wrong("divide needs a finite number other than 0");
            }
            Step::Above(x) | Step::Subtract(x) | Step::Cap(x) | Step::Floor(x) | Step::Power(x) | Step::PowerLog(x)
                if !finite(*x) =>
            {
                return wrong("a number of a step is not finite");
            }
            Step::Levels(texts) => levels = Some(texts),
            _ => {}
        }
    }
    Ok(())
}

fn number(value: &Value<'_>) -> Result<f64, Unfit> {
    match value {
        Value::Number(number) => Ok(*number),
        Value::Text(text) => {
            let number: f64 = text.trim().parse().map_err(|_| Unfit::Problem("is not a number"))?;
            if number.is_finite() { Ok(number) } else { Err(Unfit::Problem("is not a finite number")) }
        }
    }
}

fn cube_above(x: f64, knot: f64) -> f64 {
    let above = (x - knot).max(0.0);
    above * above * above
}

/// Harrell's restricted cubic spline term `j` (from 1), scaled by the squared distance of the outer knots.
pub(crate) fn spline_term(x: f64, knots: &[f64], j: usize) -> f64 {
    let last = knots[knots.len() - 1];
    let before = knots[knots.len() - 2];
    let own = knots[j - 1];
    let scale = (last - knots[0]) * (last - knots[0]);
    (cube_above(x, own) - cube_above(x, before) * (last - own) / (last - before)
        + cube_above(x, last) * (before - own) / (last - before))
        / scale
}

/// Walks the steps.
pub(crate) fn apply<'a>(mut value: Value<'a>, steps: &'a [Step]) -> Result<Value<'a>, Unfit> {
    for step in steps {
        value = match step {
            Step::Levels(texts) => match &value {
                Value::Text(text) if texts.iter().any(|one| one == text.trim()) => value,
                Value::Text(_) => return Err(Unfit::Problem("is none of the levels")),
                Value::Number(_) => return Err(Unfit::Problem("is a number where levels need the text")),
            },
            Step::OneOf(texts) => match &value {
                Value::Text(text) => Value::Number(f64::from(texts.iter().any(|one| one == text.trim()))),
                Value::Number(_) => return Err(Unfit::Problem("is a number where one_of needs the text")),
            },
            Step::Codes(codes) => match &value {
                Value::Text(text) => {
                    Value::Number(*codes.get(text.trim()).ok_or(Unfit::Problem("is none of the texts with a code"))?)
                }
                Value::Number(_) => return Err(Unfit::Problem("is a number where codes need the text")),
            },
            Step::Band { edges, labels } => {
                let number = number(&value)?;
                Value::Text(&labels[edges.iter().filter(|edge| number > **edge).count()])
            }
            Step::Above(bound) => Value::Number(f64::from(number(&value)? > *bound)),
            Step::Subtract(by) => Value::Number(number(&value)? - by),
            Step::Divide(by) => Value::Number(number(&value)? / by),
            Step::Cap(bound) => Value::Number(number(&value)?.min(*bound)),
            Step::Floor(bound) => Value::Number(number(&value)?.max(*bound)),
            Step::Power(power) => Value::Number(libm::pow(number(&value)?, *power)),
            Step::PowerLog(power) => {
                let x = number(&value)?;
                Value::Number(libm::pow(x, *power) * libm::log(x))
            }
            Step::Log => Value::Number(libm::log(number(&value)?)),
            Step::SplineTerm { knots, term } => Value::Number(spline_term(number(&value)?, knots, *term)),
        };
        if let Value::Number(number) = value
            && !number.is_finite()
        {
            return Err(Unfit::Problem("has no finite result after a step"));
        }
    }
    Ok(value)
}

/// The number of a cell after all steps.
pub(crate) fn evaluate(text: &str, steps: &[&[Step]]) -> Result<f64, Unfit> {
    let mut value = Value::Text(text);
    for steps in steps {
        value = apply(value, steps)?;
    }
    number(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spline_term_is_linear_beyond_the_outer_knots() {
        let knots = [0.0, 1.0, 9.0];
        let term = |x| spline_term(x, &knots, 1);
        assert_eq!(term(0.0), 0.0);
        let slope = term(11.0) - term(10.0);
        assert!((term(21.0) - term(20.0) - slope).abs() < 1e-12);
    }

    #[test]
    fn bands_are_closed_above() {
        let steps = [Step::Band { edges: vec![20.0, 50.0], labels: vec!["a".into(), "b".into(), "c".into()] }];
        let label = |text| apply(Value::Text(text), &steps).unwrap();
        assert_eq!(label("20"), Value::Text("a"));
        assert_eq!(label("20.5"), Value::Text("b"));
        assert_eq!(label("50"), Value::Text("b"));
        assert_eq!(label("51"), Value::Text("c"));
    }

    #[test]
    fn a_text_that_is_no_level_is_nothing() {
        let levels = || Step::Levels(vec!["<=20".to_owned(), ">50".to_owned()]);
        let steps = [levels(), Step::OneOf(vec![">50".to_owned()])];
        let number = |text: &'static str| evaluate(text, &[&steps]);
        assert_eq!((number(">50"), number("<=20"), number(" <=20 ")), (Ok(1.0), Ok(0.0), Ok(0.0)));
        for other in ["over 50 mm", "*", "30", ""] {
            assert_eq!(number(other), Err(Unfit::Problem("is none of the levels")));
        }
        assert!(check_steps("size", &steps).is_ok());
        for wrong in [vec![Step::Levels(vec![])], vec![levels(), Step::OneOf(vec!["20-50".to_owned()])]] {
            assert!(check_steps("size", &wrong).is_err());
        }
    }

    #[test]
    fn a_text_that_is_no_number_is_not_repeated() {
        assert_eq!(evaluate("Jane", &[&[]]), Err(Unfit::Problem("is not a number")));
    }
}
