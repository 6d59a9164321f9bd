//! Invented people. Names are put together so that no ordinary word is among them.

use chrono::{Datelike, Days, NaiveDate};
use rand::{Rng, RngExt};

/// Who a simulated donor is.
pub(crate) struct Person {
    pub(crate) given: String,
    pub(crate) family: String,
    pub(crate) street: String,
    pub(crate) city: String,
    pub(crate) postal_code: String,
    pub(crate) phone: String,
    pub(crate) email: String,
    pub(crate) insurance_number: String,
    pub(crate) record_number: String,
    pub(crate) birth: NaiveDate,
    pub(crate) diagnosis: NaiveDate,
}

const GIVEN_START: [&str; 12] =
    ["Ari", "Belu", "Cosi", "Daré", "Elwi", "Fenja", "Gül", "Hede", "Iró", "Jolan", "Kaisu", "Lové"];
const GIVEN_END: [&str; 10] = ["tta", "nka", "rike", "lotta", "mée", "dora", "zine", "velle", "šina", "giska"];
const FAMILY_START: [&str; 14] =
    ["Brö", "Clav", "Drex", "Eyß", "Fjor", "Grünw", "Hask", "Ipsw", "Kråk", "Lyndq", "Mørk", "Nij", "Oszt", "Żab"];
const FAMILY_MIDDLE: [&str; 10] =
    ["ander", "embor", "ilgo", "ovic", "ulmé", "ynthe", "asken", "edrow", "iqué", "olbru"];
const FAMILY_END: [&str; 9] = ["sson", "witz", "gård", "mann-Ohl", "czyk", "huizen", "feldt", "ová", "quist"];
const STREETS: [&str; 8] =
    ["Kiefernweg", "Molenstraat", "Rue Verlaine", "Calle Aguirre", "Lärchenallee", "Zandpad", "Via Orti", "Storgatan"];
const CITIES: [&str; 6] =
    ["Obersülzbach", "Nieuwkerkerveen", "Villarrodrigo", "Brodöskov", "Montélignac", "Krzywowice"];

fn pick<'a>(rng: &mut impl Rng, from: &[&'a str]) -> &'a str {
    from[rng.random_range(0..from.len())]
}

fn digits(rng: &mut impl Rng, count: usize) -> String {
    (0..count).map(|at| char::from(b'0' + rng.random_range(u8::from(at == 0)..10))).collect()
}

pub(crate) fn person(rng: &mut impl Rng, at: usize) -> Person {
    let given = format!("{}{}", pick(rng, &GIVEN_START), pick(rng, &GIVEN_END));
    let family = format!("{}{}{}", pick(rng, &FAMILY_START), pick(rng, &FAMILY_MIDDLE), pick(rng, &FAMILY_END));
    let diagnosis = NaiveDate::from_ymd_opt(2004, 1, 1).unwrap_or_default() + Days::new(rng.random_range(0..6200));
    // Triangular around 56: most are diagnosed between 45 and 70.
    let age_days = (rng.random_range(25.0..60.0_f64) + rng.random_range(0.0..30.0_f64)) * 365.25;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an age in days")]
    let birth = diagnosis - Days::new(age_days as u64);
    let email = format!("{}.{}@post.example", plain(&given), plain(&family));
    Person {
        street: format!("{} {}", pick(rng, &STREETS), rng.random_range(101..999)),
        city: pick(rng, &CITIES).to_owned(),
        postal_code: digits(rng, 5),
        phone: format!("+31 6 {}", digits(rng, 8)),
        insurance_number: format!("{}{}", ["A", "K", "M", "X"][at % 4], digits(rng, 9)),
        record_number: format!("MRN-{}", digits(rng, 8)),
        email,
        given,
        family,
        birth,
        diagnosis,
    }
}

fn plain(name: &str) -> String {
    name.to_lowercase().chars().filter(char::is_ascii_alphabetic).collect()
}

impl Person {
    /// What must never leave. The postal code alone is five digits and would be found by chance, so it is left out.
    pub(crate) fn identifiers(&self) -> Vec<String> {
        vec![
            self.family.clone(),
            format!("{} {}", self.given, self.family),
            self.street.clone(),
            self.city.clone(),
            self.phone.clone(),
            self.phone.replace(' ', ""),
            self.email.clone(),
            self.insurance_number.clone(),
            self.record_number.clone(),
            self.birth.to_string(),
        ]
    }

    /// What one donor sends instead of a record.
    pub(crate) fn letter(&self) -> String {
        format!(
            "Dear trustee,\n\nplease find my record attached. I was born on {:02}.{:02}.{} and live at {}, {} {}.\nYou can call me: {}\n\n{} {}\n",
            self.birth.day(),
            self.birth.month(),
            self.birth.year(),
            self.street,
            self.postal_code,
            self.city,
            self.phone,
            self.given,
            self.family
        )
    }
}
