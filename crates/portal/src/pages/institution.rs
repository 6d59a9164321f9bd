//! The page of an institution.

use acequia_custody::Purpose;
use acequia_types::thousands;
use acequia_vault::{Source, Texts};
use maud::{Markup, html};

use super::boxes;

/// What it gave, what it permits, and what became of it.
pub(crate) fn institution(texts: &Texts, source: &Source) -> Markup {
    let say = |key: &str| texts.say(key);
    let codes = |codes: &std::collections::BTreeMap<String, u64>| {
        let words: Vec<String> = codes.iter().map(|(code, count)| format!("{code} × {}", thousands(*count))).collect();
        if words.is_empty() { "–".to_owned() } else { words.join(", ") }
    };
    html! {
        p.lead { (texts.say_with("institution-lead", &[("source", source.source.as_str())])) }
        p { (texts.count("institution-people", source.donors)) }
        section aria-labelledby="batches" {
            h2 #batches { (say("institution-batches")) }
            @if source.batches.is_empty() { p.empty { (say("institution-nothing")) } } @else {
                div.wide role="region" aria-label=(say("institution-table")) tabindex="0" {
                    table {
                        thead { tr {
                            th scope="col" { (say("institution-day")) }
                            th scope="col" { (say("institution-files")) }
                            th scope="col" { (say("institution-records")) }
                            th scope="col" { (say("institution-size")) }
                            th scope="col" { (say("institution-problems")) }
                            th scope="col" { (say("institution-aside")) }
                        } }
                        tbody {
                            @for batch in &source.batches {
                                tr {
                                    th scope="row" { (batch.day) }
                                    td { (thousands(batch.files)) }
                                    td { (thousands(batch.records)) }
                                    td { (thousands(batch.bytes.div_ceil(1024))) }
                                    td { (codes(&batch.problems)) }
                                    td { (codes(&batch.quarantined)) }
                                }
                            }
                        }
                    }
                }
            }
        }
        section aria-labelledby="agreements" {
            h2 #agreements { (say("institution-agreements")) }
            p { (say("institution-agreements-more")) }
            dl.facts {
                @for purpose in Purpose::ALL {
                    dt { (say(&format!("purpose-{purpose}"))) }
                    dd { (texts.count("institution-for", source.permitted.get(&purpose).copied().unwrap_or_default())) }
                }
                @if let Some(day) = source.permitted_until { dt { (say("institution-until")) } dd { (day) } }
                @if source.ended > 0 { dt { (say("institution-ended")) } dd { (texts.count("institution-for", source.ended)) } }
                @if source.unsaid > 0 { dt { (say("institution-unsaid")) } dd { (texts.count("institution-for", source.unsaid)) } }
            }
            @if source.donors > 0 {
                form method="post" action="/institution/permit" {
                    fieldset.ask {
                        legend { (say("institution-permit")) }
                        (boxes(texts))
                        p.field {
                            label for="until" { (say("institution-last-day")) }
                            input #until type="date" name="until";
                        }
                    }
                    p.buttons { button.button type="submit" { (say("institution-permit-button")) } }
                }
                form method="post" action="/institution/end" {
                    p.buttons { button.button.stop type="submit" { (say("institution-end-button")) } }
                }
            }
        }
        section aria-labelledby="status" {
            h2 #status { (say("institution-status")) }
            @if source.versions.is_empty() { p { (say("institution-unpublished")) } } @else {
                ul {
                    @for held in &source.versions {
                        @let values = [("dataset", held.dataset.as_str()), ("version", &held.version), ("day", &held.published_on.to_string())];
                        li {
                            (texts.say_with(if held.served { "institution-version" } else { "institution-version-down" }, &values))
                            " "
                            @match held.people { Some(people) => (texts.count("institution-in-it", people)), None => (say("institution-unknown")) }
                        }
                    }
                }
            }
        }
    }
}
