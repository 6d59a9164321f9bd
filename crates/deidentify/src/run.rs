//! The whole process: check, encode, search, recode, verify.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use acequia_custody::{Grant, Identified};
use acequia_frame::{FrameError, Table};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};

use crate::DeidentifyError;
use crate::attack::{Extent, Kept, attack};
use crate::coded::CodedColumn;
use crate::engine::{Prepared, Recoded};
use crate::file::{KEPT_DAYS, is_of_days};
use crate::policy::{ModelSpec, Policy, Role};
use crate::proof::Deidentified;
use crate::receipt::{receipt, with_transformations};
use crate::republish::{EarlierVersion, Judged, Ledger, recode_beside, verify_beside};
use crate::shift::{ShiftKey, shifted_text};
use crate::transform::{Sampling, Transformation, Work};
use crate::verify::{Beside, verify};

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
    deidentify_beside(table, grant, policy, hierarchy_files, &[], &Ledger::default())
}

/// De-identifies a table of which earlier versions are out, oldest first, so that nobody is found by comparing them: see
/// [`acequia_privacy::republication`].
///
/// # Errors
/// As [`deidentify`]; [`DeidentifyError::Exposed`] when too much would have to be withheld.
pub fn deidentify_beside(
    table: Identified<Table>,
    grant: &Grant,
    policy: &Policy,
    hierarchy_files: &BTreeMap<String, Vec<u8>>,
    earlier: &[EarlierVersion],
    ledger: &Ledger,
) -> Result<Deidentified, DeidentifyError> {
    policy.check()?;
    if policy.events.is_some() {
        // A version is one table that later versions are compared with person by person; two tables that are safe only
        // together are no such version, and nothing yet tests releases of them jointly.
        let message = "events: a version of the course holds one table of one row per person, and is tested jointly with \
                       earlier ones, which cannot be done yet for a second table of events; release persons and events \
                       from files with `acequia deidentify`, or derive columns from the events in the cohort";
        return Err(DeidentifyError::Policy { message: message.to_owned() });
    }
    ledger.check(policy)?;
    let donors = table.donors().clone();
    let table = table.into_open(grant)?;
    check_columns(&table, policy)?;
    one_row_per_person(&table, policy.single(Role::PersonId)?)?;
    let assignment = assignment(&table, policy.single(Role::Assignment)?)?;
    kept_columns(&table, policy)?;
    let (table, assignment, sampling) = sampled(table, assignment, policy, hierarchy_files)?;
    let (table, steps) = shifted(table, policy, hierarchy_files)?;

    if policy.models.iter().any(ModelSpec::needs_population) {
        return Err(DeidentifyError::Population { problem: "is missing" });
    }
    if !earlier.is_empty() && policy.of_role(Role::QuasiIdentifier).any(|(_, column)| column.is_of_class()) {
        let message = "one value in every class cannot be compared with earlier versions: give the column a hierarchy";
        return Err(DeidentifyError::Policy { message: message.to_owned() });
    }
    let columns = if policy.transforms() { all_columns(&table, policy)? } else { Vec::new() };
    let mut work = Work::before(policy, columns, table.rows(), steps)?;
    let (whole, recoded, kept, released, table) = loop {
        let table = worked(&table, &work)?;
        let prepared =
            Prepared::new(policy, hierarchy_files, table.rows(), |name| CodedColumn::of(&table, name).map(Arc::new))?;
        let whole = prepared.whole();
        let judged = if earlier.is_empty() { None } else { Some(Judged::of(&prepared, policy, hierarchy_files)?) };
        let mut recoded = match judged {
            None => prepared.recode(policy, hierarchy_files)?,
            Some(_) => recode_beside(prepared, policy, hierarchy_files, &assignment, earlier)?,
        };

        // Rows in the order of assignment: it says nothing about the person, and nothing about the order rows came in.
        let mut kept: Vec<usize> = recoded.kept().collect();
        kept.sort_by_key(|row| assignment[*row]);
        let mut released = recode(&table, policy, &recoded, &kept)?;
        let persons = |kept: &[usize]| kept.iter().map(|row| assignment[*row]).collect::<Vec<u64>>();
        if let Some(judged) = &judged {
            let withheld = judged.withhold((&released, &persons(&kept), &kept), earlier, policy, ledger)?;
            kept.iter().filter(|row| withheld.contains(&assignment[**row])).for_each(|row| recoded.take_out(*row));
            kept.retain(|row| !withheld.contains(&assignment[*row]));
            released = recode(&table, policy, &recoded, &kept)?;
        }
        if policy.transforms() && work.again(&kept)? {
            continue;
        }
        let table = if policy.transforms() {
            let (class_of, _) = recoded.released_classes();
            work.after(policy, &recoded, &kept, |row| class_of[recoded.of_row[row] as usize])?;
            let table = worked(&table, &work)?;
            released = recode(&table, policy, &recoded, &kept)?;
            table
        } else {
            table
        };
        if judged.is_some() {
            verify_beside(&released, &persons(&kept), earlier, policy, ledger)?;
        }
        break (whole, recoded, kept, released, table);
    };
    let beside = Beside { whole: Some(&whole), hierarchy_files: Some(hierarchy_files), population: None };
    let recount = verify(&released, policy, &beside)?;
    let attacks = attack(policy, &recoded, &kept_beside(&table, policy)?, &recount, Extent::Full)?;
    let receipt = with_transformations(receipt(policy, &recoded, &recount, attacks), policy, work.steps, sampling);
    let assignment = kept.iter().map(|row| assignment[*row]).collect();
    Ok(Deidentified::new(released, assignment, receipt, donors))
}

