//! Requests and their clocks.

use acequia_custody::rights::*;
use acequia_types::{Coded, parse_day, parse_timestamp};

fn at(day: &str, event: Event) -> Happened {
    Happened { at: parse_timestamp(day).unwrap(), event }
}

fn received(day: &str, right: Right) -> Happened {
    at(day, Event::Received { right, purposes: None })
}

fn by(name: &str) -> String {
    name.to_owned()
}

#[track_caller]
fn due(received_on: &str, expected: &str, extended: &str) {
    let rules = Rules::gdpr();
    let first = received(received_on, Right::Access);
    let request = Request::of(std::slice::from_ref(&first), &rules).unwrap();
    assert_eq!(request.due_on, parse_day(expected).unwrap(), "{received_on}");
    let longer = Request::of(&[first.clone(), Happened { at: first.at, event: Event::Extended }], &rules).unwrap();
    assert_eq!(longer.due_on, parse_day(extended).unwrap(), "{received_on} extended");
}

/// Regulation 1182/71 Art. 3(2)(c): the same date of the last month, or its last day where there is none.
#[test]
fn months_end_where_the_calendar_says() {
    due("2026-01-15", "2026-02-15", "2026-04-15");
    due("2026-01-31", "2026-02-28", "2026-04-30");
    due("2024-01-31", "2024-02-29", "2024-04-30");
    due("2024-01-29", "2024-02-29", "2024-04-29");
    due("2023-01-29", "2023-02-28", "2023-04-29");
    due("2024-02-29", "2024-03-29", "2024-05-29");
    due("2026-08-31", "2026-09-30", "2026-11-30");
    due("2026-11-30", "2026-12-30", "2027-02-28");
    due("2026-12-31", "2027-01-31", "2027-03-31");
    // The hour does not matter, nor that clocks change in between.
    due("2026-03-28T23:59:59Z", "2026-04-28", "2026-06-28");
    due("2026-10-25T00:30:00Z", "2026-11-25", "2027-01-25");
}

#[test]
fn warnings_come_and_overdue_is_overdue() {
    let rules = Rules::gdpr();
    let request = Request::of(&[received("2026-04-01", Right::Access)], &rules).unwrap();
    let alarm = |day: &str| request.alarm(parse_timestamp(day).unwrap(), &rules);
    assert_eq!(request.due_on, parse_day("2026-05-01").unwrap());
    for (day, expected) in [
        ("2026-04-01", Alarm::None),
        ("2026-04-15", Alarm::None),
        ("2026-04-16", Alarm::Warn(50)),
        ("2026-04-23", Alarm::Warn(50)),
        ("2026-04-24", Alarm::Warn(75)),
        ("2026-04-28", Alarm::Warn(90)),
        ("2026-05-01T23:59:59Z", Alarm::Warn(90)),
        ("2026-05-02", Alarm::Overdue),
        ("2031-01-01", Alarm::Overdue),
    ] {
        assert_eq!(alarm(day), expected, "{day}");
    }
    let closed = request.after(&at("2026-05-02", Event::Identified { by: by("a") }), &rules).unwrap();
    let closed = closed.after(&at("2026-05-02", Event::Done { task: Task::Export }), &rules).unwrap();
    let closed = closed.after(&at("2026-05-02", Event::Closed), &rules).unwrap();
    assert_eq!(
        (closed.state, closed.alarm(parse_timestamp("2031-01-01").unwrap(), &rules)),
        (State::Closed, Alarm::None)
    );
}

#[test]
fn an_extension_is_told_once_and_in_time() {
    let rules = Rules::gdpr();
    let request = Request::of(&[received("2026-01-31", Right::Access)], &rules).unwrap();
    let late = request.after(&at("2026-03-01", Event::Extended), &rules).unwrap_err();
    assert_eq!((late.code(), late.to_string().contains("2026-02-28")), ("RI007", true));
    let longer = request.after(&at("2026-02-28T23:00:00Z", Event::Extended), &rules).unwrap();
    assert_eq!(longer.due_on, parse_day("2026-04-30").unwrap());
    assert!(longer.after(&at("2026-03-01", Event::Extended), &rules).is_err());
}

