//! I1–I6 of the reference design, as properties. I7, that no format widens, lies with the formats.

use acequia_custody::*;
use acequia_types::Timestamp;
use proptest::prelude::*;

use crate::histories::*;

fn permits(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Permit { .. })
}

/// How open a verdict is: deny, refer, permit.
fn openness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Deny(_) => 0,
        Verdict::Refer(_) => 1,
        Verdict::Permit { .. } => 2,
    }
}

/// Acts of an institution or the desk that are no consents.
fn own_act(kind: &ConsentKind) -> bool {
    matches!(
        kind,
        ConsentKind::Represent { .. }
            | ConsentKind::EndRepresentation
            | ConsentKind::LiftRestriction
            | ConsentKind::SettleObjection { .. }
            | ConsentKind::InstitutionPermits { .. }
    )
}

fn narrows(kind: &ConsentKind) -> bool {
    matches!(
        kind,
        ConsentKind::Withdraw { .. }
            | ConsentKind::Refuse { .. }
            | ConsentKind::Invalidate
            | ConsentKind::OptOut
            | ConsentKind::Object { .. }
            | ConsentKind::Restrict
            | ConsentKind::InstitutionEnds
            | ConsentKind::Died
            | ConsentKind::OrderErasure
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, max_local_rejects: 1_000_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// I1: what is permitted was given, for this purpose, by the donor or who acts for the donor.
    #[test]
    fn i1_nothing_is_permitted_that_was_not_given(records in records(), question in question(), policy in policy()) {
        if openness(question.ask(&records, &policy)) > 0 {
            let given = records.iter().any(|recorded| {
                matches!(&recorded.event.kind, ConsentKind::Give { purposes, .. } if purposes.contains(question.purpose))
                    && matches!(recorded.event.by, Party::Donor | Party::Representative)
                    && recorded.event.at <= question.valid_at
                    && question.known_at.is_none_or(|known_at| recorded.known_at <= known_at)
            });
            prop_assert!(given);
        }
    }

    /// I1: no policy and no agreement opens more than none.
    #[test]
    fn i1_no_policy_widens(records in records(), question in question(), policy in policy()) {
        let silent = Question { agreement: Paper::NotNeeded, institutional: false, ..question.clone() };
        prop_assert!(openness(question.ask(&records, &policy)) <= openness(silent.ask(&records, &Policy::SILENT)));
    }

    /// I1: what an institution or the desk writes about a consent opens nothing. The desk's papers on representation and its
    /// decisions on restriction and objection, and the institution's own permission, are no consents.
    #[test]
    fn i1_no_administrator_widens(
        records in records(),
        more in recorded().prop_filter("an act of its own", |recorded| !own_act(&recorded.event.kind)),
        question in question(),
        desk in any::<bool>(),
    ) {
        let by = if desk { Party::Desk } else { Party::Institution };
        // A consent that is written by nobody with authority ends an earlier act, and then denies itself.
        let before = question.ask(&records, &Policy::SILENT);
        let mut after = records;
        after.push(Recorded { event: more.event.by(by), ..more });
        prop_assert!(openness(question.ask(&after, &Policy::SILENT)) <= openness(before));
    }

    /// I2: no act that narrows, whoever does it, turns a denial into anything else.
    #[test]
    fn i2_narrowing_never_opens(
        records in records(),
        more in recorded().prop_filter("an act that narrows", |recorded| narrows(&recorded.event.kind)),
        question in question(),
        policy in policy(),
    ) {
        let before = question.ask(&records, &policy);
        let mut after = records;
        after.push(more);
        prop_assert!(openness(question.ask(&after, &policy)) <= openness(before));
    }

    /// I3: the same events in another order, or told twice, give the same answer.
    #[test]
    fn i3_the_order_of_delivery_does_not_matter(
        (records, shuffled) in records().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        question in question(),
        policy in policy(),
    ) {
        let answer = question.ask(&records, &policy);
        prop_assert_eq!(question.ask(&shuffled, &policy), answer);
        let twice: Vec<_> = records.iter().chain(&shuffled).cloned().collect();
        prop_assert_eq!(question.ask(&twice, &policy), answer);
    }

    /// I4: without a history, or with a fact less, nothing opens.
    #[test]
    fn i4_what_is_not_known_denies(records in records(), question in question(), policy in policy()) {
        prop_assert!(!permits(decide(None, &question.query(), &policy)));
        let ignorant = Question { facts: Facts::default(), ..question.clone() };
        prop_assert!(!permits(ignorant.ask(&records, &policy)) || permits(question.ask(&records, &policy)));
        let stale = Policy { state_age_max_s: Some(0), ..policy };
        let old = Question { state_as_of: Timestamp::from_unix_s(0), ..question };
        prop_assert!(!permits(old.ask(&records, &stale)));
    }

    /// I5: a permission does not outlive its last day, unless something new is given.
    #[test]
    fn i5_a_permission_ends_with_its_last_day(records in records(), question in question(), policy in policy(), later in 0..STEPS) {
        if let Verdict::Permit { until: Some(last) } = question.ask(&records, &policy) {
            let later = Question { valid_at: instant(later), ..question.clone() };
            let nothing_new = records.iter().all(|recorded| {
                recorded.event.at <= question.valid_at || recorded.event.at > later.valid_at
            });
            if later.valid_at.day() > last && nothing_new {
                prop_assert!(!permits(later.ask(&records, &policy)));
            }
            prop_assert!(question.valid_at.day() <= last);
        }
    }

    /// I6: what meets the terms of a data set meets those of each of its donors; and, for a request about at most one
    /// disease, the other way round.
    #[test]
    fn i6_terms_of_a_data_set_are_the_greatest_lower_bound(
        all in proptest::collection::vec(conditions(), 1..5),
        facts in facts(),
        class in 0..4usize,
    ) {
        let class = [DataClass::Structured, DataClass::Imaging, DataClass::Text, DataClass::Genomic][class];
        let last_day = acequia_types::parse_day("2030-01-01");
        let open = |conditions: &Conditions| conditions.judge(&facts, class, last_day).is_empty();
        let joint = open(&joint_terms(&all));
        let each = all.iter().all(&open);
        prop_assert!(!joint || each);
        if facts.diseases.as_ref().is_none_or(|diseases| diseases.len() <= 1) {
            prop_assert_eq!(joint, each);
        }
    }

    /// What was answered once stays answerable: later records do not change what was known then.
    #[test]
    fn the_past_as_known_then_does_not_change(records in records(), later in records(), question in question(), policy in policy()) {
        let question = Question { known_at: Some(instant(4)), ..question };
        let before = question.ask(&records, &policy);
        let mut after = records;
        after.extend(later.into_iter().map(|recorded| Recorded { known_at: recorded.known_at.max(instant(5)), ..recorded }));
        prop_assert_eq!(question.ask(&after, &policy), before);
    }

    /// An event that is written and read back is the same; a history of them answers the same.
    #[test]
    fn events_come_back_as_they_were_written(recorded in recorded()) {
        let text = serde_json::to_string(&recorded.event).unwrap();
        prop_assert_eq!(serde_json::from_str::<ConsentEvent>(&text).unwrap(), recorded.event);
    }
}