/// The persons that a policy draws.
fn sampled(
    table: Table,
    assignment: Vec<u64>,
    policy: &Policy,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(Table, Vec<u64>, Option<Sampling>), DeidentifyError> {
    let Some(sample) = &policy.sample else { return Ok((table, assignment, None)) };
    // An assignment is a secret of the node already, and the same in every version.
    let sampler = sample.sampler(files, || Ok([0; 32]))?;
    let drawn: Vec<bool> = assignment.iter().map(|person| sampler.draws(&person.to_le_bytes())).collect();
    let failed = |source| FrameError::Arrow { table: table.name().to_owned(), source };
    let batch = filter_record_batch(&table.to_batch()?, &BooleanArray::from(drawn.clone())).map_err(failed)?;
    let all = assignment.len() as u64;
    let assignment: Vec<u64> = assignment.into_iter().zip(drawn).filter(|(_, drawn)| *drawn).map(|(a, _)| a).collect();
    let stated = sample.stated(all, assignment.len() as u64);
    Ok((Table::new(table.name(), vec![batch])?, assignment, Some(stated)))
}

/// The table with the days of each person moved.
fn shifted(
    table: Table,
    policy: &Policy,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(Table, Vec<Transformation>), DeidentifyError> {
    let is_shifted =
        |column: &crate::policy::Column| column.transform.as_ref().is_some_and(|transform| transform.shift);
    let names: Vec<&String> =
        policy.columns.iter().filter(|(_, column)| is_shifted(column)).map(|(name, _)| name).collect();
    let Some(spec) = policy.date_shift.as_ref().filter(|_| !names.is_empty()) else { return Ok((table, Vec::new())) };
    let shift = spec.shift(&ShiftKey::of_file(&spec.key, files)?);
    let persons = CodedColumn::of(&table, policy.single(Role::PersonId)?)?;
    let mut survey = crate::shift::recovery::Survey::default();
    let mut columns = BTreeMap::new();
    for name in &names {
        let column = CodedColumn::of(&table, name)?;
        let moved = (0..table.rows()).map(|row| {
            let Some(text) = column.value(row) else { return Ok(None) };
            let person = persons.value(row).unwrap_or_default();
            let problem = "not a day (YYYY-MM-DD)";
            let refused = || DeidentifyError::Value { row: row + 1, column: (*name).clone(), problem };
            let (day, _) = crate::shift::day_of(text).ok_or_else(refused)?;
            survey.event(person, crate::shift::since_epoch(day), None);
            shifted_text(text, shift.days(person)).map(Some).ok_or_else(refused)
        });
        columns.insert((*name).clone(), moved.collect::<Result<StringArray, DeidentifyError>>()?);
    }
    let step = crate::transform::shift_step(spec, &shift, &survey, names.into_iter().cloned().collect())?;
    Ok((with_columns(&table, &columns, &BTreeMap::new())?, vec![step]))
}

/// A table in which some columns hold other texts, each in its own type where nothing else is said.
fn with_columns(
    table: &Table,
    columns: &BTreeMap<String, StringArray>,
    types: &BTreeMap<String, DataType>,
) -> Result<Table, DeidentifyError> {
    let failed = |source| FrameError::Arrow { table: table.name().to_owned(), source };
    let (mut fields, mut arrays) = (Vec::new(), Vec::<ArrayRef>::new());
    for field in table.schema().fields() {
        match columns.get(field.name()) {
            None => {
                fields.push(Arc::clone(field));
                arrays.push(table.column(field.name())?);
            }
            Some(texts) => {
                let own = field.data_type();
                let kind = match types.get(field.name()) {
                    Some(kind) if !(own.is_floating() && *kind == DataType::Float64) => kind.clone(),
                    _ => own.clone(),
                };
                arrays.push(cast(texts, &kind).map_err(failed)?);
                fields.push(Arc::new(Field::new(field.name(), kind, true)));
            }
        }
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(failed)?;
    Ok(Table::new(table.name(), vec![batch])?)
}

/// All columns that are released.
fn all_columns(table: &Table, policy: &Policy) -> Result<Vec<Arc<CodedColumn>>, DeidentifyError> {
    let released = policy.columns.iter().filter(|(_, column)| column.role.is_released());
    released.map(|(name, _)| Ok(Arc::new(CodedColumn::of(table, name)?))).collect()
}

/// The table with what the transformations made of its columns.
fn worked(table: &Table, work: &Work) -> Result<Table, DeidentifyError> {
    let texts = |column: &Arc<CodedColumn>| {
        let texts: StringArray = (0..table.rows()).map(|row| column.value(row)).collect();
        (column.name.clone(), texts)
    };
    let changed = work.columns.iter().filter(|column| work.changed.contains(&column.name));
    let columns: BTreeMap<String, StringArray> = changed.map(texts).collect();
    if columns.is_empty() { Ok(table.clone()) } else { with_columns(table, &columns, &work.types) }
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

/// Refuses columns that would be kept as they are although they point at persons: days, and values of which hardly two are
/// the same.
fn kept_columns(table: &Table, policy: &Policy) -> Result<(), DeidentifyError> {
    for name in
        [Role::Sensitive, Role::Insensitive].into_iter().flat_map(|role| policy.of_role(role)).map(|(name, _)| name)
    {
        let column = table.column(name)?;
        let refused = |problem| Err(DeidentifyError::Type { column: name.to_owned(), problem });
        // Moved days are no days of anybody; see `date_shift`.
        if policy.columns[name].transform.as_ref().is_some_and(|transform| transform.shift) {
            continue;
        }
        if is_of_days(column.data_type()) {
            return refused(KEPT_DAYS);
        }
        if matches!(column.data_type(), DataType::Int64 | DataType::Utf8) {
            let coded = CodedColumn::of(table, name)?;
            if coded.holds_days() {
                return refused(KEPT_DAYS);
            }
            if table.rows() > 1 && coded.values.len() * 20 > table.rows() * 19 {
                return refused("nearly every row has its own value, as names and numbers of persons do");
            }
        }
    }
    Ok(())
}

/// Kept columns that are no quasi-identifiers.
fn kept_beside(table: &Table, policy: &Policy) -> Result<Vec<Kept>, DeidentifyError> {
    let roles = [Role::Sensitive, Role::Insensitive];
    let columns = roles.into_iter().flat_map(|role| policy.of_role(role).map(move |(name, _)| (role, name)));
    columns.map(|(role, name)| Ok(Kept { role, coded: Arc::new(CodedColumn::of(table, name)?) })).collect()
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
fn recode(table: &Table, policy: &Policy, recoded: &Recoded, kept: &[usize]) -> Result<Table, DeidentifyError> {
    let failed = |source| FrameError::Arrow { table: table.name().to_owned(), source };
    let rows = UInt32Array::from_iter_values(kept.iter().map(|row| u32::try_from(*row).unwrap_or(u32::MAX)));
    let (mut fields, mut arrays) = (Vec::new(), Vec::<ArrayRef>::new());
    for field in table.schema().fields() {
        let name = field.name();
        let Some(column) = policy.columns.get(name) else { continue };
        let at = recoded.columns.iter().position(|column| column.coded.name == *name);
        match (column.role, at) {
            (Role::PersonId | Role::Assignment | Role::DirectIdentifier, _) => {}
            // Exact values in every row keep their type.
            (Role::QuasiIdentifier, Some(at)) if recoded.levels_used(at).1 > 0 => {
                let label = |row: &usize| recoded.level(*row, at).and_then(|level| recoded.label(*row, at, level));
                let values: StringArray = kept.iter().map(label).collect();
                fields.push(Field::new(name, DataType::Utf8, true));
                arrays.push(Arc::new(values));
            }
            // Raw values, so every case is named: a quasi-identifier that was not coded must not come this way.
            (Role::QuasiIdentifier, None) if !column.is_of_class() => {}
            (Role::QuasiIdentifier, _) | (Role::Sensitive | Role::Insensitive, _) => {
                let values = arrow::compute::take(&table.column(name)?, &rows, None).map_err(failed)?;
                fields.push(Field::new(name, field.data_type().clone(), true));
                arrays.push(values);
            }
        }
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(failed)?;
    Ok(Table::new("released", vec![batch])?)
}

#[cfg(test)]
mod tests {
    use acequia_custody::{ConsentEvent, Decision, History, Purpose, evaluate};
    use acequia_types::{DonorId, parse_timestamp};
    use arrow::array::Int64Array;
    use proptest::prelude::*;

    use super::*;

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

    /// What a value becomes at all levels, written down by hand for the policy of these tests.
    fn ages(age: i64) -> Vec<String> {
        let band =
            |width: i64| format!("{}-{}", 20 + (age - 20) / width * width, 20 + (age - 20) / width * width + width - 1);
        let outside = if age < 20 { "<20" } else { ">=60" }.to_owned();
        let bands = if (20..60).contains(&age) { vec![band(5), band(10)] } else { vec![outside] };
        [vec![age.to_string()], bands, vec!["*".to_owned()]].concat()
    }

    fn grades(grade: Option<u8>) -> Vec<Option<String>> {
        let above = grade.map(|grade| if grade == 3 { "high" } else { "low" }.to_owned());
        vec![grade.map(|grade| grade.to_string()), above, Some("*".to_owned())]
    }

    #[test]
    fn every_released_value_stands_for_the_value_it_came_from() {
        let rows: Vec<Row> = (0..400_i64)
            .map(|at| (18 + at * 7 % 47, [None, Some(1), Some(2), Some(3)][(at % 4) as usize], at % 3 == 0, at % 5 < 2))
            .collect();
        let order: Vec<usize> = (0..rows.len()).collect();
        for recoding in [crate::Recoding::Global, crate::Recoding::Local] {
            let done = run(table(&rows, &order), &Policy { recoding, ..policy() }).unwrap();
            let of_assignment: BTreeMap<u64, &Row> =
                rows.iter().enumerate().map(|(at, row)| ((at as u64 * 7_919) % 10_007, row)).collect();
            let text = |name: &str| CodedColumn::of(done.table(), name).unwrap();
            let (age, grade, chemo, event) = (text("age"), text("grade"), text("chemo"), text("event"));
            assert!(done.table().rows() > 300);
            for (at, assignment) in done.assignment().iter().enumerate() {
                let row = of_assignment[assignment];
                assert!(ages(row.0).contains(&age.value(at).unwrap().to_owned()), "row {at}: {:?}", age.value(at));
                assert!(grades(row.1).contains(&grade.value(at).map(str::to_owned)), "row {at}");
                assert!(["*", if row.2 { "yes" } else { "no" }].contains(&chemo.value(at).unwrap()), "row {at}");
                assert_eq!(event.value(at), Some(if row.3 { "1" } else { "0" }), "row {at}");
            }
        }
    }

    #[test]
    fn words_tell_how_much_is_exact_coarser_and_left_out() {
        let rows: Vec<Row> = (0..400_i64)
            .map(|at| (18 + at * 7 % 47, [None, Some(1), Some(2), Some(3)][(at % 4) as usize], at % 3 == 0, at % 5 < 2))
            .collect();
        let order: Vec<usize> = (0..rows.len()).collect();
        let done = run(table(&rows, &order), &Policy { recoding: crate::Recoding::Local, ..policy() }).unwrap();
        let words = |name: &str| {
            let found = done.receipt().quasi_identifiers.iter().find(|column| column.column == name).unwrap();
            (found.words.clone(), found.lowest_level < found.level)
        };
        // Counted again from the text of the released rows.
        let shares = |name: &str, exact: &dyn Fn(&str) -> bool| {
            let column = CodedColumn::of(done.table(), name).unwrap();
            let all = done.table().rows();
            let texts: Vec<&str> = (0..all).map(|row| column.value(row).unwrap_or("")).collect();
            let out = texts.iter().filter(|text| **text == "*").count();
            let exact = texts.iter().filter(|text| exact(text)).count();
            [(exact, "as recorded"), (all - exact - out, "coarser"), (out, "left out")]
                .into_iter()
                .filter(|(rows, _)| *rows > 0)
                .map(|(rows, words)| format!("{} {words}", crate::receipt::whole_per_cent(rows as u64, all as u64)))
                .collect::<Vec<_>>()
                .join("; ")
        };
        let mut mixed = 0;
        for (name, told) in [
            ("age", shares("age", &|text| text.parse::<u8>().is_ok())),
            ("grade", shares("grade", &|text| text.is_empty() || text.parse::<u8>().is_ok())),
            ("chemo", shares("chemo", &|text| text != "*")),
        ] {
            let (words, several) = words(name);
            if several && told.contains("as recorded") {
                assert_eq!(words, format!("row by row: {told}"), "{name}");
                mixed += 1;
            }
        }
        assert!(mixed > 0);
        assert_eq!(crate::receipt::whole_per_cent(1, 1_000), "under 1 %");
        assert_eq!(crate::receipt::whole_per_cent(999, 1_000), "over 99 %");
        assert_eq!(crate::receipt::whole_per_cent(3, 3), "100 %");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

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
        assert!(matches!(verify(loose.table(), &strict, &Beside::default()), Err(DeidentifyError::NotDiverse { .. })));
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
    fn exact_days_are_kept_by_no_release() {
        let rows = [(30, Some(1), true, true); 3];
        let days: [ArrayRef; 2] = [
            Arc::new(StringArray::from(vec![Some("2021-03-04"), None, Some("2021-03-04")])),
            Arc::new(arrow::array::Date32Array::from(vec![18_690, 18_690, 18_690])),
        ];
        for days in days {
            let batch = table(&rows, &[0, 1, 2]).to_batch().unwrap();
            let (mut fields, mut arrays) = (batch.schema().fields().to_vec(), batch.columns().to_vec());
            fields[5] = Arc::new(Field::new("event", days.data_type().clone(), true));
            arrays[5] = days;
            let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
            let error = run(Table::new("cohort", vec![batch]).unwrap(), &policy()).unwrap_err();
            assert_eq!(error.to_string(), format!("column event: {KEPT_DAYS}"));
        }
    }

    #[test]
    fn a_forged_release_does_not_pass_the_verifier() {
        let rows = [(30, Some(1), true, true), (31, Some(1), true, false), (55, Some(3), false, true)];
        let forged = table(&rows, &[0, 1, 2]).select(&["age", "grade", "chemo", "event"]).unwrap();
        assert!(matches!(
            verify(&forged, &policy(), &Beside::default()),
            Err(DeidentifyError::Recount { found: 1, required: 2 })
        ));
        assert!(matches!(
            verify(&table(&rows, &[0, 1, 2]), &policy(), &Beside::default()),
            Err(DeidentifyError::Columns { .. })
        ));
    }
}
