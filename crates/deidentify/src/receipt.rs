//! Writes the receipt: what was measured, in numbers and words.

use acequia_privacy::{Classes, Model, Risk, loss, normalised_loss};

use crate::attack::Attacks;
use crate::engine::Recoded;
use crate::hierarchy::SUPPRESSED;
use crate::policy::{Policy, Role};
use crate::proof::{
    Before, ClassCounts, ClassSize, ColumnUtility, Loss, ModelResult, PolicyFacts, QuasiIdentifier, Receipt, Risks,
    RowCounts, StatedRisk,
};
use crate::transform::{Sampling, Transformation};
use crate::utility;
use crate::verify::Recount;

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

/// Risk of classes under the three attackers. Shares of rows are those above `threshold`.
pub(crate) fn risks(classes: &Classes, threshold: f64) -> Risks {
    let stated = |risk: Risk, assumption: &str| StatedRisk { risk, assumption: assumption.to_owned() };
    let marketer = classes.marketer();
    Risks {
        prosecutor: stated(
            classes.prosecutor(threshold),
            "the attacker knows that the person is in the data, and every quasi-identifier of the person",
        ),
        journalist: stated(
            classes.journalist_upper_bound(threshold),
            "no population table: the population's classes are taken to be no larger than those of the data, an upper bound",
        ),
        marketer: stated(
            Risk { maximum: marketer, average: marketer, at_risk_share: 0.0 },
            "the attacker matches every row and counts the correct ones",
        ),
        population: None,
        sampled: None,
    }
}

/// The receipt with what was done besides generalisation.
pub(crate) fn with_transformations(
    mut receipt: Receipt,
    policy: &Policy,
    steps: Vec<Transformation>,
    sampling: Option<Sampling>,
) -> Receipt {
    for (name, column) in policy.of_role(Role::QuasiIdentifier).filter(|(_, column)| column.is_of_class()) {
        let step = steps.iter().find(|step| step.columns.len() == 1 && step.columns[0] == name);
        let kept = step.map_or(1.0, |step| step.kept);
        let value = column.transform.as_ref().and_then(|transform| transform.class);
        receipt.quasi_identifiers.push(QuasiIdentifier {
            column: name.to_owned(),
            hierarchy: "class".to_owned(),
            level: 1,
            lowest_level: 1,
            levels: 1,
            words: format!("the {} of its equivalence class", value.unwrap_or_default().as_str()),
            loss: 1.0 - kept,
            utility: ColumnUtility { granularity: kept, ..ColumnUtility::default() },
        });
    }
    receipt.quasi_identifiers.sort_by(|a, b| a.column.cmp(&b.column));
    if let Some(sampling) = &sampling {
        receipt.rows.not_sampled = sampling.rows - sampling.drawn;
        receipt.rows.input = sampling.rows;
        let of = receipt.risk.prosecutor.risk;
        let share = sampling.share;
        receipt.risk.sampled = Some(StatedRisk {
            risk: Risk { maximum: share * of.maximum, average: share * of.average, at_risk_share: 0.0 },
            assumption: format!(
                "the attacker knows every quasi-identifier of a person of the table that the sample was drawn from, and not \
                 who was drawn; a person is in the sample with a chance of {share}"
            ),
        });
        if share * of.maximum > policy.maximum_risk
            && let Some(sampled) = &mut receipt.risk.sampled
        {
            sampled.risk.at_risk_share = of.at_risk_share;
        }
    }
    receipt.transformations = steps;
    receipt.sample = sampling;
    receipt
}

/// Risk against a population table.
pub(crate) fn of_population(risk: Risk) -> StatedRisk {
    let assumption = "the population table holds everybody the attacker could mean; a class counts its people there, or its \
                      rows where these are more";
    StatedRisk { risk, assumption: assumption.to_owned() }
}

/// Sizes of classes.
pub(crate) fn class_counts(classes: &Classes) -> ClassCounts {
    ClassCounts {
        count: classes.count(),
        smallest: classes.smallest().unwrap_or(0),
        average: classes.average_size(),
        sizes: classes.by_size().iter().map(|(size, classes)| ClassSize { size: *size, classes: *classes }).collect(),
    }
}

