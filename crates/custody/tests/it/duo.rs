//! Every term of the Data Use Ontology against requests, compared with a table made by hand.

use acequia_custody::*;

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

#[test]
fn a_retired_grouping_or_unknown_term_makes_the_event_unreadable() {
    for id in ["DUO:0000001", "DUO:0000005", "DUO:0000014", "DUO:0000017", "DUO:9999999", "HMB", ""] {
        let text = format!(
            r#"{{"at":"2026-01-01T00:00:00Z","event":"give","purposes":["research"],"conditions":{{"duo":["{id}"]}}}}"#
        );
        assert!(serde_json::from_str::<ConsentEvent>(&text).is_err(), "{id}");
    }
}
