//! Rules of sites over the network: what is refused, and what each member has on record of it.

use std::sync::Arc;

use acequia_learn::{
    Data, Guarantee, LearnError, Membership, Outcome, Plan, RefusalEntry, SiteMap, SiteRules, Unattacked,
    ValidationRequest,
};

use super::{Loopback, SITES, kill, plan, third};
use crate::refusals::refused_in;
use crate::{Held, HeldForValidation, Holdings, NetError};

/// Rows of a site after they went through something.
struct Through {
    name: &'static str,
    person: bool,
    edit: fn(usize, Vec<String>) -> Option<Vec<String>>,
}

impl Holdings for Through {
    fn rows(&self, plan: &Plan) -> Result<Held, LearnError> {
        let text = third(self.name);
        let mut lines = text.lines();
        let mut csv = lines.next().unwrap().to_owned();
        for (row, line) in lines.enumerate() {
            if let Some(cells) = (self.edit)(row, line.split(',').map(str::to_owned).collect()) {
                csv += &format!("\n{}", cells.join(","));
            }
        }
        let map = SiteMap { person: self.person.then(|| "pid".to_owned()), ..SiteMap::default() };
        let table = Data::from_csv(self.name, csv.as_bytes(), &plan.needs(), &map)?;
        Ok(Held { tables: vec![table], still_allowed: None, approve: None })
    }

    fn for_validation(&self, _: &ValidationRequest) -> Result<HeldForValidation, LearnError> {
        Err(LearnError::Entropy)
    }
}

fn log(net: &Loopback, site: &str) -> Vec<RefusalEntry> {
    refused_in(&net.home(site).join("site")).unwrap()
}

fn codes(net: &Loopback, site: &str) -> Vec<String> {
    log(net, site).into_iter().map(|entry| entry.refused.code).collect()
}

const COUNT: &[(&str, &str)] = &[("kind = \"cox\"", "kind = \"count\""), ("outcome = {", "# {")];

/// A count of persons with these numbers of patients.
fn count(title: &str, from: u32, to: u32) -> Plan {
    let mut plan = plan(COUNT);
    plan.title = title.to_owned();
    plan.variables.clear();
    plan.cohort = serde_json::from_value(
        serde_json::json!({ "where": [{ "column": "pid", "above": f64::from(from), "at_most": f64::from(to) }] }),
    )
    .unwrap();
    plan
}

/// An indicator of one person in a masked regression: no site answers, the one where she is and the others alike, and each has on record
/// that it was asked.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers_about_one_person() {
    let net = Loopback::new();
    let council = net.council().await;
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site_with(site, ["linear".to_owned()].into(), SiteRules::cautious()).await);
    }
    let aimed = plan(&[
        ("kind = \"cox\"", "kind = \"linear\""),
        ("outcome = {", "outcome = { kind = \"number\", value = { name = \"age\" } } # {"),
        ("column = \"size\"", "column = \"pid\""),
        ("one_of = [\"20-50\"]", "one_of = [\"1393\"]"),
    ]);
    let ended = net.run_all(&aimed).await;
    assert!(matches!(ended, Err(NetError::Learn(LearnError::TooFewSites { left: 0, .. }))), "{ended:?}");
    for site in SITES {
        assert!(net.queue(site).log(&aimed.digest()).unwrap().entries().is_empty(), "nothing left {site}");
        let log = log(&net, site);
        let entry = &log.last().unwrap().refused;
        assert_eq!((&*entry.from, &*entry.what, &*entry.code, entry.round), ("trustee", "ask", "LE023", Some(1)));
        assert_eq!(entry.about, Some(aimed.digest()));
        // Its people were told before what would come of it.
        let offer = net.queue(site).list().unwrap().remove(0).offer;
        assert!(offer.words.contains("size2050 from the column pid (whether it is \"1393\")"), "{}", offer.words);
        assert!(
            offer.words.contains("Nothing would leave") && offer.words.contains("fewer than 10"),
            "{}",
            offer.words
        );
    }
    kill(up).await;
    council.kill().await;
}

/// Two cohorts that make up a third but for a person or two: the third is not answered.
#[tokio::test(flavor = "multi_thread")]
async fn cohorts_that_together_tell_of_few_are_not_answered() {
    let net = Loopback::new();
    let council = net.council().await;
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site_with(site, ["count".to_owned()].into(), SiteRules::cautious()).await);
    }
    for plan in [count("low", 0, 1000), count("high", 1000, 2000), count("both", 0, 2000)] {
        let Outcome::Count(found) = net.run_all(&plan).await.unwrap().outcome else { panic!("a count") };
        assert!(found.rows.is_some());
    }
    let aimed = count("both and three more", 0, 2003);
    assert!(net.run_all(&aimed).await.is_err());
    let aimed = count("the rest but three", 2003, 4000);
    net.run_all(&aimed).await.unwrap();
    // Neither differs little from an earlier one; with two earlier ones it does.
    let aimed = count("all", 0, 4000);
    assert!(net.run_all(&aimed).await.is_err());
    for site in SITES {
        let log = log(&net, site);
        let reason = &log.last().unwrap().refused.reason;
        assert!(reason.contains("together tell of fewer than 10 persons"), "{reason}");
        assert_eq!(codes(&net, site), ["LE008", "LE008"]);
    }
    kill(up).await;
    council.kill().await;
}

