//! The result layout of OHDSI's DataQualityDashboard, for its viewer and other tools that read it.
//!
//! Source: the results of DataQualityDashboard 2.8.4 (`CheckResults`, `Metadata`, `Overview`; names in camel case). There is
//! no SQL behind these results, so `queryText` and `sqlFile` are empty.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use crate::definition::{Category, Check, Level};
use crate::findings::Findings;
use crate::judge::{Scorecard, Status};

/// The results as the dashboard writes them. `source` is the first row of `cdm_source` by field. Counts that the scorecard
/// hides are null, and `notesValue` says so.
pub fn dqd_results(
    findings: &Findings,
    checks: &[Check],
    scorecard: &Scorecard,
    source: &BTreeMap<String, String>,
) -> Value {
    let checks: HashMap<&str, &Check> = checks.iter().map(|check| (check.id.as_str(), check)).collect();
    let seconds: HashMap<&str, f64> =
        findings.findings.iter().map(|finding| (finding.id.as_str(), finding.seconds)).collect();
    let mut results = Vec::with_capacity(scorecard.checks.len());
    for result in &scorecard.checks {
        let Some(check) = checks.get(result.id.as_str()) else { continue };
        let applies = matches!(result.status, Status::Pass | Status::Fail);
        let (rows, failing) = if applies { (result.rows, result.failing) } else { (None, None) };
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
        let share = rows.zip(failing).map(|(rows, failing)| if rows == 0 { 0.0 } else { failing as f64 / rows as f64 });
        let hidden = applies && failing.is_none();
        let mut entry = Map::new();
        let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
        put("numViolatedRows", json!(failing));
        put("pctViolatedRows", json!(share));
        put("numDenominatorRows", json!(rows));
        put("executionTime", json!(format!("{:.6} secs", seconds.get(result.id.as_str()).copied().unwrap_or(0.0))));
        put("queryText", json!(""));
        put("checkName", json!(check.name));
        put("checkLevel", json!(check.level));
        put("checkDescription", json!(check.description));
        put("cdmTableName", json!(check.table.name().to_uppercase()));
        if let Some(field) = &check.field {
            put("cdmFieldName", json!(field.to_uppercase()));
        }
        if check.level == Level::Concept {
            put("conceptId", json!(check.concept_ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")));
        }
        put("sqlFile", json!(""));
        put("category", json!(check.category.name()));
        put("subcategory", json!(check.subcategory));
        put("context", json!(check.context.name()));
        if let (Status::Error, Some(reason)) = (result.status, &result.reason) {
            put("error", json!(reason));
        }
        put("checkId", json!(check.id));
        put("failed", json!(u8::from(result.status == Status::Fail)));
        put("passed", json!(u8::from(result.status == Status::Pass)));
        put("isError", json!(u8::from(result.status == Status::Error)));
        put("notApplicable", json!(u8::from(result.status == Status::NotApplicable)));
        if let (Status::NotApplicable, Some(reason)) = (result.status, &result.reason) {
            put("notApplicableReason", json!(reason));
        }
        put("thresholdValue", json!(result.threshold));
        if hidden {
            put("notesValue", json!(format!("counts below {} are not shown", scorecard.minimum)));
        }
        results.push(Value::Object(entry));
    }
    let mut metadata = Map::new();
    for (name, value) in source {
        metadata.insert(camel(name), json!(value));
    }
    metadata.insert("dqdVersion".to_owned(), json!("2.8.4"));
    metadata.insert("madeBy".to_owned(), json!(concat!("acequia ", env!("CARGO_PKG_VERSION"))));
    let total: f64 = findings.findings.iter().map(|finding| finding.seconds).sum::<f64>() + findings.shared_seconds;
    json!({
        "startTimestamp": format!("{} 00:00:00", findings.as_of),
        "endTimestamp": format!("{} 00:00:00", findings.as_of),
        "executionTime": format!("{total:.3} secs"),
        "executionTimeSeconds": total,
        "CheckResults": results,
        "Metadata": [metadata],
        "Overview": overview(scorecard),
    })
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        text + &initial.to_uppercase() + rest
    })
}

/// The dashboard counts what does not apply as passed in the totals, but not in those of the categories.
fn overview(scorecard: &Scorecard) -> Value {
    let count = |category: Option<Category>, status: Option<Status>| {
        scorecard
            .checks
            .iter()
            .filter(|check| category.is_none_or(|category| check.category == category))
            .filter(|check| status.is_none_or(|status| check.status == status))
            .count()
    };
    let (total, failed, errors) =
        (count(None, None), count(None, Some(Status::Fail)), count(None, Some(Status::Error)));
    #[expect(clippy::cast_precision_loss, reason = "thousands of checks")]
    let per_cent = |part: usize| if total == 0 { 0.0 } else { (part as f64 / total as f64 * 1e4).round() / 100.0 };
    let mut overview = json!({
        "countTotal": total,
        "countPassed": total - failed,
        "countErrorFailed": errors,
        "countThresholdFailed": failed,
        "countOverallFailed": failed,
        "percentPassed": per_cent(total - failed),
        "percentFailed": per_cent(failed),
    });
    for category in [Category::Plausibility, Category::Conformance, Category::Completeness] {
        let name = category.name();
        overview[format!("countTotal{name}")] = json!(count(Some(category), None));
        overview[format!("countFailed{name}")] = json!(count(Some(category), Some(Status::Fail)));
        overview[format!("countPassed{name}")] = json!(count(Some(category), Some(Status::Pass)));
    }
    overview
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_camel_case() {
        assert_eq!(camel("cdm_source_name"), "cdmSourceName");
    }
}
