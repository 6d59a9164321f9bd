//! Every term of the Data Use Ontology against requests, compared with a table made by hand.

use acequia_custody::*;
use proptest::prelude::*;

/// What each request is: see `request`.
const REQUESTS: [&str; 8] =
    ["nothing known", "open publication", "hospital study", "company", "ancestry", "method", "genetics", "bedside"];

fn request(name: &str) -> Facts {
    let study = Facts {
        commercial: Some(false),
        not_for_profit: Some(true),
        research: Some(true),
        health_research: Some(true),
        ancestry_research: Some(false),
        methods_research: Some(false),
        genetic_study: Some(false),
        clinical_care: Some(false),
        diseases: Some(["MONDO:0007254".to_owned(), "MONDO:0004992".to_owned()].into()),
        user: Some("user-1".to_owned()),
        project: Some("project-1".to_owned()),
        institution: Some("institution-1".to_owned()),
        reach: Reach::Country(Country::parse("DE").unwrap()),
        ethics_approved: Some(true),
        will_publish: Some(true),
        will_collaborate: Some(true),
        will_return: Some(true),
        will_wait: Some(true),
        terms: Conditions::default(),
    };
    match name {
        "nothing known" => Facts::default(),
        "open publication" => Facts::of_open_publication(),
        "hospital study" => study,
        "company" => Facts {
            commercial: Some(true),
            not_for_profit: Some(false),
            user: Some("user-2".to_owned()),
            project: Some("project-2".to_owned()),
            institution: Some("institution-2".to_owned()),
            reach: Reach::Country(Country::parse("US").unwrap()),
            ethics_approved: None,
            will_publish: Some(false),
            will_collaborate: None,
            will_return: Some(false),
            will_wait: None,
            ..study
        },
        "ancestry" => Facts { health_research: Some(false), ancestry_research: Some(true), diseases: None, ..study },
        "method" => {
            Facts { methods_research: Some(true), diseases: Some(["MONDO:0005148".to_owned()].into()), ..study }
        }
        "genetics" => Facts { genetic_study: Some(true), ..study },
        "bedside" => Facts {
            clinical_care: Some(true),
            research: Some(false),
            health_research: Some(false),
            ethics_approved: Some(false),
            ..study
        },
        _ => unreachable!(),
    }
}

/// One row per term, one letter per request in the order of `REQUESTS`: Permit, Deny, Refer.
const TABLE: [(&str, &str); 23] = [
    ("NRES", "PPPPPPPP"),
    ("HMB", "DDPPDPPD"),
    ("DS", "DDPPDDPP"),
    ("POA", "DDDDPDDD"),
    ("RS", "RRRRRRRR"),
    ("NMDS", "DDPPPDPP"),
    ("GSO", "DDDDDDPD"),
    ("NPUNCU", "DDPDPPPP"),
    ("PUB", "RRPDPPPP"),
    ("COL", "RRPRPPPP"),
    ("IRB", "RRPRPPPD"),
    ("GS", "DDPDPPPP"),
    ("MOR", "RRPRPPPP"),
    ("TS", "PPPPPPPP"),
    ("US", "DDPDPPPP"),
    ("PS", "DDPDPPPP"),
    ("IS", "DDPDPPPP"),
    ("RTN", "RRPDPPPP"),
    ("GRU", "DDPPPPPD"),
    ("CC", "DDDDDDDP"),
    ("NPOA", "DDPPDPPP"),
    ("NPU", "DDPDPPPP"),
    ("NCU", "DDPDPPPP"),
];