/// `attacks`: their results, and the risk against a population table where one was given.
pub(crate) fn receipt(
    policy: &Policy,
    recoded: &Recoded,
    recount: &Recount,
    attacks: Option<(Attacks, Option<Risk>)>,
) -> Receipt {
    let rows = recoded.rows as u64;
    let suppressed = rows - recount.rows;
    let before_risk = recoded.before.prosecutor(policy.maximum_risk);
    let (mut quasi_identifiers, mut all, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = Vec::new();
    for (at, column) in recoded.columns.iter().enumerate() {
        let (lowest, highest) = recoded.levels_used(at);
        let of_kept = normalised_loss(recoded.covered_sum(at, false), recount.rows, column.leaves);
        all.push((column.weight, normalised_loss(recoded.covered_sum(at, true), rows, column.leaves)));
        kept.push((column.weight, of_kept));
        let utility = utility::of_column(recoded, at);
        left.push((column.weight, utility));
        quasi_identifiers.push(QuasiIdentifier {
            column: column.coded.name.clone(),
            hierarchy: column.hierarchy.kind().to_owned(),
            level: highest as u64,
            lowest_level: lowest as u64,
            levels: column.levels() as u64 - 1,
            words: if lowest == highest { column.hierarchy.words(highest) } else { row_by_row(recoded, at, lowest) },
            loss: of_kept,
            utility,
        });
    }
    let classes = &recount.classes;
    let smallest = classes.smallest().unwrap_or(0);
    let mut models = vec![ModelResult {
        name: "k-anonymity".to_owned(),
        parameter: Some(real(policy.class_size())),
        held: smallest >= policy.class_size() || recount.rows == 0,
        measured: real(smallest),
    }];
    for (name, per_class) in &recount.sensitive {
        let class = |sensitive| acequia_privacy::Class { rows: 0, population: 0, sensitive };
        let worst = |model: Model| {
            let none = acequia_privacy::Distribution::default();
            per_class.iter().map(|counts| model.measure(&class(counts), &none)).reduce(f64::min).unwrap_or(0.0)
        };
        let distinct = worst(Model::DistinctL { l: 1 });
        let required = policy.l_diversity.get(name).copied();
        models.push(ModelResult {
            name: format!("distinct l-diversity of {name}"),
            parameter: required.map(real),
            held: required.is_none_or(|required| distinct >= real(required) || recount.rows == 0),
            measured: distinct,
        });
        let measured = worst(Model::EntropyL { l: 1.0 });
        models.push(ModelResult {
            name: format!("entropy l-diversity of {name}"),
            parameter: None,
            held: true,
            measured,
        });
    }
    for (spec, measured) in policy.models.iter().zip(&recount.models) {
        // A model that compares with a population table cannot be recounted from the released rows.
        let Some(measured) = *measured else { continue };
        // Where a model has several parameters, its name tells them.
        let parameters = spec.parameters();
        let parameter = if let [one] = parameters[..] { Some(one) } else { None };
        models.push(ModelResult { name: spec.words(), parameter, held: true, measured });
    }
    let removed = |role| policy.of_role(role).map(|(name, _)| name.to_owned());
    Receipt {
        schema: "acequia-risk/1".to_owned(),
        attacker: policy.attacker,
        policy: PolicyFacts {
            k: policy.k,
            maximum_risk: policy.maximum_risk,
            suppression_limit: policy.suppression_limit,
            recoding: policy.recoding,
            metric: policy.metric,
        },
        rows: RowCounts {
            input: rows,
            released: recount.rows,
            suppressed,
            withheld: recoded.tuples.withheld,
            not_sampled: 0,
        },
        quasi_identifiers,
        classes: class_counts(classes),
        risk: Risks {
            population: attacks.as_ref().and_then(|(_, population)| *population).map(of_population),
            ..risks(classes, policy.maximum_risk)
        },
        before: Before { classes: recoded.before.count(), maximum: before_risk.maximum, average: before_risk.average },
        loss: Loss {
            total: loss(all.iter().copied()),
            granularity: granularity(&all),
            released: loss(kept),
            discernibility: classes.discernibility(suppressed),
            class_size: class_size(classes, rows, suppressed),
            combinations_tried: recoded.local.counted,
            combinations: recoded.combinations,
            proven: recoded.local.score.is_some_and(|(score, least)| score <= least),
            score: recoded.local.score.map(|(score, _)| score),
            least_score: recoded.local.score.map(|(_, least)| least),
        },
        utility: utility::of_table(recoded, &left, classes),
        transformations: Vec::new(),
        sample: None,
        models,
        attacks: attacks.map(|(attacks, _)| attacks),
        events: None,
        removed_columns: removed(Role::DirectIdentifier)
            .chain(removed(Role::PersonId))
            .chain(removed(Role::Assignment))
            .collect(),
        verified_by: "independent recount of the released table".to_owned(),
    }
}

/// How much of a column whose rows have different levels is at the finest of them, coarser, or left out. Whole per cent of
/// the rows released.
fn row_by_row(recoded: &Recoded, at: usize, lowest: usize) -> String {
    let column = &recoded.columns[at];
    let label = |level: usize, code: usize| column.labels[level][column.groups[level][code] as usize].as_deref();
    let (mut finest, mut coarser, mut left_out) = (0, 0, 0);
    for (tuple, rows) in recoded.tuples.rows.iter().enumerate() {
        let Some(levels) = recoded.local.combinations.get(recoded.local.of_tuple[tuple] as usize) else { continue };
        let (level, code) = (levels[at], recoded.tuples.code(tuple, at));
        let of = if level + 1 == column.levels() || label(level, code) == Some(SUPPRESSED) {
            &mut left_out
        } else if label(level, code) == label(lowest, code) {
            &mut finest
        } else {
            &mut coarser
        };
        *of += u64::from(*rows);
    }
    let all = finest + coarser + left_out;
    let parts =
        [(finest, column.hierarchy.words(lowest)), (coarser, "coarser".to_owned()), (left_out, "left out".to_owned())];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(rows, _)| *rows > 0)
        .map(|(rows, words)| format!("{} {words}", whole_per_cent(rows, all)))
        .collect();
    format!("row by row: {}", parts.join("; "))
}

/// A share that is neither nothing nor all is not written as if it were.
pub(crate) fn whole_per_cent(rows: u64, all: u64) -> String {
    let share = 100.0 * real(rows) / real(all);
    match share {
        share if share < 0.5 => "under 1 %".to_owned(),
        share if share > 99.5 && rows < all => "over 99 %".to_owned(),
        share => format!("{share:.0} %"),
    }
}

/// Weighted mean over quasi-identifiers of 1 − loss.
fn granularity(columns: &[(f64, f64)]) -> f64 {
    let weights: f64 = columns.iter().map(|(weight, _)| weight).sum();
    if weights > 0.0 { columns.iter().map(|(weight, loss)| weight * (1.0 - loss)).sum::<f64>() / weights } else { 1.0 }
}

fn class_size(classes: &Classes, rows: u64, suppressed: u64) -> f64 {
    let count = classes.count() + u64::from(suppressed > 0);
    if count == 0 { 0.0 } else { real(rows) / real(count) }
}
