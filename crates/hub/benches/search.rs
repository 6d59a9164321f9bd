//! How long a search with facets takes: `cargo bench -p acequia-hub --bench search -- [DATA SETS]...`
//!
//! Entries are made up: 45 words each of a vocabulary of 20,000 in which some are in a third of all entries and most in
//! few (Zipf), three of eight facets with many values. Queries are of one to three words, a third of them words that
//! most entries hold, with none to two chosen values. Printed are the 50th and 95th percentile in milliseconds.

use std::hint::black_box;
use std::time::Instant;

use acequia_hub::search::{Document, Facet, Index, Query, size_class};

/// Numbers that look random and are the same everywhere (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }

    /// Small numbers far more often than great ones.
    fn zipf(&mut self, end: u64) -> u64 {
        let uniform = (self.below(1 << 30) as f64 + 1.0) / (1_u64 << 30) as f64;
        ((end as f64).powf(uniform) as u64).min(end - 1)
    }
}

fn word(number: u64) -> String {
    format!("w{number:05}")
}

fn document(number: u64, dice: &mut Dice) -> Document {
    let say = |dice: &mut Dice, count: usize| (0..count).map(|_| word(dice.zipf(20_000))).collect::<Vec<_>>().join(" ");
    Document {
        name: format!("trustee-{}/set-{number}", dice.zipf(500)),
        title: say(dice, 5),
        text: say(dice, 40),
        tags: vec![format!("task_categories:{}", dice.below(12))],
        facets: vec![
            (Facet::Condition, format!("condition {}", dice.zipf(3_000))),
            (Facet::Purpose, format!("purpose {}", dice.below(6))),
            (Facet::Kind, ["real", "synthetic"][dice.below(2) as usize].to_owned()),
            (Facet::Size, size_class(10_u64.pow(dice.below(7) as u32)).to_owned()),
            (Facet::Licence, format!("licence {}", dice.zipf(20))),
            (Facet::Task, format!("task {}", dice.below(12))),
            (Facet::Language, format!("language {}", dice.zipf(30))),
            (Facet::Publisher, format!("trustee-{}", dice.zipf(500))),
        ],
        created_s: dice.below(1 << 30) as i64,
        published_s: dice.below(1 << 30) as i64,
    }
}

fn query(dice: &mut Dice) -> Query {
    let words = (0..1 + dice.below(3)).map(|_| match dice.below(3) {
        0 => word(dice.below(4)),
        1 => word(dice.zipf(20_000)),
        // The beginning of a word, as people type it.
        _ => word(dice.zipf(20_000))[..4].to_owned(),
    });
    let words: Vec<String> = words.collect();
    let mut chosen = Vec::new();
    for _ in 0..dice.below(3) {
        chosen.push(match dice.below(3) {
            0 => (Facet::Kind, "real".to_owned()),
            1 => (Facet::Condition, format!("condition {}", dice.zipf(3_000))),
            _ => (Facet::Licence, format!("licence {}", dice.zipf(20))),
        });
    }
    Query { words: words.join(" "), chosen, ..Query::default() }
}

fn main() {
    let sizes: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    for size in if sizes.is_empty() { vec![100_000, 1_000_000] } else { sizes } {
        let mut dice = Dice(size);
        let started = Instant::now();
        let documents: Vec<Document> = (0..size).map(|number| document(number, &mut dice)).collect();
        let made = started.elapsed();
        let started = Instant::now();
        let index = Index::of(documents);
        let indexed = started.elapsed();
        let mut times_ms: Vec<f64> = Vec::new();
        let mut matched = 0;
        for _ in 0..1_000 {
            let query = query(&mut dice);
            let started = Instant::now();
            let found = black_box(index.find(&query, 0, 20));
            times_ms.push(started.elapsed().as_secs_f64() * 1e3);
            matched += found.total;
        }
        times_ms.sort_by(f64::total_cmp);
        let percentile = |p: usize| times_ms[times_ms.len() * p / 100];
        println!(
            "{size} data sets (made in {:.1} s, indexed in {:.1} s): p50 {:.2} ms, p95 {:.2} ms, longest {:.2} ms; {} found per query",
            made.as_secs_f64(),
            indexed.as_secs_f64(),
            percentile(50),
            percentile(95),
            times_ms[times_ms.len() - 1],
            matched / 1_000
        );
    }
}
