//! Random histories, questions and policies: few instants, so that acts meet at one.

use std::collections::BTreeSet;

use acequia_custody::*;
use acequia_types::{Day, Digest, Timestamp};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

/// Half a day after half a day from 2026-01-01, so that days begin and end within the range.
pub(crate) const STEPS: i64 = 16;

pub(crate) fn instant(step: i64) -> Timestamp {
    Timestamp::from_unix_s(1_767_225_600 + step * 43_200)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..STEPS).prop_map(instant)
}

fn day() -> impl Strategy<Value = Day> {
    time().prop_map(|time| time.day())
}

pub(crate) fn purpose() -> impl Strategy<Value = Purpose> {
    select(Purpose::ALL.to_vec())
}

/// Often all, sometimes none.
fn purposes() -> impl Strategy<Value = Purposes> {
    prop_oneof![3 => Just(Purposes::ALL), 2 => btree_set(purpose(), 0..=3).prop_map(|set| set.into_iter().collect())]
}

fn names() -> impl Strategy<Value = BTreeSet<String>> {
    btree_set(select(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]), 0..3)
}

fn name() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(select(vec!["a".to_owned(), "b".to_owned()]))
}

fn country() -> impl Strategy<Value = Country> {
    select(["DE", "FR", "US"].map(|code| Country::parse(code).unwrap()).to_vec())
}

fn data_class() -> impl Strategy<Value = DataClass> {
    select(vec![DataClass::Structured, DataClass::Imaging, DataClass::Text, DataClass::Genomic])
}

pub(crate) fn conditions() -> impl Strategy<Value = Conditions> {
    let lists = (btree_set(country(), 0..3), names(), names(), names(), names());
    let classes = proptest::option::weighted(0.2, btree_set(data_class(), 0..4));
    (btree_set(select(DuoTerm::ALL.to_vec()), 0..3), lists, classes, any::<bool>()).prop_map(
        |(duo, (countries, diseases, institutions, projects, users), data_classes, after_death)| Conditions {
            duo,
            countries,
            diseases,
            institutions,
            projects,
            users,
            data_classes,
            after_death,
        },
    )
}

fn fact() -> impl Strategy<Value = Option<bool>> {
    select(vec![None, Some(true), Some(false)])
}

pub(crate) fn facts() -> impl Strategy<Value = Facts> {
    let reach = prop_oneof![Just(Reach::Unknown), Just(Reach::World), country().prop_map(Reach::Country)];
    let bools = vec(fact(), 13);
    let full = (bools, proptest::option::of(names()), name(), name(), name(), reach).prop_map(
        |(b, diseases, user, project, institution, reach)| Facts {
            commercial: b[0],
            not_for_profit: b[1],
            research: b[2],
            health_research: b[3],
            ancestry_research: b[4],
            methods_research: b[5],
            genetic_study: b[6],
            clinical_care: b[7],
            diseases,
            user,
            project,
            institution,
            reach,
            ethics_approved: b[8],
            will_publish: b[9],
            will_collaborate: b[10],
            will_return: b[11],
            will_wait: b[12],
            terms: Conditions::default(),
        },
    );
    prop_oneof![3 => full, 1 => Just(Facts::of_open_publication()), 1 => Just(Facts::default())]
}

fn give() -> impl Strategy<Value = ConsentKind> {
    let conditions = proptest::option::weighted(0.4, conditions().prop_map(Box::new));
    (purposes(), proptest::option::weighted(0.3, day()), conditions)
        .prop_map(|(purposes, expires_on, conditions)| ConsentKind::Give { purposes, expires_on, conditions })
}

fn authority() -> impl Strategy<Value = Authority> {
    select(vec![Authority::Proxy, Authority::Parental, Authority::Court])
}

fn kind() -> impl Strategy<Value = ConsentKind> {
    let level = select(vec![Level::NoContact, Level::NoNewCollection, Level::NoFurtherUse, Level::LeaveNextVersions]);
    let until = || proptest::option::weighted(0.3, day());
    prop_oneof![
        8 => give(),
        2 => (authority(), until()).prop_map(|(authority, expires_on)| ConsentKind::Represent { authority, expires_on }),
        1 => Just(ConsentKind::EndRepresentation),
        1 => Just(ConsentKind::ReverseOptOut),
        1 => purposes().prop_map(|purposes| ConsentKind::SettleObjection { purposes }),
        1 => Just(ConsentKind::LiftRestriction),
        1 => (purposes(), until())
            .prop_map(|(purposes, expires_on)| ConsentKind::InstitutionPermits { purposes, expires_on }),
        1 => purposes().prop_map(|purposes| ConsentKind::Refuse { purposes }),
        1 => Just(ConsentKind::Invalidate),
        1 => level.prop_map(|level| ConsentKind::Withdraw { level }),
        1 => Just(ConsentKind::OptOut),
        1 => purposes().prop_map(|purposes| ConsentKind::Object { purposes }),
        1 => Just(ConsentKind::Restrict),
        1 => Just(ConsentKind::InstitutionEnds),
        1 => Just(ConsentKind::LegalHold),
        1 => Just(ConsentKind::LiftLegalHold),
        1 => prop_oneof![Just(ConsentKind::Died), Just(ConsentKind::OrderErasure)],
    ]
}

