//! The whole process: check, encode, search, recode, verify.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use acequia_custody::{Grant, Identified};
use acequia_frame::{FrameError, Table};
use acequia_privacy::{Classes, Risk, distinct_l_diversity, entropy_l_diversity};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};

use crate::DeidentifyError;
use crate::encode::{Encoded, Tuples};
use crate::hierarchy::Hierarchy;
use crate::policy::{Policy, Role};
use crate::proof::{
    Before, ClassCounts, ClassSize, Deidentified, Loss, ModelResult, PolicyFacts, QuasiIdentifier, Receipt, Risks,
    RowCounts, StatedRisk,
};
use crate::search::{Best, search};
use crate::verify::{Recount, verify};

/// De-identifies a table of one row per person.
///
/// # Errors
/// [`DeidentifyError::NotGranted`] when the grant does not cover everybody; [`DeidentifyError::Unreachable`] when no
/// generalisation satisfies the policy; others when table, policy or hierarchies do not fit together.
pub fn deidentify(
    table: Identified<Table>,
    grant: &Grant,
    policy: &Policy,
    hierarchy_files: &BTreeMap<String, Vec<u8>>,
) -> Result<Deidentified, DeidentifyError> {
    policy.check()?;
    let donors = table.donors().clone();
    let table = table.into_open(grant)?;
    check_columns(&table, policy)?;
    one_row_per_person(&table, policy.single(Role::PersonId)?)?;
    let assignment = assignment(&table, policy.single(Role::Assignment)?)?;

    let mut columns = Vec::new();
    for (name, column) in policy.of_role(Role::QuasiIdentifier) {
        let Some(spec) = &column.hierarchy else { continue };
        let hierarchy = Hierarchy::build(name, spec, hierarchy_files)?;
        columns.push(Encoded::new(&table, name, column.weight, hierarchy)?);
    }
    let mut tuples = Tuples::of(&columns, table.rows());
    for (name, l) in &policy.l_diversity {
        tuples.require_l(&table, name, *l)?;
    }
    let rows = table.rows() as u64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of rows"
    )]
    let limit = (policy.suppression_limit * rows as f64).floor() as u64;
    let class_size = policy.class_size();
    let best = search(&columns, &tuples, class_size, limit).ok_or(DeidentifyError::Unreachable {
        k: class_size,
        limit,
        rows,
    })?;

    // Rows in the order of assignment: it says nothing about the person, and nothing about the order rows came in.
    let mut kept: Vec<usize> = (0..table.rows()).filter(|row| !best.suppressed[tuples.of_row[*row] as usize]).collect();
    kept.sort_by_key(|row| assignment[*row]);
    let released = recode(&table, policy, &columns, &best, &kept)?;
    let recount = verify(&released, policy)?;
    let receipt = receipt(policy, &columns, &tuples, &best, &kept, &recount, rows);
    let assignment = kept.iter().map(|row| assignment[*row]).collect();
    Ok(Deidentified::new(released, assignment, receipt, donors))
}

fn check_columns(table: &Table, policy: &Policy) -> Result<(), DeidentifyError> {
    let found: BTreeSet<&str> = table.schema().fields().iter().map(|field| field.name().as_str()).collect();
    let differs = |column: &str, problem| Err(DeidentifyError::Columns { column: column.to_owned(), problem });
    if let Some(column) = found.iter().find(|name| !policy.columns.contains_key(**name)) {
        return differs(column, "in the table but not in the policy");
    }
    match policy.columns.keys().find(|name| !found.contains(name.as_str())) {
        Some(column) => differs(column, "in the policy but not in the table"),
        None => Ok(()),
    }
}

fn one_row_per_person(table: &Table, name: &str) -> Result<(), DeidentifyError> {
    let column = table.column(name)?;
    let problem = "a person id must be BIGINT";
    let ids =
        column.as_primitive_opt::<Int64Type>().ok_or(DeidentifyError::Type { column: name.to_owned(), problem })?;
    let distinct: BTreeSet<i64> = ids.iter().flatten().collect();
    if distinct.len() == ids.len() {
        Ok(())
    } else {
        Err(DeidentifyError::NotOneRowPerPerson { column: name.to_owned() })
    }
}

