//! What a licence asks of works made from what it covers, for the licences that data and models come under.

/// What a licence asks. A licence that is not known here asks nothing that a program could tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// Works made from it stand under the same licence.
    pub share_alike: bool,
    /// It may not be used to earn money.
    pub non_commercial: bool,
    /// Works made from it may not be given away.
    pub no_derivatives: bool,
}

/// Why a work under one licence may not be made from what stands under another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// It must stand under the same licence.
    ShareAlike,
    /// It must keep others from earning money with it.
    NonCommercial,
    /// It may not be given away at all.
    NoDerivatives,
}

impl Conflict {
    /// What the licence asks, for a sentence.
    pub fn asks(self) -> &'static str {
        match self {
            Self::ShareAlike => "asks that what is made from it stands under the same licence",
            Self::NonCommercial => "allows no use for money, which the licence of the model does",
            Self::NoDerivatives => "does not allow what is made from it to be given away",
        }
    }
}

/// Share-alike and copyleft licences by the beginning of their SPDX id, the version left out.
const SHARE_ALIKE: [&str; 12] = [
    "cc-by-sa-",
    "cc-by-nc-sa-",
    "odbl-",
    "cdla-sharing-",
    "gfdl-",
    "gpl-",
    "agpl-",
    "lgpl-",
    "eupl-",
    "cecill-2",
    "osl-",
    "cal-",
];

impl Terms {
    /// Of an SPDX id.
    pub fn of(spdx: &str) -> Self {
        let id = spdx.to_ascii_lowercase();
        let creative = id.starts_with("cc-by-");
        Self {
            share_alike: family(&id).is_some(),
            non_commercial: (creative && id.contains("-nc-")) || id.starts_with("polyform-noncommercial-"),
            no_derivatives: creative && id.contains("-nd-"),
        }
    }
}

/// The share-alike family of a lower-case SPDX id.
fn family(id: &str) -> Option<&'static str> {
    SHARE_ALIKE.into_iter().find(|family| id.starts_with(family))
}

/// The version in an SPDX id, such as 4.0 of `cc-by-sa-4.0` or 3.0 of `gpl-3.0-only`.
fn number(id: &str, family: &str) -> Option<(u32, u32)> {
    let rest = id.strip_prefix(family)?;
    let (major, minor) = rest.split('-').next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Why a work under the licence `own` may not be made from what stands under `source`; both SPDX ids. A later version of a
/// share-alike licence is taken for the same one (CC BY-SA 4.0, section 3(b)(1); ODbL 1.0, section 4.4).
pub fn conflict(source: &str, own: &str) -> Option<Conflict> {
    let (source, own) = (source.to_ascii_lowercase(), own.to_ascii_lowercase());
    let asks = Terms::of(&source);
    if asks.no_derivatives {
        return Some(Conflict::NoDerivatives);
    }
    if let Some(kept) = family(&source) {
        let same = own == source
            || (family(&own) == Some(kept)
                && number(&source, kept).zip(number(&own, kept)).is_some_and(|(old, new)| new >= old)
                // "Only" means this version.
                && !source.ends_with("-only"));
        if !same {
            return Some(Conflict::ShareAlike);
        }
    }
    (asks.non_commercial && !Terms::of(&own).non_commercial).then_some(Conflict::NonCommercial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_carried_or_refused() {
        for (source, own, expected) in [
            ("CC0-1.0", "Apache-2.0", None),
            ("CC-BY-4.0", "MIT", None),
            ("CC-BY-SA-4.0", "CC-BY-SA-4.0", None),
            ("CC-BY-SA-3.0", "CC-BY-SA-4.0", None),
            ("CC-BY-SA-4.0", "CC-BY-SA-3.0", Some(Conflict::ShareAlike)),
            ("CC-BY-SA-4.0", "CC-BY-4.0", Some(Conflict::ShareAlike)),
            ("CC-BY-SA-4.0", "Apache-2.0", Some(Conflict::ShareAlike)),
            ("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", Some(Conflict::ShareAlike)),
            ("ODbL-1.0", "CC-BY-SA-4.0", Some(Conflict::ShareAlike)),
            ("ODbL-1.0", "ODbL-1.0", None),
            ("CC-BY-NC-4.0", "CC-BY-4.0", Some(Conflict::NonCommercial)),
            ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", None),
            ("CC-BY-NC-4.0", "PolyForm-Noncommercial-1.0.0", None),
            ("CC-BY-NC-SA-4.0", "CC-BY-NC-SA-4.0", None),
            ("CC-BY-NC-SA-4.0", "CC-BY-SA-4.0", Some(Conflict::ShareAlike)),
            ("CC-BY-ND-4.0", "CC-BY-ND-4.0", Some(Conflict::NoDerivatives)),
            ("CC-BY-NC-ND-4.0", "CC-BY-NC-ND-4.0", Some(Conflict::NoDerivatives)),
            ("GPL-3.0-only", "GPL-3.0-or-later", Some(Conflict::ShareAlike)),
            ("GPL-2.0-or-later", "GPL-3.0-or-later", None),
            ("AGPL-3.0-only", "GPL-3.0-only", Some(Conflict::ShareAlike)),
            ("cdla-sharing-1.0", "CDLA-Sharing-1.0", None),
        ] {
            assert_eq!(conflict(source, own), expected, "{source} to {own}");
        }
    }
}
