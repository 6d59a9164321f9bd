-- One row per person with breast cancer. Day 0 is the first diagnosis on record.
-- Findings count from 3 months before to 6 months after day 0, therapy up to a year after it and before the first event:
-- what came later is part of the course, not of the start. Women only; the cohorts hold no men.
-- Concept ids: crates/omop/data/concepts.csv. Receptors: positive from 10 fmol or by immune stain.
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
    MAX(CASE WHEN measurement_concept_id = 2000000002 THEN value_as_number END) AS nodes,
    MAX(CASE WHEN measurement_concept_id = 2000000004 AND value_as_number >= 10 THEN 1
             WHEN measurement_concept_id = 2000000004 THEN 0
             WHEN measurement_concept_id = 36203168 AND value_as_concept_id = 9191 THEN 1
             WHEN measurement_concept_id = 36203168 AND value_as_concept_id = 9189 THEN 0 END) AS er,
    MAX(CASE WHEN measurement_concept_id = 2000000005 AND value_as_number >= 10 THEN 1
             WHEN measurement_concept_id = 2000000005 THEN 0
             WHEN measurement_concept_id = 36203170 AND value_as_concept_id = 9191 THEN 1
             WHEN measurement_concept_id = 36203170 AND value_as_concept_id = 9189 THEN 0 END) AS pgr
  FROM measurement JOIN diagnosis USING (person_id)
  WHERE CAST(measurement_date AS INT) - CAST(index_date AS INT) BETWEEN -91 AND 183
  GROUP BY person_id
),
menopause AS (
  SELECT person_id, MAX(value_as_concept_id) AS status
  FROM observation JOIN diagnosis USING (person_id)
  WHERE CAST(observation_date AS INT) - CAST(index_date AS INT) BETWEEN -365 AND 183
    AND observation_concept_id = 2000000003 AND value_as_concept_id IN (2000000006, 2000000007)
  GROUP BY person_id
),
first_event AS (
  SELECT person_id, MIN(event_date) AS event_date
  FROM (
    SELECT person_id, condition_start_date AS event_date FROM condition_occurrence WHERE condition_concept_id = 2000000013
    UNION ALL
    SELECT person_id, observation_date AS event_date FROM observation WHERE observation_concept_id = 2000000014
    UNION ALL
    SELECT person_id, death_date AS event_date FROM death
  ) AS events
  GROUP BY person_id
),
therapy AS (
  SELECT given.person_id, MAX(hormone) AS hormone, MAX(chemo) AS chemo
  FROM (
    SELECT person_id, procedure_date AS start_date,
      CASE WHEN procedure_concept_id = 2000000012 THEN 1 ELSE 0 END AS hormone,
      CASE WHEN procedure_concept_id = 4273629 THEN 1 ELSE 0 END AS chemo
    FROM procedure_occurrence
    UNION ALL
    SELECT person_id, drug_exposure_start_date AS start_date,
      CASE WHEN drug_concept_id IN (19019851, 1348267) THEN 1 ELSE 0 END AS hormone,
      CASE WHEN drug_concept_id IN (35606514, 42629347, 1378388) THEN 1 ELSE 0 END AS chemo
    FROM drug_exposure
  ) AS given
  JOIN diagnosis USING (person_id)
  LEFT JOIN first_event USING (person_id)
  WHERE CAST(start_date AS INT) - CAST(index_date AS INT) BETWEEN -91 AND 365
    AND (event_date IS NULL OR start_date <= event_date)
  GROUP BY given.person_id
),
followed AS (
  SELECT
    d.person_id,
    d.index_date,
    CASE WHEN e.event_date IS NULL THEN 0 ELSE 1 END AS event,
    -- An event of which only the year is known may seem to come before day 0.
    GREATEST(CAST(COALESCE(e.event_date, o.end_date) AS INT) - CAST(d.index_date AS INT), 0) AS days
  FROM diagnosis d
  JOIN observed o ON o.person_id = d.person_id
  LEFT JOIN first_event e ON e.person_id = d.person_id
)
SELECT
  f.person_id,
  CAST(date_part('year', f.index_date) AS BIGINT) - p.year_of_birth AS age,
  CASE m.status WHEN 2000000006 THEN 'premenopausal' WHEN 2000000007 THEN 'postmenopausal' END AS menopausal_status,
  CASE
    WHEN n.size_class = 2000000009 OR n.size_mm <= 20 THEN 'up to 20 mm'
    WHEN n.size_class = 2000000010 OR n.size_mm <= 50 THEN '21-50 mm'
    WHEN n.size_class = 2000000011 OR n.size_mm > 50 THEN 'over 50 mm'
  END AS tumour_size,
  CASE n.grade WHEN 1 THEN '1' WHEN 2 THEN '2' WHEN 3 THEN '3' END AS grade,
  CAST(n.nodes AS BIGINT) AS nodes,
  CASE n.er WHEN 1 THEN 'positive' WHEN 0 THEN 'negative' END AS er_status,
  CASE n.pgr WHEN 1 THEN 'positive' WHEN 0 THEN 'negative' END AS pgr_status,
  CASE WHEN t.hormone = 1 THEN 'yes' ELSE 'no' END AS hormone_therapy,
  CASE WHEN t.chemo = 1 THEN 'yes' ELSE 'no' END AS chemotherapy,
  -- To the quarter of a year: somebody who knows the month of a death should not find the row by it.
  CAST(round(f.days / 91.3125) AS BIGINT) * 3 AS time_months,
  CAST(f.event AS BIGINT) AS event
FROM followed f
JOIN person p ON p.person_id = f.person_id
LEFT JOIN finding n ON n.person_id = f.person_id
LEFT JOIN menopause m ON m.person_id = f.person_id
LEFT JOIN therapy t ON t.person_id = f.person_id
WHERE f.days >= 0 AND p.gender_concept_id = 8532
