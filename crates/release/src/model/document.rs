//! `card.json`: what a model is, for programs. Names of schema.org where there are some, as in `croissant.json`.

use acequia_learn::{Form, Model, ModelVariable, Record, Score, Step};
use serde_json::{Map, Value, json};

use super::plan::{ModelPlan, completeness};
use crate::croissant::{agent, use_term};

/// Layout of the document.
const SCHEMA: &str = "acequia-model-card/1";

/// What stands over every form of a model.
pub(super) const STATEMENT: &str =
    "Not a medical device. This model is given for research; nobody has approved it for use in care.";

/// The document. Everything in it follows from model, records (with their paths, without ending) and plan.
pub(super) fn document(model: &Model, records: &[(String, &Record)], plan: &ModelPlan) -> Value {
    let completeness = completeness(plan, records.iter().map(|(_, record)| *record));
    let conditions: Vec<Value> = plan
        .conditions
        .iter()
        .map(|condition| json!({"@type": "DefinedTerm", "@id": condition.iri, "name": condition.label}))
        .collect();
    json!({
        "schema": SCHEMA,
        "statement": STATEMENT,
        "name": plan.title,
        "description": plan.description,
        "version": plan.version,
        "license": crate::croissant::license_address(&plan.license, &plan.home),
        "creator": plan.creators.iter().map(agent).collect::<Vec<Value>>(),
        "publisher": agent(&plan.publisher),
        "keywords": plan.keywords,
        "inLanguage": plan.languages,
        "citation": plan.citations,
        "about": conditions,
        "usageInfo": [use_term(&plan.use_term)],
        "model": {
            "digest": model.digest(),
            "kind": model.kind(),
            "task": task(model),
            "plan": model.plan,
            "program": model.program,
            "sites": model.sites,
            "rows": model.fit.rows,
            "events": model.differential_privacy.is_none().then_some(model.fit.events),
            "horizons_days": model.horizons_days(),
            "predictors": predictors(model, plan),
            "membership": model.membership,
            "differential_privacy": model.differential_privacy,
            "differential_privacy_words": model.differential_privacy.map(|guarantee| guarantee.words()),
            "membership_words": model.membership.as_ref().map(acequia_learn::Membership::words),
        },
        "formats": formats(model),
        "evidence": records.iter().map(|(path, record)| evidence(path, record)).collect::<Vec<Value>>(),
        "completeness": completeness,
        "stated": plan,
    })
}

/// The task in the words of the Hub.
pub(super) fn task(model: &Model) -> &'static str {
    match (&model.form, model.is_survival()) {
        (Form::Network { .. }, _) if model.variables.iter().any(|one| one.variable.image.is_some()) => {
            "image-classification"
        }
        (Form::Linear { .. }, _) | (_, true) => "tabular-regression",
        _ => "tabular-classification",
    }
}

fn predictors(model: &Model, plan: &ModelPlan) -> Vec<Value> {
    let told = |column: &str| plan.predictors.get(column).map(|told| told.title.as_str()).unwrap_or_default();
    model
        .variables
        .iter()
        .enumerate()
        .map(|(at, one)| {
            let column = one.variable.source();
            let mut entry = json!({
                "name": one.variable.name, "column": column, "title": told(column),
                "steps": one.variable.steps.iter().filter_map(step).collect::<Vec<String>>(),
            });
            if model.variables.iter().filter(|other| is_number_of(other, column)).count() > 1
                && is_number_of(one, column)
            {
                // Terms of one curve: none of their numbers says anything without the others.
                entry["joint"] = json!(true);
            }
            if let (Some(coefficient), Some(error)) = (model.coefficients().get(at), model.standard_errors().get(at)) {
                entry["coefficient"] = json!(coefficient);
                entry["standard_error"] = json!(error);
            }
            entry
        })
        .collect()
}

fn is_number_of(one: &ModelVariable, column: &str) -> bool {
    one.variable.source() == column && !one.variable.steps.first().is_some_and(Step::takes_text)
}

