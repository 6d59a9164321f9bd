//! One decision after another, as small histories.

use acequia_custody::*;
use acequia_types::{DonorId, parse_day, parse_timestamp};

/// Reads a history with one event per line, `DAY what`, as files state it, and asks about research on a day.
#[track_caller]
fn check(history: &str, on: &str, expected: &str) {
    check_with(history, on, expected, |_| {}, &Policy::SILENT);
}

#[track_caller]
fn check_with(history: &str, on: &str, expected: &str, change: impl Fn(&mut Query<'_>), policy: &Policy) {
    let events = history.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
        let (at, rest) = line.split_once(' ').unwrap();
        let rest = rest.strip_prefix('{').unwrap();
        serde_json::from_str(&format!("{{\"at\":\"{at}\",{rest}")).unwrap()
    });
    let history = History::new(events.collect());
    let facts = Facts::default();
    let mut query = Query::now(Purpose::Research, &facts, parse_timestamp(on).unwrap());
    change(&mut query);
    let found = match decide(Some(&history), &query, policy) {
        Verdict::Permit { until: None } => "permit".to_owned(),
        Verdict::Permit { until: Some(day) } => format!("permit until {day}"),
        Verdict::Refer(reasons) => {
            format!("refer {}", reasons.iter().map(Reason::as_str).collect::<Vec<_>>().join(" "))
        }
        Verdict::Deny(reasons) => {
            format!("deny {}", reasons.iter().map(Reason::as_str).collect::<Vec<_>>().join(" "))
        }
    };
    assert_eq!(found, expected);
}

const GIVE: &str = r#"2026-01-01 {"event":"give","purposes":["research"]}"#;

#[test]
fn nothing_on_file_denies() {
    check("", "2026-01-01", "deny unknown");
    let donor = DonorId::parse("d").unwrap();
    let decision = evaluate(&donor, None, Purpose::Research, parse_timestamp("2026-01-01").unwrap());
    assert_eq!(decision.reason(), Some(Reason::Unknown));
}

#[test]
fn consent_permits_from_its_day_to_its_last_day() {
    let give = r#"2026-01-01 {"event":"give","purposes":["research"],"expires_on":"2026-06-30"}"#;
    check(give, "2025-12-31T23:59:59Z", "deny not-yet");
    check(give, "2026-01-01", "permit until 2026-06-30");
    check(give, "2026-06-30T23:59:59Z", "permit until 2026-06-30");
    check(give, "2026-07-01", "deny expired");
}

#[test]
fn a_refusal_or_withdrawal_wins_even_on_the_same_second() {
    check(&format!("2026-01-01 {{\"event\":\"withdraw\"}}\n{GIVE}"), "2026-01-02", "deny withdrawn");
    check(
        &format!("2026-01-01 {{\"event\":\"refuse\",\"purposes\":[\"research\"]}}\n{GIVE}"),
        "2026-01-02",
        "deny refused",
    );
    let again = format!("2025-01-01 {{\"event\":\"withdraw\"}}\n{GIVE}");
    check(&again, "2026-01-02", "permit");
}

#[test]
fn a_consent_states_all_that_is_allowed() {
    let other = r#"2026-02-01 {"event":"give","purposes":["model-training"]}"#;
    check(other, "2026-03-01", "deny not-asked");
    check(&format!("{GIVE}\n{other}"), "2026-03-01", "deny not-asked");
    // Two at one instant allow what both allow.
    let same = r#"2026-01-01 {"event":"give","purposes":["research","model-training"]}"#;
    check(&format!("{GIVE}\n{same}"), "2026-03-01", "permit");
    check(&format!("{GIVE}\n{}", other.replace("02-01", "01-01")), "2026-03-01", "deny not-asked");
}