fn assignment(table: &Table, name: &str) -> Result<Vec<u64>, DeidentifyError> {
    let column = table.column(name)?;
    let numbers: Vec<Option<u64>> = match column.data_type() {
        DataType::Int64 => {
            column.as_primitive::<Int64Type>().iter().map(|v| v.and_then(|v| u64::try_from(v).ok())).collect()
        }
        DataType::UInt64 => column.as_primitive::<UInt64Type>().iter().collect(),
        _ => {
            return Err(DeidentifyError::Type {
                column: name.to_owned(),
                problem: "an assignment must be a whole number",
            });
        }
    };
    let known: Vec<u64> = numbers.iter().copied().flatten().collect();
    let distinct: BTreeSet<u64> = known.iter().copied().collect();
    if distinct.len() == numbers.len() {
        Ok(known)
    } else {
        Err(DeidentifyError::NotOneRowPerPerson { column: name.to_owned() })
    }
}

/// The released table: kept columns in the table's order, quasi-identifiers at their level.
fn recode(
    table: &Table,
    policy: &Policy,
    columns: &[Encoded],
    best: &Best,
    kept: &[usize],
) -> Result<Table, DeidentifyError> {
    let failed = |source| FrameError::Arrow { table: table.name().to_owned(), source };
    let rows = UInt32Array::from_iter_values(kept.iter().map(|row| u32::try_from(*row).unwrap_or(u32::MAX)));
    let (mut fields, mut arrays) = (Vec::new(), Vec::<ArrayRef>::new());
    for field in table.schema().fields() {
        let name = field.name();
        let Some(column) = policy.columns.get(name) else { continue };
        match column.role {
            Role::PersonId | Role::Assignment | Role::DirectIdentifier => continue,
            Role::Sensitive | Role::Insensitive => {
                let values = arrow::compute::take(&table.column(name)?, &rows, None).map_err(failed)?;
                fields.push(Field::new(name, field.data_type().clone(), true));
                arrays.push(values);
            }
            Role::QuasiIdentifier => {
                let Some(at) = columns.iter().position(|encoded| encoded.name == *name) else { continue };
                let (encoded, level) = (&columns[at], best.levels[at]);
                if level == 0 {
                    let values = arrow::compute::take(&table.column(name)?, &rows, None).map_err(failed)?;
                    fields.push(Field::new(name, field.data_type().clone(), true));
                    arrays.push(values);
                    continue;
                }
                let label = |row: &usize| {
                    let group = encoded.groups[level][encoded.codes[*row] as usize];
                    encoded.labels[level][group as usize].as_deref()
                };
                let values: StringArray = kept.iter().map(label).collect();
                fields.push(Field::new(name, DataType::Utf8, true));
                arrays.push(Arc::new(values));
            }
        }
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(failed)?;
    Ok(Table::new("released", vec![batch])?)
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

fn receipt(
    policy: &Policy,
    columns: &[Encoded],
    tuples: &Tuples,
    best: &Best,
    kept: &[usize],
    recount: &Recount,
    rows: u64,
) -> Receipt {
    let suppressed = rows - recount.rows;
    let before = Classes::of(tuples.counts.iter().copied());
    let before_risk = before.prosecutor(policy.maximum_risk);
    let mut quasi_identifiers = Vec::new();
    let mut granularity = 0.0;
    let weight: f64 = columns.iter().map(|column| column.weight).sum();
    for (column, level) in columns.iter().zip(&best.levels) {
        let total: f64 = kept.iter().map(|row| column.losses[*level][column.codes[*row] as usize]).sum();
        let loss = if kept.is_empty() { 0.0 } else { total / real(recount.rows) };
        granularity += loss * column.weight / weight;
        quasi_identifiers.push(QuasiIdentifier {
            column: column.name.clone(),
            hierarchy: column.hierarchy.kind().to_owned(),
            level: *level as u64,
            levels: column.levels() as u64 - 1,
            words: column.hierarchy.words(*level),
            loss,
        });
    }
    let classes = &recount.classes;
    let smallest = classes.smallest().unwrap_or(0);
    let prosecutor = classes.prosecutor(policy.maximum_risk);
    let stated = |risk: Risk, assumption: &str| StatedRisk { risk, assumption: assumption.to_owned() };
    let marketer = classes.marketer();
    let mut models = vec![ModelResult {
        name: "k-anonymity".to_owned(),
        parameter: Some(real(policy.class_size())),
        held: smallest >= policy.class_size() || recount.rows == 0,
        measured: real(smallest),
    }];
    for (name, per_class) in &recount.sensitive {
        let distinct = distinct_l_diversity(per_class).unwrap_or(0);
        let measured = |name: String, measured: f64| ModelResult { name, parameter: None, held: true, measured };
        let required = policy.l_diversity.get(name).copied();
        models.push(ModelResult {
            parameter: required.map(real),
            held: required.is_none_or(|required| distinct >= required || recount.rows == 0),
            ..measured(format!("distinct l-diversity of {name}"), real(distinct))
        });
        let entropy = entropy_l_diversity(per_class).unwrap_or(0.0);
        models.push(measured(format!("entropy l-diversity of {name}"), entropy));
    }
    let removed = |role| policy.of_role(role).map(|(name, _)| name.to_owned());
    Receipt {
        schema: "acequia-risk/1".to_owned(),
        attacker: policy.attacker,
        policy: PolicyFacts {
            k: policy.k,
            maximum_risk: policy.maximum_risk,
            suppression_limit: policy.suppression_limit,
        },
        rows: RowCounts { input: rows, released: recount.rows, suppressed },
        quasi_identifiers,
        classes: ClassCounts {
            count: classes.count(),
            smallest,
            average: classes.average_size(),
            sizes: classes
                .by_size()
                .iter()
                .map(|(size, classes)| ClassSize { size: *size, classes: *classes })
                .collect(),
        },
        risk: Risks {
            prosecutor: stated(
                prosecutor,
                "the attacker knows that the person is in the data, and every quasi-identifier of the person",
            ),
            journalist: stated(
                classes.journalist_upper_bound(policy.maximum_risk),
                "no population table: the population's classes are taken to be no larger than those of the data, an upper bound",
            ),
            marketer: stated(
                Risk { maximum: marketer, average: marketer, at_risk_share: 0.0 },
                "the attacker matches every row and counts the correct ones",
            ),
        },
        before: Before { classes: before.count(), maximum: before_risk.maximum, average: before_risk.average },
        loss: Loss {
            total: best.loss,
            granularity,
            discernibility: classes.discernibility(suppressed),
            combinations_tried: best.tried.0,
            combinations: best.tried.1,
        },
        models,
        removed_columns: removed(Role::DirectIdentifier)
            .chain(removed(Role::PersonId))
            .chain(removed(Role::Assignment))
            .collect(),
        verified_by: "independent recount of the released table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use acequia_custody::{ConsentEvent, Decision, History, Purpose, evaluate};
    use acequia_types::{DonorId, parse_timestamp};
    use arrow::array::Int64Array;
    use proptest::prelude::*;

    use super::*;
    use crate::search::brute_force;

    const POLICY: &str = r#"
        k = 2
        maximum_risk = 0.5
        suppression_limit = 0.2
        [columns]
        person_id = { role = "person-id" }
        assignment = { role = "assignment" }
        age = { role = "quasi-identifier", hierarchy = { intervals = { levels = [5, 10], lower = 20, upper = 60 } } }
        grade = { role = "quasi-identifier", weight = 2.0, hierarchy = { tree = { low = ["1", "2"], high = ["3"] } } }
        chemo = { role = "quasi-identifier", hierarchy = "suppress" }
        event = { role = "sensitive" }
    "#;

    type Row = (i64, Option<u8>, bool, bool);

    fn table(rows: &[Row], order: &[usize]) -> Table {
        let ids = || order.iter().map(|at| *at as i64);
        let text = |value: bool| if value { "yes" } else { "no" };
        let columns: [(&str, ArrayRef); 6] = [
            ("person_id", Arc::new(Int64Array::from_iter_values(ids()))),
            ("assignment", Arc::new(Int64Array::from_iter_values(ids().map(|id| (id * 7_919) % 10_007)))),
            ("age", Arc::new(Int64Array::from_iter_values(order.iter().map(|at| rows[*at].0)))),
            (
                "grade",
                Arc::new(order.iter().map(|at| rows[*at].1.map(|grade| grade.to_string())).collect::<StringArray>()),
            ),
            ("chemo", Arc::new(StringArray::from_iter_values(order.iter().map(|at| text(rows[*at].2))))),
            ("event", Arc::new(Int64Array::from_iter_values(order.iter().map(|at| i64::from(rows[*at].3))))),
        ];
        Table::new("cohort", vec![RecordBatch::try_from_iter(columns).unwrap()]).unwrap()
    }

    fn granted(table: Table) -> (Identified<Table>, Grant) {
        let donor = DonorId::parse("clinic").unwrap();
        let history = History::new(vec![ConsentEvent::give("2026-01-01", &[Purpose::OpenPublication])]);
        let now = parse_timestamp("2026-06-01").unwrap();
        let Decision::Permit(grant) = evaluate(&donor, Some(&history), Purpose::OpenPublication, now) else { panic!() };
        (Identified::new(donor, table), grant)
    }

    fn run(table: Table, policy: &Policy) -> Result<Deidentified, DeidentifyError> {
        let (table, grant) = granted(table);
        deidentify(table, &grant, policy, &BTreeMap::new())
    }

    fn policy() -> Policy {
        toml::from_str(POLICY).unwrap()
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        proptest::collection::vec(
            (18..65_i64, proptest::option::weighted(0.9, 1..=3_u8), any::<bool>(), any::<bool>()),
            5..60,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_search_is_as_good_as_trying_everything(rows in rows()) {
            let order: Vec<usize> = (0..rows.len()).collect();
            let table = table(&rows, &order);
            let policy = policy();
            let columns: Vec<Encoded> = policy
                .of_role(Role::QuasiIdentifier)
                .map(|(name, column)| {
                    let hierarchy = Hierarchy::build(name, column.hierarchy.as_ref().unwrap(), &BTreeMap::new()).unwrap();
                    Encoded::new(&table, name, column.weight, hierarchy).unwrap()
                })
                .collect();
            let tuples = Tuples::of(&columns, table.rows());
            let limit = (rows.len() / 5) as u64;
            let found = search(&columns, &tuples, 2, limit).map(|best| best.loss);
            let expected = brute_force::smallest_loss(&columns, &tuples, 2, limit);
            match (found, expected) {
                (Some(found), Some(expected)) => prop_assert!((found - expected).abs() < 1e-12),
                (found, expected) => prop_assert_eq!(found.is_some(), expected.is_some()),
            }
        }

        #[test]
        fn what_comes_out_satisfies_the_policy_and_forgets_the_order(rows in rows(), seed in any::<u64>()) {
            let order: Vec<usize> = (0..rows.len()).collect();
            let mut shuffled = order.clone();
            shuffled.sort_by_key(|at| (*at as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let policy = policy();
            let (a, b) = (run(table(&rows, &order), &policy), run(table(&rows, &shuffled), &policy));
            let (a, b) = (a.unwrap(), b.unwrap());
            prop_assert_eq!(a.digest(), b.digest());
            let receipt = a.receipt();
            prop_assert_eq!(receipt.rows.input, receipt.rows.released + receipt.rows.suppressed);
            prop_assert!(receipt.rows.suppressed as f64 <= 0.2 * rows.len() as f64);
            if receipt.rows.released > 0 {
                prop_assert!(receipt.classes.smallest >= 2);
                prop_assert!(receipt.risk.prosecutor.risk.maximum <= 0.5);
            }
            prop_assert_eq!(a.assignment().len(), a.table().rows());
            prop_assert!(a.table().column("person_id").is_err());
        }
    }

    #[test]
    fn a_table_that_cannot_reach_the_policy_is_refused() {
        let rows = [(30, Some(1), true, true); 3];
        let strict = Policy { k: 4, ..policy() };
        let error = run(table(&rows, &[0, 1, 2]), &strict).unwrap_err();
        assert!(matches!(error, DeidentifyError::Unreachable { k: 4, limit: 0, rows: 3 }));
    }

    #[test]
    fn classes_of_one_outcome_are_merged_or_suppressed() {
        // Ten in their thirties with the same outcome, ten in their fifties with both.
        let rows: Vec<Row> =
            (0..20).map(|at| (if at < 10 { 32 } else { 52 }, Some(1), true, at % 2 == 0 && at >= 10)).collect();
        let order: Vec<usize> = (0..20).collect();
        let strict = Policy { l_diversity: BTreeMap::from([("event".to_owned(), 2)]), ..policy() };
        let loose = run(table(&rows, &order), &policy()).unwrap();
        let diverse = run(table(&rows, &order), &strict).unwrap();
        let measured = |done: &Deidentified| {
            done.receipt().models.iter().find(|model| model.name == "distinct l-diversity of event").unwrap().measured
        };
        assert_eq!((measured(&loose), measured(&diverse)), (1.0, 2.0));
        assert_eq!(loose.receipt().classes.count, 2);
        assert_eq!(diverse.receipt().classes.count, 1);
        assert!(matches!(verify(loose.table(), &strict), Err(DeidentifyError::NotDiverse { .. })));
    }

    #[test]
    fn the_stricter_of_k_and_risk_decides() {
        assert_eq!(Policy { k: 2, maximum_risk: 0.09, ..policy() }.class_size(), 12);
        assert_eq!(Policy { k: 20, maximum_risk: 0.09, ..policy() }.class_size(), 20);
        assert_eq!(Policy { k: 1, maximum_risk: 0.1, ..policy() }.class_size(), 10);
    }

    #[test]
    fn columns_and_values_must_be_known() {
        let rows = [(30, Some(7), true, true); 3];
        let error = run(table(&rows, &[0, 1, 2]), &policy()).unwrap_err();
        assert_eq!(error.to_string(), "row 1, column grade: the value is not in the hierarchy");
        let mut narrow = policy();
        narrow.columns.remove("event");
        let rows = [(30, Some(1), true, true); 3];
        let error = run(table(&rows, &[0, 1, 2]), &narrow).unwrap_err();
        assert_eq!(error.to_string(), "column event is in the table but not in the policy");
    }

    #[test]
    fn nobody_appears_twice_and_nobody_without_grant() {
        let rows = [(30, Some(1), true, true); 3];
        let error = run(table(&rows, &[0, 1, 1]), &policy()).unwrap_err();
        assert!(matches!(error, DeidentifyError::NotOneRowPerPerson { .. }));
        let (_, grant) = granted(table(&rows, &[0]));
        let other = Identified::new(DonorId::parse("other").unwrap(), table(&rows, &[0, 1, 2]));
        let refused = deidentify(other, &grant, &policy(), &BTreeMap::new()).unwrap_err();
        assert!(matches!(refused, DeidentifyError::NotGranted(_)));
    }

    #[test]
    fn a_forged_release_does_not_pass_the_verifier() {
        let rows = [(30, Some(1), true, true), (31, Some(1), true, false), (55, Some(3), false, true)];
        let forged = table(&rows, &[0, 1, 2]).select(&["age", "grade", "chemo", "event"]).unwrap();
        assert!(matches!(verify(&forged, &policy()), Err(DeidentifyError::Recount { found: 1, required: 2 })));
        assert!(matches!(verify(&table(&rows, &[0, 1, 2]), &policy()), Err(DeidentifyError::Columns { .. })));
    }
}
