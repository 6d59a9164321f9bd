//! What browsers send: forms, languages.

use axum::http::HeaderMap;
use axum::http::header;

/// Fields of a form, `application/x-www-form-urlencoded`, or of a query.
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn of(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// The language for a reader: what was chosen, or else what the browser asks for most (RFC 9110 §12.5.4), or else the first.
pub(crate) fn language<'l>(languages: &'l [String], chosen: Option<&str>, headers: &HeaderMap) -> &'l str {
    let known = |wanted: &str| {
        let base = wanted.split('-').next().unwrap_or(wanted);
        let same = |one: &&String| one.eq_ignore_ascii_case(wanted);
        languages.iter().find(same).or_else(|| languages.iter().find(|one| one.eq_ignore_ascii_case(base)))
    };
    if let Some(found) = chosen.and_then(known) {
        return found;
    }
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut best: Option<(f32, &String)> = None;
    for part in accepted.split(',').take(32) {
        let (tag, weight) = part.split_once(';').unwrap_or((part, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(1.0, |text| text.parse().unwrap_or(0.0));
        if let Some(found) = known(tag.trim()).filter(|_| weight > 0.0)
            && best.is_none_or(|(before, _)| weight > before)
        {
            best = Some((weight, found));
        }
    }
    best.map(|(_, found)| found).or(languages.first()).map_or("en", String::as_str)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_language_is_the_chosen_or_the_best_accepted_one() {
        let languages = ["en", "de", "fr"].map(str::to_owned);
        let of = |chosen, accepted| language(&languages, chosen, &headers(&[("accept-language", accepted)]));
        assert_eq!(of(Some("fr"), "de"), "fr");
        assert_eq!(of(Some("xx"), "de-AT,de;q=0.9"), "de");
        assert_eq!(of(None, "it, fr;q=0.3, de;q=0.7"), "de");
        assert_eq!(of(None, "de;q=0, fr;q=nonsense"), "en");
        assert_eq!(language(&languages, None, &HeaderMap::new()), "en");
        assert_eq!(language(&[], None, &HeaderMap::new()), "en");
    }

    #[test]
    fn fields() {
        let fields = Fields::of(b"purpose=research&purpose=model-training&empty=&x=%C3%A4+b");
        assert_eq!(fields.all("purpose").collect::<Vec<_>>(), ["research", "model-training"]);
        assert_eq!((fields.get("empty"), fields.get("x"), fields.get("no")), (Some(""), Some("ä b"), None));
    }
}
