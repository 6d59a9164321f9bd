//! What a decision carries: grants, reasons, counts, and the words for them.

use std::collections::{BTreeMap, BTreeSet};

use acequia_custody::*;
use acequia_types::{DonorId, Timestamp, parse_day, parse_timestamp};

fn donor(name: &str) -> DonorId {
    DonorId::parse(name).unwrap()
}

fn at(day: &str) -> Timestamp {
    parse_timestamp(day).unwrap()
}

fn give(purposes: &[Purpose], expires_on: Option<&str>) -> ConsentEvent {
    let expires_on = expires_on.map(|day| parse_day(day).unwrap());
    let purposes = purposes.iter().copied().collect();
    ConsentEvent::new(at("2026-01-01"), ConsentKind::Give { purposes, expires_on, conditions: None })
}

#[test]
fn a_grant_names_its_donors_operations_and_the_earliest_last_day() {
    let research = [Purpose::Research];
    let long = History::new(vec![give(&research, Some("2026-12-31"))]);
    let short = History::new(vec![give(&research, Some("2026-06-30"))]);
    let of = |name: &str, history: &History, operation| {
        Ask {
            purpose: Purpose::Research,
            operation,
            policy: &Policy::SILENT,
            now: at("2026-02-01"),
            terms: Conditions::none(),
        }
        .about(&donor(name), Some(history))
    };
    let decision = of("a", &long, Operation::Republish);
    assert_eq!((decision.reason(), decision.reasons()), (None, Reasons::NONE));
    let a = decision.grant().unwrap();
    assert!(a.covers(&donor("a")) && !a.covers(&donor("b")));
    assert_eq!(a.operation(&donor("a")), Some(Operation::Republish));
    assert_eq!(a.operation(&donor("b")), None);
    assert_eq!((a.purpose(), a.valid_until()), (Purpose::Research, parse_day("2026-12-31")));

    let b = of("b", &short, Operation::Use).grant().unwrap();
    // The same donor for less: of two operations the stricter one is asked again.
    let a_use = of("a", &long, Operation::Use).grant().unwrap();
    let other = evaluate(
        &donor("c"),
        Some(&History::new(vec![give(&[Purpose::ModelTraining], None)])),
        Purpose::ModelTraining,
        at("2026-02-01"),
    );
    let all = Grant::join(Purpose::Research, [a.clone(), b, a_use, other.grant().unwrap()]);
    assert_eq!(all.donors(), BTreeSet::from([donor("a"), donor("b")]), "grants for another purpose are left out");
    assert_eq!(all.operation(&donor("a")), Some(Operation::Use));
    assert_eq!(all.valid_until(), parse_day("2026-06-30"));
    assert_eq!(of("a", &long, Operation::Use).reasons(), Reasons::NONE);
}

#[test]
fn a_refused_decision_carries_every_reason() {
    let withdraw = ConsentEvent::new(at("2026-01-05"), ConsentKind::Withdraw { level: Level::NoContact });
    let restrict = ConsentEvent::new(at("2026-01-05"), ConsentKind::Restrict);
    let history = History::new(vec![give(&[Purpose::Research], None), withdraw, restrict]);
    let ask = |operation| {
        Ask {
            purpose: Purpose::Research,
            operation,
            policy: &Policy::SILENT,
            now: at("2026-02-01"),
            terms: Conditions::none(),
        }
        .about(&donor("a"), Some(&history))
    };
    let contact = ask(Operation::Contact);
    assert_eq!(contact.reasons().iter().collect::<Vec<_>>(), [Reason::Withdrawn, Reason::Restricted]);
    assert_eq!((contact.reason(), contact.grant()), (Some(Reason::Withdrawn), None));
    // Another operation is another question.
    assert_eq!(ask(Operation::Use).reasons().iter().collect::<Vec<_>>(), [Reason::Restricted]);
}

#[test]
fn a_cohort_counts_every_donor_once() {
    let gives = History::new(vec![give(&[Purpose::Research], None)]);
    let expired = History::new(vec![give(&[Purpose::Research], Some("2026-01-02"))]);
    let names = ["a", "b", "c", "d", "e"].map(donor);
    let histories = [Some(&gives), None, Some(&expired), None, Some(&expired)];
    let facts = Facts::default();
    let query = Query::now(Purpose::Research, &facts, at("2026-02-01"));
    let (grant, others) = evaluate_all(names.iter().zip(histories), &query, &Policy::SILENT);
    assert_eq!(grant.donors(), BTreeSet::from([donor("a")]));
    assert_eq!(others, BTreeMap::from([(Reason::Unknown, 2), (Reason::Expired, 2)]));
    let total = grant.donors().len() + others.values().sum::<usize>();
    assert_eq!(total, names.len());
}

#[test]
fn a_hold_counts_from_its_instant_and_until_the_desk_lifts_it() {
    let event = |day: &str, kind, by| ConsentEvent::new(at(day), kind).by(by);
    let history = History::new(vec![
        event("2026-03-01", ConsentKind::LegalHold, Party::Institution),
        event("2026-04-01", ConsentKind::LiftLegalHold, Party::Donor),
        event("2026-05-01", ConsentKind::LiftLegalHold, Party::Desk),
    ]);
    let forever = at("2100-01-01");
    for (day, expected) in [
        ("2026-02-28", false),
        ("2026-03-01", true),
        ("2026-04-02", true),
        ("2026-05-01", false),
        ("2026-06-01", false),
    ] {
        assert_eq!(held(&history, at(day), forever), expected, "{day}");
    }
    let known = |day: &str| {
        let records = history.events().map(|event| Recorded { known_at: at("2026-03-10"), event: event.clone() });
        held(&History::recorded(records.collect()), at("2026-03-05"), at(day))
    };
    assert!(!known("2026-03-09") && known("2026-03-10"), "what is not known yet holds nothing");
}