/// Acts mostly come from whom they should come.
fn party(kind: &ConsentKind) -> BoxedStrategy<Party> {
    let usual = match kind {
        ConsentKind::Represent { .. } | ConsentKind::EndRepresentation | ConsentKind::LiftLegalHold => Party::Desk,
        ConsentKind::InstitutionPermits { .. } | ConsentKind::InstitutionEnds => Party::Institution,
        _ => Party::Donor,
    };
    let any_party = select(vec![Party::Donor, Party::Representative, Party::Institution, Party::Desk]);
    prop_oneof![5 => Just(usual), 2 => Just(Party::Representative), 1 => any_party].boxed()
}

pub(crate) fn recorded() -> impl Strategy<Value = Recorded> {
    let notice = proptest::option::weighted(0.7, 1..4u32);
    (kind(), time(), proptest::option::weighted(0.3, time()), notice)
        .prop_flat_map(|(kind, at, known_at, version)| {
            (party(&kind), Just((kind, at, known_at.unwrap_or(at), version)))
        })
        .prop_map(|(by, (kind, at, known_at, version))| {
            let notice = version.map(|version| {
                let (id, language) = ("donation".to_owned(), "en".to_owned());
                Box::new(Notice { id, version, language, digest: Digest::of(b"text") })
            });
            Recorded { known_at, event: ConsentEvent { at, kind, by, notice } }
        })
}

/// Often a consent that was given early, and whatever comes after it.
pub(crate) fn records() -> impl Strategy<Value = Vec<Recorded>> {
    let first = prop_oneof![
        4 => Just(Vec::new()),
        4 => give().prop_map(|kind| vec![(Party::Donor, kind)]),
        2 => (give(), day(), authority()).prop_map(|(kind, day, authority)| {
            let represent = ConsentKind::Represent { authority, expires_on: Some(day) };
            vec![(Party::Desk, represent), (Party::Representative, kind)]
        }),
    ];
    (first, vec(recorded(), 0..7)).prop_map(|(first, mut more)| {
        more.extend(first.into_iter().map(|(by, kind)| {
            let event = ConsentEvent::new(instant(0), kind).by(by);
            Recorded { known_at: instant(0), event }
        }));
        more
    })
}

fn paper() -> impl Strategy<Value = Paper> {
    prop_oneof![9 => Just(Paper::NotNeeded), 1 => Just(Paper::Missing), 2 => day().prop_map(Paper::Until)]
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let own = (
        purposes(),
        btree_set(purpose(), 0..2).prop_map(|set| set.into_iter().collect()),
        proptest::option::weighted(0.3, btree_set(country(), 0..3)),
        paper(),
        proptest::option::weighted(0.3, 0..200_000u32),
        select(vec![0, 43_200, 86_400]),
        select(vec![0, 0, 2]),
    )
        .prop_map(
            |(purposes, refers, countries, assessment, state_age_max_s, cooling_off_s, notice_version_min)| Policy {
                purposes,
                refers,
                countries,
                assessment,
                state_age_max_s,
                cooling_off_s,
                notice_version_min,
            },
        );
    prop_oneof![3 => Just(Policy::SILENT), 1 => own]
}

/// A question that owns its facts.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) facts: Facts,
    pub(crate) purpose: Purpose,
    pub(crate) operation: Operation,
    pub(crate) data_class: DataClass,
    pub(crate) agreement: Paper,
    pub(crate) permit_approved_at: Option<Timestamp>,
    pub(crate) institutional: bool,
    pub(crate) valid_at: Timestamp,
    pub(crate) known_at: Option<Timestamp>,
    pub(crate) state_as_of: Timestamp,
}

impl Question {
    pub(crate) fn query(&self) -> Query<'_> {
        Query {
            purpose: self.purpose,
            operation: self.operation,
            data_class: self.data_class,
            facts: &self.facts,
            agreement: self.agreement,
            permit_approved_at: self.permit_approved_at,
            institutional: self.institutional,
            valid_at: self.valid_at,
            known_at: self.known_at,
            state_as_of: self.state_as_of,
        }
    }

    pub(crate) fn ask(&self, records: &[Recorded], policy: &Policy) -> Verdict {
        decide(Some(&History::recorded(records.to_vec())), &self.query(), policy)
    }
}

pub(crate) fn question() -> impl Strategy<Value = Question> {
    let operation = select(vec![Operation::Contact, Operation::Collect, Operation::Use, Operation::Republish]);
    let what = (facts(), purpose(), operation, data_class(), paper());
    // Everything on file, or what was known at some time, or all of it without doubting the clock.
    let known_at = prop_oneof![2 => Just(None), 2 => time().prop_map(Some), 4 => Just(Some(instant(STEPS)))];
    let when = (proptest::option::weighted(0.3, time()), time(), known_at, time());
    (what, when, proptest::bool::weighted(0.1)).prop_map(
        |(
            (facts, purpose, operation, data_class, agreement),
            (permit_approved_at, valid_at, known_at, state_as_of),
            institutional,
        )| {
            Question {
                facts,
                purpose,
                operation,
                data_class,
                agreement,
                permit_approved_at,
                institutional,
                valid_at,
                known_at,
                state_as_of,
            }
        },
    )
}