#[test]
fn every_term_against_every_request_is_as_the_table_says() {
    let now = acequia_types::parse_timestamp("2026-06-01").unwrap();
    let donor = acequia_types::DonorId::parse("d").unwrap();
    for (term, (short, row)) in DuoTerm::ALL.into_iter().zip(TABLE) {
        assert_eq!(term.short(), short);
        for (request_name, wanted) in REQUESTS.iter().zip(row.chars()) {
            let conditions = Conditions {
                duo: [term].into(),
                countries: [Country::parse("DE").unwrap()].into(),
                diseases: ["MONDO:0007254".to_owned()].into(),
                institutions: ["institution-1".to_owned()].into(),
                projects: ["project-1".to_owned()].into(),
                users: ["user-1".to_owned()].into(),
                ..Conditions::default()
            };
            let kind = ConsentKind::Give {
                purposes: Purposes::ALL,
                expires_on: acequia_types::parse_day("2030-12-31"),
                conditions: Some(Box::new(conditions)),
            };
            let history = History::new(vec![ConsentEvent::new(now, kind)]);
            let facts = request(request_name);
            let query = Query::now(Purpose::Research, &facts, now);
            let found = match evaluate_query(&donor, Some(&history), &query, &Policy::SILENT) {
                Decision::Permit(_) => 'P',
                Decision::Refer(_) => 'R',
                Decision::Deny(_) => 'D',
            };
            assert_eq!(found, wanted, "{short} for {request_name}");
        }
    }
}

/// The conditions of a donor or a version, over few names.
fn conditions() -> impl Strategy<Value = Conditions> {
    let some = |names: &'static [&'static str]| {
        prop::collection::btree_set(prop::sample::select(names).prop_map(str::to_owned), 0..3)
    };
    let countries = prop::collection::btree_set(
        prop::sample::select(vec!["DE", "FR", "US"]).prop_map(|code| Country::parse(code).unwrap()),
        0..3,
    );
    let duo = prop::collection::btree_set(prop::sample::select(DuoTerm::ALL.to_vec()), 0..5);
    (duo, countries, some(&["MONDO:1", "MONDO:2"]), some(&["i1", "i2"]), some(&["p1", "p2"]), some(&["u1", "u2"]))
        .prop_map(|(duo, countries, diseases, institutions, projects, users)| Conditions {
            duo,
            countries,
            diseases,
            institutions,
            projects,
            users,
            ..Conditions::default()
        })
}

