//! How fast consent is decided: one question, and a whole cohort on one core.
//!
//! `cargo bench -p acequia-custody --bench cohort -- 1000000` (donors; each has ten events)

use std::time::Instant;

use acequia_custody::*;
use acequia_types::{DonorId, Timestamp};

const EVENTS: u32 = 10;

/// The same numbers on every machine (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn history(dice: &mut Dice) -> History {
    let events = (0..EVENTS).map(|_| {
        let at = Timestamp::from_unix_s(1_700_000_000 + i64::try_from(dice.below(50_000_000)).unwrap_or(0));
        let purposes: Purposes = Purpose::ALL.into_iter().filter(|_| dice.below(4) > 0).collect();
        let kind = match dice.below(20) {
            0 => ConsentKind::Withdraw { level: Level::LeaveNextVersions },
            1 => ConsentKind::Refuse { purposes },
            2 => ConsentKind::Object { purposes },
            3 => ConsentKind::SettleObjection { purposes },
            4 => ConsentKind::Restrict,
            5..8 => ConsentKind::LiftRestriction,
            8 => {
                let conditions = Conditions {
                    duo: [DuoTerm::HealthResearch, DuoTerm::NotCommercial].into(),
                    ..Conditions::default()
                };
                ConsentKind::Give { purposes, expires_on: None, conditions: Some(Box::new(conditions)) }
            }
            _ => ConsentKind::Give { purposes, expires_on: acequia_types::parse_day("2026-06-30"), conditions: None },
        };
        Recorded { known_at: at, event: ConsentEvent::new(at, kind) }
    });
    History::recorded(events.collect())
}

fn main() {
    let donors: usize = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(100_000);
    let mut dice = Dice(20_261_125);
    let histories: Vec<History> = (0..donors).map(|_| history(&mut dice)).collect();
    let ids: Vec<DonorId> =
        (0..donors).map(|number| DonorId::parse(&format!("donor-{number:07}")).expect("an id")).collect();
    let facts = Facts { health_research: Some(true), commercial: Some(false), ..Facts::default() };
    let query = Query::now(Purpose::Research, &facts, Timestamp::from_unix_s(1_745_000_000));

    let one = &histories[donors / 2];
    let rounds = 200_000;
    let started = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(decide(std::hint::black_box(Some(one)), &query, &Policy::SILENT));
    }
    let each_ns = started.elapsed().as_nanos() / rounds;
    println!("one question, warm: {:.3} µs over {EVENTS} events (goal 50 µs)", each_ns as f64 / 1e3);

    let started = Instant::now();
    let permitted = histories
        .iter()
        .filter(|history| matches!(decide(Some(history), &query, &Policy::SILENT), Verdict::Permit { .. }))
        .count();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "cohort: {donors} donors, {} events, {permitted} permit: {seconds:.3} s, {:.2} M subjects/s on one core (goal 1)",
        donors * EVENTS as usize,
        donors as f64 / seconds / 1e6
    );

    let started = Instant::now();
    let (grant, others) = evaluate_all(ids.iter().zip(histories.iter().map(Some)), &query, &Policy::SILENT);
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(grant.donors().len(), permitted);
    assert_eq!(others.values().sum::<usize>(), donors - permitted);
    println!(
        "the same with a grant that names everybody: {seconds:.3} s, {:.2} M subjects/s",
        donors as f64 / seconds / 1e6
    );
}