/// Two representations of one instant are as strict as the stricter one.
#[test]
fn of_two_representations_at_once_the_stricter_counts() {
    let represent = |authority| {
        ConsentEvent::new(at("2025-01-01"), ConsentKind::Represent { authority, expires_on: None }).by(Party::Desk)
    };
    let asked = |authorities: &[Authority]| {
        let mut events: Vec<ConsentEvent> = authorities.iter().copied().map(represent).collect();
        events.push(give(&[Purpose::Research], None));
        evaluate(&donor("a"), Some(&History::new(events)), Purpose::Research, at("2026-02-01")).reason()
    };
    assert_eq!(asked(&[Authority::Proxy]), None);
    assert_eq!(asked(&[Authority::Court]), Some(Reason::NoAuthority));
    assert_eq!(asked(&[Authority::Proxy, Authority::Court]), Some(Reason::NoAuthority));
    assert_eq!(asked(&[Authority::Parental, Authority::Proxy]), Some(Reason::NoAuthority));
}

/// Up to four different conditions of one instant are held side by side; the same one, or none, takes no place.
#[test]
fn conditions_of_one_instant_are_counted_once() {
    let with = |countries: &[&str], last: &str| {
        let countries: Vec<String> = countries.iter().map(|country| format!("\"{country}\"")).collect();
        let conditions = match countries.is_empty() {
            true => String::new(),
            false => format!(",\"conditions\":{{\"duo\":[\"DUO:0000022\"],\"countries\":[{}]}}", countries.join(",")),
        };
        let text = format!(
            "{{\"at\":\"2026-01-01\",\"event\":\"give\",\"purposes\":[\"research\"],\"expires_on\":\"{last}\"{conditions}}}"
        );
        serde_json::from_str::<ConsentEvent>(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    let reason = |events: Vec<ConsentEvent>| {
        let facts = Facts { reach: Reach::Country(Country::parse("DE").unwrap()), ..Facts::default() };
        let query = Query::now(Purpose::Research, &facts, at("2026-02-01"));
        evaluate_query(&donor("a"), Some(&History::new(events)), &query, &Policy::SILENT).reason()
    };
    let days = ["2026-12-01", "2026-12-02", "2026-12-03", "2026-12-04", "2026-12-05", "2026-12-06"];
    // The same conditions six times, with other last days.
    assert_eq!(reason(days.iter().map(|day| with(&["DE"], day)).collect()), None);
    let different = [&["DE"][..], &["DE", "FR"], &["DE", "AT"], &["DE", "BE"]];
    let four: Vec<ConsentEvent> = different.iter().zip(days).map(|(countries, day)| with(countries, day)).collect();
    assert_eq!(reason(four.clone()), None);
    let none = [four.clone(), vec![with(&[], "2026-12-31"), with(&[], "2026-12-30")]].concat();
    assert_eq!(reason(none), None, "one without conditions takes no place");
    let five = [four, vec![with(&["DE", "NL"], "2026-12-05")]].concat();
    assert_eq!(reason(five), Some(Reason::Unknown), "a fifth cannot be held, so nothing is allowed");
}

#[test]
fn words_are_those_of_the_files() {
    let refers: Vec<&str> = Reason::ALL.iter().filter(|reason| reason.refers()).map(|reason| reason.as_str()).collect();
    assert_eq!(refers, ["ask-research-specific", "ask-ethics", "ask-promise", "ask-policy"]);
    assert_eq!(Reason::CoolingOff.to_string(), "cooling-off");
    let mut reasons = Reasons::one(Reason::Refused);
    reasons.add(Reason::Expired);
    assert_eq!(format!("{reasons:?}"), "{Refused, Expired}");
    assert_eq!(Operation::ALL.map(Operation::as_str), ["contact", "collect", "use", "republish"]);
    assert_eq!(Purpose::ModelTraining.to_string(), "model-training");
    let two: Purposes = [Purpose::Research, Purpose::ModelTraining, Purpose::Research].into_iter().collect();
    assert_eq!((two.len(), Purposes::NONE.len(), Purposes::ALL.len()), (2, 0, 3));
    assert_eq!(format!("{two:?}"), "{Research, ModelTraining}");
    for bad in ["de", "dE", "De", "D", "DEU", ""] {
        assert_eq!(Country::parse(bad), None, "{bad}");
    }
    assert_eq!(Country::parse("DE").unwrap().as_str(), "DE");
}

/// What is open is for anybody: for those who earn money with it, and everywhere.
#[test]
fn open_publication_is_for_anybody() {
    let facts = Facts::of_open_publication();
    assert_eq!((facts.reach, facts.commercial, facts.not_for_profit), (Reach::World, Some(true), Some(false)));
    assert_eq!(Facts { reach: Reach::Unknown, commercial: None, not_for_profit: None, ..facts }, Facts::default());
}

#[test]
fn joint_terms_outlast_death_only_where_everybodys_do() {
    let with = |after_death| Conditions { after_death, ..Conditions::default() };
    let joint = |all: &[bool]| {
        let all: Vec<Conditions> = all.iter().copied().map(with).collect();
        joint_terms(&all).after_death
    };
    assert!(joint(&[true, true]) && !joint(&[true, false]) && !joint(&[false, true]) && !joint(&[false]));
}