/// A withdrawal stays the reason when the donor later allows something else.
#[test]
fn a_consent_to_something_else_takes_no_stop_back() {
    let other = r#"2026-03-01 {"event":"give","purposes":["model-training"]}"#;
    check(&format!("{GIVE}\n2026-02-01 {{\"event\":\"withdraw\"}}\n{other}"), "2026-04-01", "deny withdrawn");
    let refusal = r#"2026-02-01 {"event":"refuse","purposes":["research"]}"#;
    check(&format!("{refusal}\n{other}"), "2026-04-01", "deny refused");
    check(&format!("{GIVE}\n2026-02-01 {{\"event\":\"invalidate\"}}\n{other}"), "2026-04-01", "deny invalidated");
    // Who gave for it again after the withdrawal and then for something else only, was not asked.
    let again = GIVE.replace("01-01", "02-02");
    check(&format!("{GIVE}\n2026-02-01 {{\"event\":\"withdraw\"}}\n{again}\n{other}"), "2026-04-01", "deny not-asked");
    // Somebody without authority takes nothing back either.
    let desk = again.replace("{", r#"{"by":"desk","#);
    check(&format!("{GIVE}\n2026-02-01 {{\"event\":\"withdraw\"}}\n{desk}\n{other}"), "2026-04-01", "deny withdrawn");
    let all = r#"2026-03-01 {"event":"give","purposes":["research","model-training"]}"#;
    check(&format!("{GIVE}\n2026-02-01 {{\"event\":\"withdraw\"}}\n{all}"), "2026-04-01", "permit");
}

#[test]
fn withdrawal_has_levels() {
    for (level, allowed) in
        [("no-contact", 3), ("no-new-collection", 2), ("no-further-use", 1), ("leave-next-versions", 0)]
    {
        let history = format!("{GIVE}\n2026-02-01 {{\"event\":\"withdraw\",\"level\":\"{level}\"}}");
        let operations = [Operation::Republish, Operation::Use, Operation::Collect, Operation::Contact];
        for (at, operation) in operations.into_iter().enumerate() {
            let expected = if at < allowed { "permit" } else { "deny withdrawn" };
            check_with(&history, "2026-03-01", expected, |query| query.operation = operation, &Policy::SILENT);
        }
    }
}

#[test]
fn a_minor_is_represented_until_majority_and_then_decides() {
    let parents = r#"2020-01-01 {"event":"represent","by":"desk","authority":"parental","expires_on":"2027-03-31"}"#;
    let by_parents = r#"2026-01-01 {"event":"give","by":"representative","purposes":["research"]}"#;
    let both = format!("{parents}\n{by_parents}");
    check(&both, "2026-06-01", "permit until 2027-03-31");
    check(&both, "2027-04-01", "deny representation-ended");
    check(&format!("{both}\n2027-04-01 {{\"event\":\"give\",\"purposes\":[\"research\"]}}"), "2027-04-02", "permit");
    // Without the paper, or alone, nobody can give for a minor; but the child's no counts.
    check(by_parents, "2026-06-01", "deny no-authority");
    check(&both.replace("\"by\":\"desk\",", ""), "2026-06-01", "deny no-authority");
    check(&format!("{parents}\n{GIVE}"), "2026-06-01", "deny no-authority");
    check(&format!("{both}\n2026-02-01 {{\"event\":\"withdraw\"}}"), "2026-06-01", "deny withdrawn");
    // A proxy leaves the donor free.
    check(&format!("{}\n{GIVE}", parents.replace("parental", "proxy")), "2026-06-01", "permit");
}

#[test]
fn the_dead_gave_only_what_they_said_should_go_on() {
    let died = r#"2026-02-01 {"event":"died","by":"desk"}"#;
    check(&format!("{GIVE}\n{died}"), "2026-03-01", "deny died");
    let on = r#"2026-01-01 {"event":"give","purposes":["research"],"conditions":{"after_death":true}}"#;
    check(&format!("{on}\n{died}"), "2026-03-01", "permit");
}

#[test]
fn restriction_objection_and_erasure() {
    let restrict = r#"2026-02-01 {"event":"restrict"}"#;
    check(&format!("{GIVE}\n{restrict}"), "2026-03-01", "deny restricted");
    let lift = r#"2026-02-10 {"event":"lift-restriction","by":"institution"}"#;
    check(&format!("{GIVE}\n{restrict}\n{lift}"), "2026-03-01", "deny restricted");
    check(&format!("{GIVE}\n{restrict}\n{}", lift.replace("institution", "desk")), "2026-03-01", "permit");
    let object = r#"2026-02-01 {"event":"object","purposes":["research"]}"#;
    check(&format!("{GIVE}\n{object}"), "2026-03-01", "deny objected");
    check(&format!("{GIVE}\n{}", object.replace("research", "model-training")), "2026-03-01", "permit");
    let erase = r#"2026-02-01 {"event":"order-erasure"}"#;
    let again = r#"2026-03-01 {"event":"give","purposes":["research"]}"#;
    check(&format!("{GIVE}\n{erase}\n{again}"), "2026-04-01", "deny erased");
}

#[test]
fn an_opt_out_binds_permits_approved_after_it() {
    let history = format!("{GIVE}\n2026-02-01 {{\"event\":\"opt-out\"}}");
    let approved = |day: &'static str| move |query: &mut Query<'_>| query.permit_approved_at = parse_timestamp(day);
    check(&history, "2026-03-01", "deny opted-out");
    check_with(&history, "2026-03-01", "permit", approved("2026-01-31"), &Policy::SILENT);
    check_with(&history, "2026-03-01", "deny opted-out", approved("2026-02-01"), &Policy::SILENT);
    let back = format!("{history}\n2026-02-02 {{\"event\":\"reverse-opt-out\"}}");
    check(&back, "2026-03-01", "permit");
    check(&back.replace("\"reverse-opt-out\"", "\"reverse-opt-out\",\"by\":\"desk\""), "2026-03-01", "deny opted-out");
}

#[test]
fn an_institutions_record_needs_its_permission_too() {
    let institutional = |query: &mut Query<'_>| query.institutional = true;
    check_with(GIVE, "2026-03-01", "deny institution", institutional, &Policy::SILENT);
    let permits = r#"2026-01-01 {"event":"institution-permits","by":"institution","purposes":["research"],"expires_on":"2026-12-31"}"#;
    let both = format!("{GIVE}\n{permits}");
    check_with(&both, "2026-03-01", "permit until 2026-12-31", institutional, &Policy::SILENT);
    check_with(&both, "2027-01-01", "deny institution", institutional, &Policy::SILENT);
    check_with(permits, "2026-03-01", "deny not-asked", institutional, &Policy::SILENT);
    check(&format!("{both}\n2026-02-01 {{\"event\":\"institution-ends\"}}"), "2026-03-01", "deny institution");
}

#[test]
fn the_policy_narrows_and_refers() {
    let policy = Policy { purposes: [Purpose::OpenPublication].into_iter().collect(), ..Policy::SILENT };
    check_with(GIVE, "2026-03-01", "deny policy", |_| {}, &policy);
    let policy = Policy { refers: [Purpose::Research].into_iter().collect(), ..Policy::SILENT };
    check_with(GIVE, "2026-03-01", "refer ask-policy", |_| {}, &policy);
    let policy = Policy { assessment: Paper::Until(parse_day("2026-03-31").unwrap()), ..Policy::SILENT };
    check_with(GIVE, "2026-03-31", "permit until 2026-03-31", |_| {}, &policy);
    check_with(GIVE, "2026-04-01", "deny assessment", |_| {}, &policy);
    let policy = Policy { state_age_max_s: Some(86_400), ..Policy::SILENT };
    let old = |query: &mut Query<'_>| query.state_as_of = parse_timestamp("2026-02-28").unwrap();
    check_with(GIVE, "2026-03-01", "permit", old, &policy);
    check_with(GIVE, "2026-03-01T00:00:01Z", "deny stale", old, &policy);
}

#[test]
fn open_publication_waits_for_second_thoughts() {
    let open = GIVE.replace("research", "open-publication");
    let policy = Policy { cooling_off_s: 14 * 86_400, ..Policy::SILENT };
    let ask = |query: &mut Query<'_>| query.purpose = Purpose::OpenPublication;
    check_with(&open, "2026-01-14T23:59:59Z", "deny cooling-off", ask, &policy);
    check_with(&open, "2026-01-15", "permit", ask, &policy);
    check_with(GIVE, "2026-01-02", "permit", |_| {}, &policy);
    // Who renews goes on; who withdrew, let it run out or allowed something else meanwhile thinks it over again.
    let renewed = open.replace("2026-01-01", "2026-02-01");
    check_with(&format!("{open}\n{renewed}"), "2026-02-02", "permit", ask, &policy);
    let ended = open.replace("]}", "],\"expires_on\":\"2026-01-20\"}");
    check_with(&format!("{ended}\n{renewed}"), "2026-02-02", "deny cooling-off", ask, &policy);
    // What parents thought over does not count for the child who decides now.
    let parents = r#"2020-01-01 {"event":"represent","by":"desk","authority":"parental","expires_on":"2026-01-31"}"#;
    let by_parents = open.replace("\"event\"", "\"by\":\"representative\",\"event\"");
    check_with(&format!("{parents}\n{by_parents}\n{renewed}"), "2026-02-02", "deny cooling-off", ask, &policy);
    check_with(&format!("{parents}\n{by_parents}\n{renewed}"), "2026-02-15", "permit", ask, &policy);
    for between in [r#"2026-01-20 {"event":"withdraw"}"#, &GIVE.replace("01-01", "01-20")] {
        check_with(&format!("{open}\n{between}\n{renewed}"), "2026-02-02", "deny cooling-off", ask, &policy);
        check_with(&format!("{open}\n{between}\n{renewed}"), "2026-02-15", "permit", ask, &policy);
    }
}

#[test]
fn only_a_material_change_of_the_notice_asks_again() {
    let shown = |version| {
        let digest = acequia_types::Digest::of(b"");
        GIVE.replace(
            "\"event\"",
            &format!("\"notice\":{{\"id\":\"n\",\"version\":{version},\"language\":\"de\",\"digest\":\"{digest}\"}},\"event\""),
        )
    };
    let policy = Policy { notice_version_min: 2, ..Policy::SILENT };
    check_with(&shown(1), "2026-02-01", "deny notice-outdated", |_| {}, &policy);
    check_with(&shown(2), "2026-02-01", "permit", |_| {}, &policy);
    check_with(GIVE, "2026-02-01", "deny notice-outdated", |_| {}, &policy);
}

#[test]
fn valid_then_as_known_then() {
    let known = |day: &str| parse_timestamp(day).unwrap();
    let withdrawal = ConsentEvent::new(known("2026-02-01"), ConsentKind::Withdraw { level: Level::default() });
    // The letter of withdrawal was found three weeks later.
    let history = History::recorded(vec![
        Recorded { known_at: known("2026-01-01"), event: ConsentEvent::give("2026-01-01", &[Purpose::Research]) },
        Recorded { known_at: known("2026-02-22"), event: withdrawal },
    ]);
    let facts = Facts::default();
    let ask = |valid_at: &str, known_at: &str| {
        let query = Query { known_at: Some(known(known_at)), ..Query::now(Purpose::Research, &facts, known(valid_at)) };
        matches!(decide(Some(&history), &query, &Policy::SILENT), Verdict::Permit { .. })
    };
    assert!(ask("2026-02-10", "2026-02-10"), "what was done in good faith stays explained");
    assert!(!ask("2026-02-10", "2026-02-22"));
    assert!(ask("2026-01-15", "2026-02-22"));
}

#[test]
fn a_clock_that_went_back_opens_nothing() {
    let at = |day: &str| parse_timestamp(day).unwrap();
    let give = ConsentEvent::give("2026-01-01", &[Purpose::Research]);
    let history = History::recorded(vec![Recorded { known_at: at("2026-03-01"), event: give }]);
    let facts = Facts::default();
    let ask = |now| decide(Some(&history), &Query::now(Purpose::Research, &facts, at(now)), &Policy::SILENT);
    assert_eq!(ask("2026-02-28"), Verdict::Deny(Reasons::one(Reason::Clock)));
    assert_eq!(ask("2026-03-01"), Verdict::Permit { until: None });
}

#[test]
fn a_legal_hold_blocks_erasure_and_permits_nothing() {
    let at = |day: &str| parse_timestamp(day).unwrap();
    let history = History::new(vec![
        ConsentEvent::new(at("2026-01-01"), ConsentKind::LegalHold).by(Party::Desk),
        ConsentEvent::new(at("2026-02-01"), ConsentKind::LiftLegalHold),
        ConsentEvent::new(at("2026-03-01"), ConsentKind::LiftLegalHold).by(Party::Desk),
    ]);
    for (day, expected) in [("2025-12-31", false), ("2026-01-01", true), ("2026-02-02", true), ("2026-03-01", false)] {
        assert_eq!(held(&history, at(day), at("2026-12-31")), expected, "{day}");
    }
    check("2026-01-01 {\"event\":\"legal-hold\",\"by\":\"desk\"}", "2026-01-02", "deny not-asked");
}

#[test]
fn what_cannot_be_understood_whole_is_refused() {
    for bad in [
        r#"{"at":"2026-01-01","event":"give"}"#,
        r#"{"at":"2026-01-01","event":"give","purposes":["research"],"expires":"2026-02-01"}"#,
        r#"{"at":"2026-01-01","event":"give","purposes":["research"],"expires_on":"2026-02-30"}"#,
        r#"{"at":"2026-01-01","event":"give","purposes":["everything"]}"#,
        r#"{"at":"2026-01-01","event":"give","purposes":["research"],"conditions":{"duos":[]}}"#,
        r#"{"at":"2026-01-01","event":"give","purposes":["research"],"level":"no-contact"}"#,
        r#"{"at":"2026-01-01","event":"withdraw","purposes":["research"]}"#,
        r#"{"at":"2026-01-01","event":"withdraw","level":"a-bit"}"#,
        r#"{"at":"2026-01-01","event":"withdraw","by":"somebody"}"#,
        r#"{"at":"2026-01-01","event":"represent"}"#,
        r#"{"at":"2026-01-01","event":"refuse","purposes":["research"],"expires_on":"2026-03-01"}"#,
        r#"{"at":"2026-01-01","event":"forget"}"#,
        r#"{"at":"yesterday","event":"withdraw"}"#,
    ] {
        assert!(serde_json::from_str::<ConsentEvent>(bad).is_err(), "{bad}");
    }
}