/// A step in words. Levels change nothing; they stand with the column.
fn step(step: &Step) -> Option<String> {
    Some(match step {
        Step::Levels(_) => return None,
        Step::OneOf(texts) => format!("is {}", texts.join(" or ")),
        Step::Codes(codes) => {
            let codes: Vec<String> = codes.iter().map(|(text, code)| format!("{text} as {code}")).collect();
            codes.join(", ")
        }
        Step::Band { labels, .. } => format!("in bands {}", labels.join(", ")),
        Step::Above(bound) => format!("is above {bound}"),
        Step::Subtract(by) => format!("less {by}"),
        Step::Divide(by) => format!("divided by {by}"),
        Step::Cap(bound) => format!("at most {bound}"),
        Step::Floor(bound) => format!("at least {bound}"),
        Step::Power(power) => format!("to the power of {power}"),
        Step::PowerLog(power) => format!("to the power of {power}, times its logarithm"),
        Step::Log => "natural logarithm".to_owned(),
        Step::SplineTerm { knots, term } => {
            let knots: Vec<String> = knots.iter().map(f64::to_string).collect();
            format!("term {term} of a restricted cubic spline with knots {}", knots.join(", "))
        }
    })
}

/// The texts that a column may hold, where all variables of it say so: every other is no number to the model.
pub(super) fn levels<'m>(model: &'m Model, column: &str) -> Option<&'m [String]> {
    let mut levels = None;
    for one in model.variables.iter().filter(|one| one.variable.source() == column) {
        match one.variable.steps.first() {
            Some(Step::Levels(texts)) => levels = Some(texts.as_slice()),
            _ => return None,
        }
    }
    levels
}

/// What the files for other programs hold.
fn formats(model: &Model) -> Value {
    let asks_for_text = |column: &str| {
        let own = model.variables.iter().filter(|one| one.variable.source() == column);
        own.into_iter().any(|one| one.variable.steps.first().is_some_and(Step::takes_text))
    };
    let mut inputs: Vec<Value> = Vec::new();
    for one in &model.variables {
        let column = one.variable.source();
        if !inputs.iter().any(|input| input["name"] == column) {
            let kind = if asks_for_text(column) { "string" } else { "double" };
            let mut input = json!({ "name": column, "type": kind, "shape": ["rows", one.variable.numbers()] });
            if let Some(levels) = levels(model, column) {
                input["levels"] = json!(levels);
            }
            inputs.push(input);
        }
    }
    let horizons = model.horizons_days().len();
    let predicted = match model.form {
        Form::Linear { .. } => Some(("prediction", 1)),
        Form::Logistic { .. } | Form::Boosting { .. } | Form::Network { score: Score::LogOdds, .. } => {
            Some(("probability", 1))
        }
        Form::Cox { .. } | Form::DiscreteTime { .. } | Form::Network { .. } => {
            (horizons > 0).then_some(("risk", horizons))
        }
    };
    let outputs: Vec<Value> = [Some(("linear_predictor", 1)), predicted]
        .into_iter()
        .flatten()
        .map(|(name, width)| json!({ "name": name, "type": "double", "shape": ["rows", width] }))
        .collect();
    let tensors: Map<String, Value> = model.tensors().into_iter().map(|(name, shape)| (name, json!(shape))).collect();
    let numbers: usize = model.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    json!({
        "onnx": { "file": "model.onnx", "opset": 17, "inputs": inputs, "outputs": outputs },
        "safetensors": { "file": "model.safetensors", "dtype": "F64", "parameters": numbers, "tensors": tensors },
    })
}

fn evidence(path: &str, record: &Record) -> Value {
    let sites: Vec<&str> = record.sites.iter().map(|site| site.site.as_str()).collect();
    json!({
        "level": record.evidence,
        "words": record.evidence_words,
        "sites": sites,
        "measured_on": record.measured_on,
        "digest": record.digest(),
        "signed": record.signatures.len(),
        "record": format!("{path}.json"),
        "page": format!("{path}.html"),
    })
}