#[test]
fn the_clock_begins_anew_when_it_is_clear_who_asks() {
    let rules = Rules::gdpr();
    let asked = [received("2026-01-10", Right::Access), at("2026-01-12", Event::MoreAsked)];
    let given = Request::of(&asked, &rules).unwrap().after(&at("2026-01-31", Event::MoreGiven), &rules).unwrap();
    assert_eq!(given.due_on, parse_day("2026-02-28").unwrap());
    let strict = Rules { identity_restarts_clock: false, ..rules };
    let given = Request::of(&asked, &strict).unwrap().after(&at("2026-01-31", Event::MoreGiven), &strict).unwrap();
    assert_eq!(given.due_on, parse_day("2026-02-10").unwrap());
}

#[test]
fn erasure_needs_four_eyes_and_second_thoughts() {
    let rules = Rules::gdpr();
    let mut events = vec![received("2026-02-01", Right::Erasure)];
    let step = |events: &[Happened], day: &str| {
        Request::of(events, &rules).unwrap().may_execute(parse_timestamp(day).unwrap(), &rules)
    };
    assert_eq!(step(&events, "2026-03-01"), Err(RightsError::NotIdentified));
    events.push(at("2026-02-01", Event::Identified { by: by("ann") }));
    events.push(at("2026-02-01", Event::Approved { by: by("ann") }));
    events.push(at("2026-02-01", Event::Approved { by: by("ann") }));
    assert_eq!(step(&events, "2026-03-01"), Err(RightsError::Approvals { found: 1, needed: 2 }));
    events.push(at("2026-02-02", Event::Approved { by: by("bob") }));
    let until = parse_day("2026-02-08").unwrap();
    assert_eq!(step(&events, "2026-02-08T23:59:59Z"), Err(RightsError::SecondThoughts { until }));
    assert_eq!(step(&events, "2026-02-09"), Ok(()));
    events.push(at("2026-02-03", Event::WindowWaived));
    assert_eq!(step(&events, "2026-02-03"), Ok(()));
}

#[test]
fn tasks_are_done_in_order_once_and_go_on_where_they_stopped() {
    let rules = Rules::gdpr();
    let mut request = Request::of(
        &[
            received("2026-02-01", Right::Erasure),
            at("2026-02-01", Event::Identified { by: by("ann") }),
            at("2026-02-01", Event::Approved { by: by("ann") }),
            at("2026-02-01", Event::Approved { by: by("bob") }),
            at("2026-02-01", Event::WindowWaived),
        ],
        &rules,
    )
    .unwrap();
    let done = |task| at("2026-02-02", Event::Done { task });
    assert_eq!(request.after(&done(Task::DestroyKey), &rules), Err(RightsError::Order));
    assert_eq!(request.after(&at("2026-02-02", Event::Closed), &rules), Err(RightsError::Unfinished { left: 5 }));
    for task in Right::Erasure.tasks() {
        request = request.after(&done(*task), &rules).unwrap();
        assert!(request.after(&done(*task), &rules).is_err());
        let taken_back = request.after(&at("2026-02-02", Event::TakenBack), &rules);
        assert!(taken_back.is_err(), "half an erasure cannot be taken back");
    }
    assert_eq!(request.state, State::Finalising);
    request = request.after(&at("2026-02-03", Event::Closed), &rules).unwrap();
    assert_eq!(request.after(&at("2026-02-03", Event::Acknowledged), &rules), Err(RightsError::Final));
}

#[test]
fn events_come_back_as_they_were_written_and_nothing_else_is_read() {
    let all = [
        Event::Received {
            right: Right::Objection,
            purposes: Some([acequia_custody::Purpose::Research].into_iter().collect()),
        },
        Event::Identified { by: by("ann") },
        Event::Refused { reason: Refusal::LegalDuty },
        Event::Done { task: Task::TellRecipients },
        Event::Duplicate { of: 3 },
    ];
    for event in all {
        let happened = at("2026-02-01", event);
        let text = serde_json::to_string(&happened).unwrap();
        assert_eq!(serde_json::from_str::<Happened>(&text).unwrap(), happened, "{text}");
    }
    assert!(serde_json::from_str::<Event>(r#"{"event":"approved","by":"ann","and":"bob"}"#).is_err());
    assert!(Request::of(&[at("2026-02-01", Event::Closed)], &Rules::gdpr()).is_err());
    assert!(Rules::parse("id = \"x\"").is_err());
}
