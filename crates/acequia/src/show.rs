//! What commands print: text for people, or one JSON document.

use std::io::Write;
use std::path::Path;

use acequia_deidentify::{EventRecount, EventRisk, Policy, Receipt, Recount, StatedRisk, TableRisk};
use acequia_node::{
    ConsentLine, DatasetName, DonateReport, Examination, Failure, Happening, Invitation, NoticeText, ReleaseLine,
    RunReport, Serving, Texts, Verification, Withdrawal,
};
use serde_json::{Value, json};

/// Where results go. stdout is data; findings and failures are talk and go to stderr.
pub(crate) struct Out {
    pub(crate) json: bool,
}

/// How many findings are listed before the rest is summed up.
const LISTED: usize = 12;

impl Out {
    pub(crate) fn print(&self, value: impl FnOnce() -> Value, text: impl FnOnce() -> String) {
        if self.json {
            say(&format!("{:#}", value()));
        } else {
            say(text().trim_end());
        }
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            say(&format!("{:#}", json!({ "error": failure, "exit": failure.exit.code() })));
        }
        self.talk(failure);
    }

    /// The failure for people only, where stdout has its document already.
    pub(crate) fn talk(&self, failure: &Failure) {
        eprintln!("error: {failure}\n  {}", failure.hint);
    }

    pub(crate) fn initialised(&self, home: &Path) {
        let home = home.display();
        self.print(
            || json!({ "home": home.to_string() }),
            || format!("A new node is in {home}. Keep {home}/keys safe: without it nothing can be opened again."),
        );
    }

    pub(crate) fn donated(&self, report: &DonateReport) {
        self.findings(report);
        self.print(|| json!(report), || donated_words(report));
    }

    fn findings(&self, report: &DonateReport) {
        if self.json {
            return;
        }
        for finding in report.findings.iter().take(LISTED) {
            let set_aside = if finding.quarantined { "set aside" } else { "note" };
            eprintln!(
                "{set_aside}: file {} ({}): {} ({})\n  {}",
                finding.file, finding.intake, finding.what, finding.code, finding.hint
            );
        }
        if report.findings.len() > LISTED {
            eprintln!("… and {} more; --json lists all", report.findings.len() - LISTED);
        }
    }

    pub(crate) fn consents(&self, lines: &[ConsentLine]) {
        let text = || {
            let mut text = String::new();
            for line in lines {
                let states: Vec<_> =
                    line.purposes.iter().map(|(purpose, state)| format!("{purpose} {state}")).collect();
                text += &format!("{:<40} {}\n", line.donor, states.join(", "));
            }
            text + &format!("{} donors", lines.len())
        };
        self.print(|| json!(lines), text);
    }

    pub(crate) fn consent(&self, line: &ConsentLine) {
        let text = || {
            let mut text = format!("{}\n", line.donor);
            for (purpose, state) in &line.purposes {
                text += &format!("  {purpose:<18} {state}\n");
            }
            if let Some(day) = line.open_publication_counts_from {
                text +=
                    &format!("  open publication counts from {day}; until then it can be taken back without a trace\n");
            }
            let no = |(operation, allowed): (&&str, &bool)| (!allowed).then(|| (*operation).to_owned());
            let closed: Vec<String> = line.operations.iter().filter_map(no).collect();
            if !closed.is_empty() {
                text += &format!("  not allowed for any purpose: {}\n", closed.join(", "));
            }
            text + &format!("  {} events on file", line.events.len())
        };
        self.print(|| json!(line), text);
    }

    pub(crate) fn notice(&self, notice: &NoticeText, to: Option<&Path>) {
        let (id, version, digest) = (&notice.id, notice.version, notice.digest());
        let value = || json!({ "id": id, "version": version, "language": notice.language, "sha256": digest, "text": notice.text });
        let text = || match to {
            Some(to) => format!("notice {id}, version {version}, is in {}", to.display()),
            None => notice.text.clone(),
        };
        self.print(value, text);
    }

    pub(crate) fn withdrawal(&self, report: &Withdrawal, to: Option<&Path>) {
        let text = || {
            let mut text = match report.withdrawn_at {
                Some(at) => format!("{} withdrew on {}\n", report.donor, at.day()),
                None => format!("{} has not withdrawn\n", report.donor),
            };
            let stopped: Vec<&str> = report.stopped.iter().map(|operation| operation.as_str()).collect();
            text +=
                &format!("stopped: {}\n", if stopped.is_empty() { "nothing".to_owned() } else { stopped.join(", ") });
            text += &format!("opened for a use since: {} times\n", report.uses_after);
            for held in &report.versions {
                let known = if held.known { "holds" } else { "may hold" };
                let state = match (&held.taken_down_on, &held.successor, held.waits) {
                    (Some(on), Some(next), _) => format!("taken down on {on}, {next} in its place"),
                    (Some(on), None, _) => format!("taken down on {on}"),
                    (None, _, true) => "served until the next version, without the donor, is there".to_owned(),
                    (None, ..) => "served".to_owned(),
                };
                text += &format!("{} {} {known} a row: {state}; downloaded copies stay\n", held.dataset, held.version);
            }
            for told in &report.told {
                let confirmed = if told.confirmed { ", confirmed" } else { "" };
                text += &format!("told: {} about {} on {}{confirmed}\n", told.recipient, told.dataset, told.on);
            }
            text + &to.map_or(String::new(), |to| format!("written to {}", to.display()))
        };
        self.print(|| json!(report), text);
    }

    pub(crate) fn taken_down(&self, dataset: &DatasetName, version: &str, new: bool) {
        let words = if new { "is taken down" } else { "was taken down before" };
        self.print(
            || json!({ "dataset": dataset, "version": version, "new": new }),
            || format!("{dataset} {version} {words}; its page says why"),
        );
    }

    pub(crate) fn ran(&self, report: &RunReport) {
        self.print(|| json!(report), || ran_words(report));
    }

    pub(crate) fn demo(
        &self,
        donated: &DonateReport,
        report: &RunReport,
        network: Option<&crate::demo_network::Shown>,
        served: Option<(&Serving, &Invitation)>,
    ) {
        self.findings(donated);
        let address = served.map(|(serving, _)| format!("http://{}", serving.bound));
        let donors = served.and_then(|(serving, invitation)| {
            Some(donor_words(serving.donors.as_ref()?, invitation.code.as_ref()?, invitation.holder.name()))
        });
        let serving = || {
            let hub = address.as_ref().map(|address| serving_words(address, &report.dataset)).unwrap_or_default();
            hub + &donors.unwrap_or_default()
        };
        let invited = served.map(|(_, invitation)| crate::account::told(invitation));
        self.print(
            || json!({ "donated": donated, "run": report, "network": network, "address": address, "donor": invited }),
            || {
                let network = network.map(crate::demo_network::Shown::words).unwrap_or_default();
                format!("{}\n{}{network}{}", donated_words(donated), ran_words(report), serving())
            },
        );
    }

    pub(crate) fn releases(&self, lines: &[ReleaseLine]) {
        let text = || match lines {
            [] => "Nothing is published yet.".to_owned(),
            lines => lines
                .iter()
                .map(|line| {
                    let down = match (line.taken_down, &line.successor) {
                        (None, _) => String::new(),
                        (Some(reason), None) => format!(" taken down ({})", reason.as_str()),
                        (Some(reason), Some(next)) => format!(" taken down ({}), {next} in its place", reason.as_str()),
                    };
                    format!("{} {} {} {}{down}\n", line.dataset, line.version, line.published_at, line.manifest)
                })
                .collect(),
        };
        self.print(|| json!(lines), text);
    }

    pub(crate) fn exported(&self, dataset: &DatasetName, files: u64, to: &Path) {
        let to = to.display().to_string();
        self.print(
            || json!({ "dataset": dataset, "files": files, "to": to }),
            || format!("{files} files of {dataset} are in {to}; `acequia verify {to}` rechecks them."),
        );
    }

    pub(crate) fn verified(
        &self,
        dataset: &str,
        version: &str,
        verification: &Verification,
        failure: Option<&Failure>,
    ) {
        let mut document = json!({ "dataset": dataset, "version": version, "checks": verification.checks });
        if let Some(failure) = failure {
            document["error"] = json!(failure);
            document["exit"] = json!(failure.exit.code());
            self.talk(failure);
        }
        let text = || {
            let mut text = String::new();
            for check in &verification.checks {
                text += &format!("{} {}: {}\n", mark(check.held), check.name, check.detail);
            }
            let held = verification.checks.iter().filter(|check| check.held).count();
            text + &format!("{dataset} {version}: {held} of {} checks held", verification.checks.len())
        };
        self.print(|| document, text);
    }

    pub(crate) fn deidentified(&self, receipt: &Receipt, to: &Path) {
        let text = || {
            let mut text = format!(
                "{} of {} rows are in {}.\nsmallest class {}, highest risk {:.3}, average {:.3}\ngranularity {:.3}, loss {:.4}{}\n",
                receipt.rows.released,
                receipt.rows.input,
                to.display(),
                receipt.classes.smallest,
                receipt.risk.prosecutor.risk.maximum,
                receipt.risk.prosecutor.risk.average,
                receipt.loss.granularity,
                receipt.loss.total,
                match (receipt.loss.proven, receipt.loss.score, receipt.loss.least_score) {
                    (true, ..) => ", proven to be the smallest".to_owned(),
                    (false, Some(score), Some(least)) => format!(
                        "\nthe search counted some of {:.1e} combinations: none is below {least:.4}, this one is {score:.4}",
                        receipt.loss.combinations as f64
                    ),
                    _ => String::new(),
                },
            );
            for column in &receipt.quasi_identifiers {
                text += &format!("  {:<20} {}\n", column.column, column.words);
            }
            for step in &receipt.transformations {
                text += &format!("  {:<20} {}; {:.4} is left\n", step.columns.join(", "), step.words, step.kept);
            }
            if let Some(sample) = &receipt.sample {
                text += &format!(
                    "a sample: {} of {} rows were drawn, each with a chance of {}\n",
                    sample.drawn, sample.rows, sample.share
                );
            }
            for model in &receipt.models {
                text += &format!("  {} {}: {:.4}\n", mark(model.held), model.name, model.measured);
            }
            text + &receipt.events.as_ref().map_or(String::new(), crate::events::released)
        };
        self.print(|| json!(receipt), text);
    }

    pub(crate) fn risk(&self, risk: &TableRisk) {
        let text = || {
            let known = risk.quasi_identifiers.join(", ");
            let line = |name: &str, stated: &StatedRisk| {
                format!(
                    "  {name:<12} {:>8.4} {:>8.4} {:>8.4}\n",
                    stated.risk.maximum, stated.risk.average, stated.risk.at_risk_share
                )
            };
            let mut text = format!("{} rows, {} classes; the attacker knows {known}\n", risk.rows, risk.classes.count);
            text += &format!(
                "alone in their class: {:.4} of rows; smallest class {}\n",
                risk.unique_share, risk.classes.smallest
            );
            text += &format!("  {:<12} {:>8} {:>8} {:>8}\n", "attacker", "highest", "average", "at risk");
            text += &line("prosecutor", &risk.risk.prosecutor);
            text += &line("journalist", &risk.risk.journalist);
            if let Some(population) = &risk.risk.population {
                text += &line("  with table", population);
            }
            text += &line("marketer", &risk.risk.marketer);
            text += &format!("at risk: share of rows above {}\n", risk.threshold);
            if let Some(uniques) = &risk.population_uniques {
                let chosen = json!(uniques.chosen);
                text += &format!(
                    "unique in the population, estimated ({}): {:.6}\n",
                    chosen.as_str().unwrap_or_default(),
                    uniques.dankar
                );
                let shown =
                    |share: Option<f64>| share.map_or_else(|| "no answer".to_owned(), |share| format!("{share:.6}"));
                text += &format!(
                    "  Pitman {}, Zayatz {}, shifted negative binomial {}\n",
                    shown(uniques.pitman),
                    shown(uniques.zayatz),
                    shown(uniques.snb)
                );
            }
            if let Some(special) = &risk.special_uniques {
                text += &format!(
                    "special uniques: {} of {} rows are unique by at most {} columns\n",
                    special.unique_rows, special.rows, special.largest_size
                );
                for (name, column) in risk.quasi_identifiers.iter().zip(&special.columns) {
                    text += &format!("  {name:<20} part of {:.4} of the scores\n", column.score_share);
                }
            }
            text
        };
        self.print(|| json!(risk), text);
    }

    pub(crate) fn event_risk(&self, risk: &EventRisk) {
        self.print(|| json!(risk), || crate::events::risk(risk));
    }

    pub(crate) fn recounted(&self, recount: &Recount, events: Option<&EventRecount>, policy: &Policy) {
        let smallest = recount.classes.smallest().unwrap_or(0);
        let (rows, classes, k) = (recount.rows, recount.classes.count(), policy.class_size());
        let models = || {
            let models = policy.models.iter().zip(&recount.models);
            models.filter_map(|(spec, measured)| Some((spec.words(), (*measured)?))).collect::<Vec<_>>()
        };
        let document = || {
            let models: Vec<Value> =
                models().into_iter().map(|(name, measured)| json!({ "name": name, "measured": measured })).collect();
            let mut document = json!({ "held": true, "rows": rows, "classes": classes, "smallest": smallest, "k": k, "models": models });
            if let Some(events) = events {
                document["events"] = json!(events);
            }
            document
        };
        let text = || {
            let mut text = format!("ok   {rows} rows in {classes} classes; the smallest has {smallest}, k is {k}\n");
            for (name, measured) in models() {
                text += &format!("ok   {name}: {measured:.4}\n");
            }
            text + &events.map_or(String::new(), crate::events::recounted)
        };
        self.print(document, text);
    }

    pub(crate) fn doctor(&self, findings: &[Examination]) {
        let line = |finding: &Examination| format!("{} {}: {}\n", mark(finding.held), finding.name, finding.detail);
        self.print(|| json!(findings), || findings.iter().map(line).collect());
    }

    pub(crate) fn happened(&self, happened: &[Happening], texts: &Texts) {
        let line = |one: &Happening| format!("{}  {}", one.at.day(), one.say(texts));
        self.print(|| json!(happened), || happened.iter().map(line).collect::<Vec<_>>().join("\n"));
    }

    pub(crate) fn serving(&self, serving: &Serving) {
        let address = format!("http://{}", serving.bound);
        let donors = match &serving.donors {
            Some(origin) => format!("Pages of those who gave: {origin}/you"),
            None => "Pages of those who gave: none, since passkeys need --public-address https://…".to_owned(),
        };
        let members = serving.catalogue.map(|at| format!("\nCatalogue for members of the network: {at} (UDP)"));
        self.print(
            || json!({ "address": address, "donors": serving.donors, "catalogue": serving.catalogue }),
            || format!("Serving on {address}\n{donors}{}", members.unwrap_or_default()),
        );
    }
}

