//! What browsers send: cookies, forms, languages.

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

/// A cookie by its name (RFC 6265 §5.4).
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
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

/// Whether a request was sent by a page of `origin`. Browsers say so of every form and script; who says nothing is not believed.
pub(crate) fn same_origin(headers: &HeaderMap, origin: &str) -> bool {
    let said = |name: &str| headers.get(name).map(|value| value.as_bytes());
    match said("sec-fetch-site") {
        Some(site) => site == b"same-origin" && said("origin").is_none_or(|said| said == origin.as_bytes()),
        None => said("origin") == Some(origin.as_bytes()),
    }
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
    fn only_pages_of_this_node_are_believed() {
        let own = "https://data.example.org";
        let from = |pairs: &[(&'static str, &'static str)]| same_origin(&headers(pairs), own);
        assert!(from(&[("origin", own)]) && from(&[("sec-fetch-site", "same-origin")]));
        assert!(from(&[("origin", own), ("sec-fetch-site", "same-origin")]));
        for forged in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "https://data.example.org.evil.example")],
            &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
            &[("origin", own), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(!from(forged), "{forged:?}");
        }
    }

    #[test]
    fn cookies_and_fields() {
        let headers = headers(&[("cookie", "a=1; session=x=y; b"), ("cookie", "language=de")]);
        assert_eq!((cookie(&headers, "session"), cookie(&headers, "language")), (Some("x=y"), Some("de")));
        assert_eq!((cookie(&headers, "b"), cookie(&headers, "sess")), (None, None));
        let fields = Fields::of(b"purpose=research&purpose=model-training&empty=&x=%C3%A4+b");
        assert_eq!(fields.all("purpose").collect::<Vec<_>>(), ["research", "model-training"]);
        assert_eq!((fields.get("empty"), fields.get("x"), fields.get("no")), (Some(""), Some("ä b"), None));
    }
}