/// A cohort of the same persons less one looks new where a column was edited, and does not where the table names persons. Copies of
/// rows make no cohort larger.
#[tokio::test(flavor = "multi_thread")]
async fn an_edited_column_and_copied_rows_are_noticed() {
    let net = Loopback::new();
    let council = net.council().await;
    let standing = || ["count".to_owned()].into();
    let counted = |title: &str| Plan { title: title.to_owned(), variables: Vec::new(), ..plan(COUNT) };
    let start = |edit: fn(usize, Vec<String>) -> Option<Vec<String>>| {
        let net = &net;
        async move {
            let mut up = Vec::new();
            for name in SITES {
                let holdings = Arc::new(Through { name, person: true, edit });
                up.push(net.site_of(name, standing(), SiteRules::cautious(), holdings).await);
            }
            up
        }
    };
    let up = start(|_, cells| Some(cells)).await;
    net.run_all(&counted("all")).await.unwrap();
    kill(up).await;
    // One row less, and another year in all.
    let up = start(|row, mut cells| {
        cells[1] = "1900".to_owned();
        (row > 0).then_some(cells)
    })
    .await;
    assert!(net.run_all(&counted("all but one")).await.is_err());
    kill(up).await;
    for site in SITES {
        assert!(log(&net, site).last().unwrap().refused.reason.contains("differs from an earlier one"));
    }
    // Twelve persons, many times over.
    let up = start(|row, mut cells| {
        cells[0] = (row % 12).to_string();
        cells[1] = row.to_string();
        Some(cells)
    })
    .await;
    let mut many = counted("many");
    many.privacy.minimum_rows = 50;
    assert!(net.run_all(&many).await.is_err());
    kill(up).await;
    for site in SITES {
        let reason = log(&net, site).pop().unwrap().refused.reason;
        assert!(reason.contains("each person counts once"), "{reason}");
    }
    council.kill().await;
}

/// What could not be attacked did not pass: the model says so and is not published, or, where a site's rules want it, is told to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_a_site_cannot_attack_says_so_or_stays() {
    let net = Loopback::new();
    let council = net.council().await;
    for unattacked in [Unattacked::Mark, Unattacked::Refuse] {
        let mut up = vec![net.site("north").await, net.site("south").await];
        let rules = SiteRules { unattacked, ..SiteRules::cautious() };
        // Nobody there had an event: half of its rows give no model.
        let holdings = Through {
            name: "east",
            person: false,
            edit: |_, mut cells| {
                let header = third("east").lines().next().unwrap().to_owned();
                let at = |name: &str| header.split(',').position(|column| column.trim_matches('"') == name).unwrap();
                for column in ["recur", "death"] {
                    cells[at(column)] = "0".to_owned();
                }
                Some(cells)
            },
        };
        up.push(net.site_of("east", ["cox".to_owned()].into(), rules, Arc::new(holdings)).await);
        let mut plan = plan(&[]);
        plan.title = format!("{unattacked:?}");
        let ended = net.run_all(&plan).await;
        assert_eq!(codes(&net, "east").last().map(String::as_str), Some("LE017"));
        match unattacked {
            Unattacked::Mark => {
                let Outcome::Model(model) = ended.unwrap().outcome else { panic!("a model was asked for") };
                let expected = Membership::AtSites {
                    sites: 3,
                    allowed: plan.privacy.membership_auc,
                    not_run: vec!["east".to_owned()],
                };
                assert_eq!(model.membership, Some(expected));
                let published = acequia_learn::TestedModel::new(*model, Vec::new());
                assert!(matches!(published, Err(LearnError::Untested { .. })), "{published:?}");
                let left = net.queue("east").log(&plan.digest()).unwrap();
                let words = &left.entries().last().unwrap().left.words;
                assert!(words.contains("not run"), "{words}");
            }
            Unattacked::Refuse => {
                assert!(matches!(ended, Err(NetError::Unreachable { .. })), "{ended:?}");
                assert!(net.queue("north").result(&plan.digest()).unwrap().is_none(), "nobody has it");
            }
        }
        kill(up).await;
    }
    council.kill().await;
}

/// Runs with noise are counted together, whoever offers them; people read before what is left of the budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_kept_over_the_network() {
    let net = Loopback::new();
    let council = net.council().await;
    let budget = Some(Guarantee { epsilon: 2.0, delta: 1e-6 });
    let mut up = Vec::new();
    for site in SITES {
        let rules = SiteRules { budget, ..SiteRules::cautious() };
        up.push(net.site_with(site, ["averaging".to_owned()].into(), rules).await);
    }
    let noisy = |title: &str| {
        let mut plan = plan(&[
            (
                "task = { kind = \"cox\" }",
                "task = { kind = \"averaging\", strategy = { kind = \"fed-avg\" }, rounds = 3, local_steps = 1, rate = 0.5, noise = { clip = 1.0, multiplier = 4.0, sample = 0.5, rows = 2900, delta = 1e-6 } }",
            ),
            ("outcome = {", "outcome = { kind = \"binary\", value = { name = \"death\" } } # {"),
        ]);
        plan.title = title.to_owned();
        plan
    };
    let mut answered = 0;
    for nth in 0..6 {
        let plan = noisy(&format!("run {nth}"));
        let ended = net.run_all(&plan).await;
        let offer = net.queue("north").find(&plan.digest().short(16)).unwrap().offer;
        if ended.is_err() {
            assert!(offer.words.contains("more than its budget"), "{}", offer.words);
            assert_eq!(codes(&net, "north"), ["LE008"]);
            break;
        }
        assert!(
            offer.words.contains(&format!("With it, {} runs with noise will have given away epsilon", nth + 1)),
            "{}",
            offer.words
        );
        assert!(offer.words.contains(" of 2 at delta 1e-6"), "{}", offer.words);
        answered += 1;
    }
    assert!((1..6).contains(&answered), "some runs were within the budget, and not all: {answered}");
    let (spent, runs) = net.queue("north").spent(1e-6).unwrap();
    assert!(spent > 0.0 && spent <= 2.0 && runs == answered);
    kill(up).await;
    council.kill().await;
}