/// Writes to stdout. A reader that went away, such as `head`, is no error.
pub(crate) fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

fn mark(held: bool) -> &'static str {
    if held { "ok  " } else { "FAIL" }
}

fn donated_words(report: &DonateReport) -> String {
    let mut words = format!(
        "{} files: {} accepted with {} items, {} quarantined, {} known before; {} without consent stay closed.",
        report.files, report.accepted, report.items, report.quarantined, report.known, report.without_consent
    );
    if report.not_collected > 0 {
        words +=
            &format!("\n{} not taken in: their donors withdrew from the collection of data.", report.not_collected);
    }
    if report.cooling_off > 0 {
        words += &format!(
            "\n{} allow open publication, which cannot be called back: it counts when the time to think it over has passed \
             (`acequia consent show`).",
            report.cooling_off
        );
    }
    words
}

/// The address first and alone on its line, for programs that wait for it.
fn serving_words(address: &str, dataset: &str) -> String {
    format!(
        "\nServing on {address}\n  look at it  {address}/datasets/{dataset}\n  load it     HF_ENDPOINT={address} python3 -c 'from datasets import load_dataset; print(load_dataset(\"{dataset}\"))'"
    )
}

fn donor_words(origin: &str, code: &str, donor: &str) -> String {
    format!("\n  be a donor  {origin}/you/join with the code {code} ({donor}, who is simulated)")
}

fn ran_words(report: &RunReport) -> String {
    let mut text = String::from("\n");
    for stage in &report.stages {
        text += &format!("  {:<11} {}\n", stage.stage, stage.how);
    }
    let donations: Vec<_> = report.donations.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    let splits: Vec<_> = report.splits.iter().map(|(split, rows)| format!("{split} {rows}")).collect();
    let risk = &report.risk;
    let highest = risk["risk"]["prosecutor"]["maximum"].as_f64().unwrap_or(f64::NAN);
    text += &format!("  donations   {}\n", donations.join(", "));
    text += &format!("  rows        {}\n", splits.join(", "));
    text += &format!(
        "  privacy     smallest class {}, highest risk {highest:.3}, {} of {} rows removed\n",
        risk["classes"]["smallest"], risk["rows"]["suppressed"], risk["rows"]["input"]
    );
    let verb = if report.published { "published" } else { "was published before; nothing changed" };
    text + &format!("{} {} {verb}.\nmanifest {}", report.dataset, report.version, report.manifest)
}
