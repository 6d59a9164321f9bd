//! What commands say about events of persons.

use acequia_deidentify::{EventFacts, EventRecount, EventRisk, Findable};

#[expect(clippy::cast_precision_loss, reason = "counts of persons are far below 2^53")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn findable(name: &str, found: &Findable) -> String {
    let known = found.known.last();
    format!(
        "  {name:<28} {:>8.2} {:>8.2} {:>10.2} {:>10.2}\n",
        percent(found.alone_by_codes, found.persons),
        percent(found.alone_by_codes_and_columns, found.persons),
        known.map_or(0.0, |known| percent(known.alone, found.persons)),
        known.map_or(0.0, |known| percent(known.below_k, found.persons)),
    )
}

fn heading(known: u64) -> String {
    format!(
        "% of persons who can be told    by all      and    by columns and {known} codes\n  {:<28} {:>8} {:>8} {:>10} {:>10}\n",
        "codes", "codes", "columns", "alone", "below k"
    )
}

/// Of a release.
pub(crate) fn released(facts: &EventFacts) -> String {
    let counts = &facts.counts;
    let mut text = format!(
        "{} rows of {} persons; {} codes of persons are released in {} rows of events\n",
        facts.pooled.rows,
        facts.pooled.persons,
        facts.levels.iter().map(|level| level.events).sum::<u64>(),
        counts.released
    );
    for level in facts.levels.iter().chain(&facts.date_levels) {
        text += &format!("  {:>10} {:>6.2} %  {}\n", level.events, level.share * 100.0, level.words);
    }
    let suppressed = counts.suppressed + counts.suppressed_with_persons;
    text += &format!("  {suppressed:>10} {:>6.2} %  suppressed\n", percent(suppressed, counts.distinct));
    text += &format!(
        "{:.1} % of the information of the codes is left; {} rare codes were generalised first\n",
        facts.utility.entropy * 100.0,
        counts.rare_codes
    );
    text += &heading(facts.known_codes);
    text += &findable("before", &facts.before);
    text += &findable("released", &facts.after);
    text += &format!(
        "{} combinations of at most {} codes, each in its class; the rarest is shared by {} persons\n",
        facts.combinations, facts.known_codes, facts.smallest
    );
    text
}

/// Of a table as it is.
pub(crate) fn risk(risk: &EventRisk) -> String {
    let known = risk.levels.first().and_then(|level| level.findable.known.last()).map_or(0, |known| known.codes);
    let mut text = format!(
        "{} rows of {} persons, {} with several; {:.2} codes on average\nthe attacker knows {}; k is {}\n",
        risk.pooled.rows,
        risk.pooled.persons,
        risk.pooled.of_several_rows,
        risk.levels.first().map_or(0.0, |level| level.findable.mean_codes),
        risk.quasi_identifiers.join(", "),
        risk.k
    );
    text += &heading(known);
    for level in &risk.levels {
        text += &findable(&level.words, &level.findable);
    }
    text
}

/// Of a release that was recounted.
pub(crate) fn recounted(recount: &EventRecount) -> String {
    format!(
        "ok   {} rows of events; {} combinations of at most {} codes, the rarest shared by {} persons\n",
        recount.events, recount.combinations, recount.known, recount.smallest
    )
}
