//! The tables that follow from others, as SQL: the same rules as the sorted pass of a load, for an engine that runs on
//! many machines (OMOP CDM 5.4; persistence window of 30 days).

use acequia_frame::SqlStep;

/// `observation_period` without keys: first to last day with a record, from the event tables.
///
/// Inputs: `visit_occurrence`, `condition_occurrence`, `drug_exposure`, `procedure_occurrence`, `measurement`,
/// `observation`.
pub fn observation_period() -> SqlStep {
    let spans = [
        ("visit_occurrence", "visit_start_date", Some("visit_end_date")),
        ("condition_occurrence", "condition_start_date", Some("condition_end_date")),
        ("drug_exposure", "drug_exposure_start_date", Some("drug_exposure_end_date")),
        ("procedure_occurrence", "procedure_date", None),
        ("measurement", "measurement_date", None),
        ("observation", "observation_date", None),
    ];
    let of_table = |(table, start, end): &(&str, &str, Option<&str>)| {
        let end = end.map_or_else(|| (*start).to_owned(), |end| format!("COALESCE({end}, {start})"));
        format!("SELECT person_id, {start} AS first_day, {end} AS last_day FROM {table}")
    };
    let all = spans.iter().map(of_table).collect::<Vec<_>>().join(" UNION ALL ");
    SqlStep {
        name: "observation_period".to_owned(),
        sql: format!(
            "SELECT person_id, MIN(first_day) AS observation_period_start_date, \
             MAX(GREATEST(first_day, last_day)) AS observation_period_end_date FROM ({all}) AS spans GROUP BY person_id"
        ),
        expects: None,
    }
}

/// `condition_era` without keys, from `condition_occurrence`: spells of one condition with at most 30 days between them.
pub fn condition_era() -> SqlStep {
    SqlStep {
        name: "condition_era".to_owned(),
        sql: "WITH spell AS (SELECT person_id, condition_concept_id AS concept_id, condition_start_date AS first_day, \
              GREATEST(condition_start_date, COALESCE(condition_end_date, condition_start_date)) AS last_day \
              FROM condition_occurrence WHERE condition_concept_id <> 0), \
              reached AS (SELECT spell.*, MAX(last_day) OVER (PARTITION BY person_id, concept_id \
              ORDER BY first_day, last_day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM spell), \
              numbered AS (SELECT reached.*, SUM(CASE WHEN before IS NULL OR first_day > before + INTERVAL '30 days' \
              THEN 1 ELSE 0 END) OVER (PARTITION BY person_id, concept_id ORDER BY first_day, last_day \
              ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS era FROM reached) \
              SELECT person_id, concept_id AS condition_concept_id, MIN(first_day) AS condition_era_start_date, \
              MAX(last_day) AS condition_era_end_date, COUNT(*) AS condition_occurrence_count \
              FROM numbered GROUP BY person_id, concept_id, era"
            .to_owned(),
        expects: None,
    }
}