/// Facts that go together: who studies a disease does health research, and whoever does that, research.
fn facts() -> impl Strategy<Value = Facts> {
    let known = || prop::option::of(any::<bool>());
    let name = |names: &'static [&'static str]| prop::option::of(prop::sample::select(names).prop_map(str::to_owned));
    let who =
        (name(&["u1", "u2"]), name(&["p1", "p2"]), name(&["i1", "i2"]), prop::sample::select(vec!["DE", "FR", "US"]));
    let why = (known(), known(), known(), known(), known(), known(), known(), known());
    let promises = (known(), known(), known(), known(), known());
    let diseases = prop::option::of(prop::collection::btree_set(
        prop::sample::select(vec!["MONDO:1", "MONDO:2"]).prop_map(str::to_owned),
        1..3,
    ));
    (who, why, promises, diseases).prop_map(|((user, project, institution, country), why, promises, diseases)| {
        let mut facts = Facts {
            commercial: why.0,
            not_for_profit: why.1,
            research: why.2,
            health_research: why.3,
            ancestry_research: why.4,
            methods_research: why.5,
            genetic_study: why.6,
            clinical_care: why.7,
            diseases,
            user,
            project,
            institution,
            reach: Reach::Country(Country::parse(country).unwrap()),
            ethics_approved: promises.0,
            will_publish: promises.1,
            will_collaborate: promises.2,
            will_return: promises.3,
            will_wait: promises.4,
            terms: Conditions::default(),
        };
        if facts.diseases.is_some() {
            facts.health_research = Some(true);
        }
        if [facts.health_research, facts.ancestry_research, facts.genetic_study].contains(&Some(true)) {
            facts.research = Some(true);
        }
        facts
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever meets the terms of a version meets every condition that the terms are said to keep.
    #[test]
    fn terms_keep_a_condition_only_if_whoever_meets_them_meets_it(
        ours in conditions(), theirs in conditions(), facts in facts(),
    ) {
        if ours.judge(&facts, DataClass::Structured, None).is_empty() {
            for term in theirs.duo.iter().filter(|term| ours.keep(**term, &theirs)) {
                let one = Conditions { duo: [*term].into(), ..theirs.clone() };
                let reasons = one.judge(&facts, DataClass::Structured, None);
                prop_assert!(reasons.is_empty(), "{term:?} under {:?}: {reasons:?}", ours.duo);
            }
        }
    }

    /// A donor's conditions are met by the joint terms of donors among whom she is, so that what is published under them may hold
    /// her record; only words and days are judged elsewhere.
    #[test]
    fn joint_terms_keep_the_conditions_of_everybody(all in prop::collection::vec(conditions(), 1..4)) {
        let joint = joint_terms(&all);
        for theirs in &all {
            for term in &theirs.duo {
                let judged_elsewhere = matches!(term, DuoTerm::ResearchSpecific | DuoTerm::TimeLimit);
                // What was narrowed to nobody keeps nothing.
                let empty = match term {
                    DuoTerm::Disease => joint.diseases.is_empty(),
                    DuoTerm::Geography => joint.countries.is_empty(),
                    DuoTerm::Institution => joint.institutions.is_empty(),
                    DuoTerm::Project => joint.projects.is_empty(),
                    DuoTerm::User => joint.users.is_empty(),
                    _ => false,
                };
                prop_assert_eq!(joint.keep(*term, theirs), !judged_elsewhere && !empty, "{:?}", term);
            }
        }
    }
}

#[test]
fn a_consent_with_a_condition_counts_where_the_terms_keep_it() {
    let now = acequia_types::parse_timestamp("2026-06-01").unwrap();
    let donor = acequia_types::DonorId::parse("d").unwrap();
    let terms = |duo: &[DuoTerm]| Conditions { duo: duo.iter().copied().collect(), ..Conditions::default() };
    let given = terms(&[DuoTerm::NotCommercial, DuoTerm::HealthResearch]);
    let kind = ConsentKind::Give { purposes: Purposes::ALL, expires_on: None, conditions: Some(Box::new(given)) };
    let history = History::new(vec![ConsentEvent::new(acequia_types::parse_timestamp("2026-01-01").unwrap(), kind)]);
    let ask = |terms: &Conditions| {
        let purpose = Purpose::OpenPublication;
        Ask { purpose, operation: Operation::Use, policy: &Policy::SILENT, now, terms }.about(&donor, Some(&history))
    };
    assert_eq!(ask(Conditions::none()).reason(), Some(Reason::Condition), "anybody may have what is open");
    assert_eq!(ask(&terms(&[DuoTerm::NotCommercial])).reason(), Some(Reason::Condition), "one of two");
    let both = terms(&[DuoTerm::NotForProfitNotCommercial, DuoTerm::HealthResearch]);
    let grant = ask(&both).grant().expect("stricter terms keep both");
    assert_eq!(grant.terms(), &both);
    // What was granted under some terms leaves under no others.
    let donors = [donor.clone()].into();
    let approved = approve_granted(
        acequia_types::Digest::of(b"x"),
        &grant,
        &donors,
        |_| Some(history.clone()),
        &Policy::SILENT,
        now,
    );
    assert_eq!(approved.unwrap().terms(), &both);
    let open =
        approve(acequia_types::Digest::of(b"x"), Purpose::OpenPublication, &donors, |_| Some(history.clone()), now);
    assert_eq!(open.unwrap_err().denied.into_keys().next(), Some(Reason::Condition));
}

#[test]
fn tiers_are_those_of_the_strictest_term() {
    let tier = |duo: &[DuoTerm]| Conditions { duo: duo.iter().copied().collect(), ..Conditions::default() }.tier();
    assert_eq!(tier(&[]), Tier::Open);
    assert_eq!(tier(&[DuoTerm::NoRestriction, DuoTerm::GeneralResearch]), Tier::Open);
    assert_eq!(tier(&[DuoTerm::GeneralResearch, DuoTerm::NotCommercial]), Tier::Registered);
    assert_eq!(tier(&[DuoTerm::NotCommercial, DuoTerm::Ethics]), Tier::Controlled);
}

#[test]
fn a_retired_grouping_or_unknown_term_makes_the_event_unreadable() {
    for id in ["DUO:0000001", "DUO:0000005", "DUO:0000014", "DUO:0000017", "DUO:9999999", "HMB", ""] {
        let text = format!(
            r#"{{"at":"2026-01-01T00:00:00Z","event":"give","purposes":["research"],"conditions":{{"duo":["{id}"]}}}}"#
        );
        assert!(serde_json::from_str::<ConsentEvent>(&text).is_err(), "{id}");
    }
}
