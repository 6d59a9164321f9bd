-- One row per woman with breast cancer, in the columns of survival.plan.toml: what a model of this node's donors learns from.
-- Day 0 is the first diagnosis on record; findings count from 3 months before to 6 months after it.
-- Women of whom a finding is not on record are left out: the plan refuses rows that lack a value.
-- Concept ids: crates/omop/data/concepts.csv.
WITH diagnosis AS (
  SELECT person_id, MIN(condition_start_date) AS index_date
  FROM condition_occurrence
  WHERE condition_concept_id = 4112853
  GROUP BY person_id
),
observed AS (
  SELECT person_id, MAX(observation_period_end_date) AS end_date
  FROM observation_period
  GROUP BY person_id
),
finding AS (
  SELECT
    person_id,
    MAX(CASE WHEN measurement_concept_id = 3046581 AND unit_concept_id = 8588 THEN value_as_number END) AS size_mm,
    MAX(CASE WHEN measurement_concept_id = 2000000008 THEN value_as_concept_id END) AS size_class,
    MAX(CASE WHEN measurement_concept_id = 2000000001 THEN value_as_number END) AS grade,
    MAX(CASE WHEN measurement_concept_id = 2000000002 THEN value_as_number END) AS nodes
  FROM measurement JOIN diagnosis USING (person_id)
  WHERE CAST(measurement_date AS INT) - CAST(index_date AS INT) BETWEEN -91 AND 183
  GROUP BY person_id
),
recurrence AS (
  SELECT person_id, MIN(event_date) AS event_date
  FROM (
    SELECT person_id, condition_start_date AS event_date FROM condition_occurrence WHERE condition_concept_id = 2000000013
    UNION ALL
    SELECT person_id, observation_date AS event_date FROM observation WHERE observation_concept_id = 2000000014
  ) AS events
  GROUP BY person_id
),
died AS (
  SELECT person_id, MIN(death_date) AS death_date FROM death GROUP BY person_id
)
SELECT
  d.person_id,
  CASE
    WHEN n.size_class = 2000000009 OR n.size_mm <= 20 THEN '<=20'
    WHEN n.size_class = 2000000010 OR n.size_mm <= 50 THEN '20-50'
    WHEN n.size_class = 2000000011 OR n.size_mm > 50 THEN '>50'
  END AS size,
  CASE n.grade WHEN 1 THEN '1' WHEN 2 THEN '2' WHEN 3 THEN '3' END AS grade,
  n.nodes,
  CAST(COALESCE(r.event_date, o.end_date) AS INT) - CAST(d.index_date AS INT) AS rtime,
  CASE WHEN r.event_date IS NULL THEN 0 ELSE 1 END AS recur,
  CAST(COALESCE(e.death_date, o.end_date) AS INT) - CAST(d.index_date AS INT) AS dtime,
  CASE WHEN e.death_date IS NULL THEN 0 ELSE 1 END AS death
FROM diagnosis d
JOIN observed o ON o.person_id = d.person_id
JOIN person p ON p.person_id = d.person_id
LEFT JOIN finding n ON n.person_id = d.person_id
LEFT JOIN recurrence r ON r.person_id = d.person_id
LEFT JOIN died e ON e.person_id = d.person_id
WHERE p.gender_concept_id = 8532
  AND n.nodes IS NOT NULL AND n.grade IS NOT NULL AND COALESCE(n.size_class, n.size_mm) IS NOT NULL
  AND CAST(COALESCE(r.event_date, o.end_date) AS INT) - CAST(d.index_date AS INT) > 0
