//! Conditions that a donor puts on a consent, in terms of the Data Use Ontology, and what they say about a request.
//!
//! Source: DUO release 2021-02-23 (`data/duo.csv`); matching as in Lawson et al., Cell Genomics 2021, but closed: a fact
//! that is not known denies. What only a person can judge is referred.

use std::collections::BTreeSet;

use acequia_types::Day;
use serde::{Deserialize, Serialize};

use crate::evaluate::{Reason, Reasons};

macro_rules! terms {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $short:literal;)*) => {
        /// A term of the Data Use Ontology that is in use. Grouping and retired terms cannot be written.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum DuoTerm {
            $($(#[$doc])* $name,)*
        }

        impl DuoTerm {
            /// Every term in use, by number.
            pub const ALL: [Self; 23] = [$(Self::$name),*];

            /// Its id, such as `DUO:0000006`.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => concat!("DUO:", $number),)* }
            }

            /// Its short name, such as `HMB`.
            pub const fn short(self) -> &'static str {
                match self { $(Self::$name => $short,)* }
            }
        }
    };
}

terms! {
    /// No restriction.
    NoRestriction = "0000004", "NRES";
    /// Health, medical or biomedical research.
    HealthResearch = "0000006", "HMB";
    /// Research on named diseases.
    Disease = "0000007", "DS";
    /// Population origins or ancestry research only.
    AncestryOnly = "0000011", "POA";
    /// Research-specific restrictions in words: a person must judge.
    ResearchSpecific = "0000012", "RS";
    /// No general methods research.
    NoMethods = "0000015", "NMDS";
    /// Genetic studies only.
    GeneticOnly = "0000016", "GSO";
    /// Not-for-profit organisations and non-commercial use only.
    NotForProfitNotCommercial = "0000018", "NPUNCU";
    /// Results must be published.
    Publication = "0000019", "PUB";
    /// Collaboration with the source is required.
    Collaboration = "0000020", "COL";
    /// Ethics approval is required.
    Ethics = "0000021", "IRB";
    /// Named countries only.
    Geography = "0000022", "GS";
    /// No publication before a day.
    Moratorium = "0000024", "MOR";
    /// Until a day only.
    TimeLimit = "0000025", "TS";
    /// Named users only.
    User = "0000026", "US";
    /// Named projects only.
    Project = "0000027", "PS";
    /// Named institutions only.
    Institution = "0000028", "IS";
    /// Derived data must be returned.
    Return = "0000029", "RTN";
    /// General research use.
    GeneralResearch = "0000042", "GRU";
    /// Clinical care.
    ClinicalCare = "0000043", "CC";
    /// No population origins or ancestry research.
    NoAncestry = "0000044", "NPOA";
    /// Not-for-profit organisations only.
    NotForProfit = "0000045", "NPU";
    /// Non-commercial use only.
    NotCommercial = "0000046", "NCU";
}

impl DuoTerm {
    /// What whoever has the data keeps to, as a sentence. What the named ones are stands beside it.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::NoRestriction => "Any use is allowed.",
            Self::GeneralResearch => "The data are used for research.",
            Self::HealthResearch => "The data are used for health, medical or biomedical research only.",
            Self::Disease => "The data are used for research on the named diseases only.",
            Self::AncestryOnly => "The data are used for research on population origins or ancestry only.",
            Self::NoAncestry => "The data are not used for research on population origins or ancestry.",
            Self::ResearchSpecific => "The data are used for the studies only that the trustee describes.",
            Self::NoMethods => "The data are not used to develop methods or algorithms.",
            Self::GeneticOnly => "The data are used for genetic studies only.",
            Self::NotForProfitNotCommercial => {
                "The data are used by not-for-profit organisations only, and not commercially."
            }
            Self::NotForProfit => "The data are used by not-for-profit organisations only.",
            Self::NotCommercial => "The data are not used commercially.",
            Self::Publication => "The results are made available to the scientific community.",
            Self::Collaboration => "The work is done together with those who gave the data.",
            Self::Ethics => "An ethics committee approved the study.",
            Self::Geography => "The data are used in the named countries only.",
            Self::Moratorium => "Nothing is published before the named day.",
            Self::TimeLimit => "The data are used until the named day only.",
            Self::User => "The data are used by the named persons only.",
            Self::Project => "The data are used for the named projects only.",
            Self::Institution => "The data are used at the named institutions only.",
            Self::Return => "What is derived from the data is given back to those who gave them.",
            Self::ClinicalCare => "The data are used for clinical care.",
        }
    }

    /// Reads an id. Unknown, grouping and retired ids are `None`, and what names them cannot be read, which denies.
    pub fn parse(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|term| term.id() == id)
    }
}

/// Who may have what is given under a condition, or under all of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Anybody, without saying who they are.
    #[default]
    Open,
    /// Who is signed in and promises to keep the conditions.
    Registered,
    /// Whom people at the trustee decided for.
    Controlled,
}

impl Tier {
    /// The word used in files and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Registered => "registered",
            Self::Controlled => "controlled",
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl DuoTerm {
    /// Who may have what is given under this term: anybody where it restricts nothing; who promises it where it is about her own use;
    /// and where somebody else has to look at papers, names or places, whom people decided for. The tiers are those of registered and
    /// controlled access in Dyke et al., European Journal of Human Genetics 2018.
    pub const fn tier(self) -> Tier {
        match self {
            Self::NoRestriction | Self::GeneralResearch => Tier::Open,
            Self::HealthResearch
            | Self::Disease
            | Self::AncestryOnly
            | Self::NoAncestry
            | Self::NoMethods
            | Self::GeneticOnly
            | Self::ClinicalCare
            | Self::NotForProfitNotCommercial
            | Self::NotForProfit
            | Self::NotCommercial
            | Self::Publication
            | Self::Return
            | Self::Moratorium
            | Self::TimeLimit => Tier::Registered,
            Self::ResearchSpecific
            | Self::Collaboration
            | Self::Ethics
            | Self::Geography
            | Self::User
            | Self::Project
            | Self::Institution => Tier::Controlled,
        }
    }
}

impl TryFrom<String> for DuoTerm {
    type Error = &'static str;
    fn try_from(id: String) -> Result<Self, Self::Error> {
        Self::parse(&id).ok_or("not a term of the Data Use Ontology that is in use")
    }
}

impl From<DuoTerm> for String {
    fn from(term: DuoTerm) -> Self {
        term.id().to_owned()
    }
}

/// A kind of data that a donor may hold back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataClass {
    /// Coded and measured entries of a record.
    Structured,
    /// Images.
    Imaging,
    /// Letters and notes.
    Text,
    /// Genetic sequences and variants.
    Genomic,
}

/// A country by ISO 3166-1 alpha-2 code, such as `DE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Country([u8; 2]);

impl Country {
    /// Reads two capital letters.
    pub fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Some(Self([*a, *b])),
            _ => None,
        }
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl TryFrom<String> for Country {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a country code of ISO 3166-1 alpha-2")
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.as_str().to_owned()
    }
}

/// What a donor makes a consent depend on. Empty lists restrict nothing unless their term is named: `DUO:0000022` with no
/// country allows no country.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Terms that must all be met.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub duo: BTreeSet<DuoTerm>,
    /// Countries for `DUO:0000022`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub countries: BTreeSet<Country>,
    /// Diseases for `DUO:0000007`, such as `MONDO:0007254`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub diseases: BTreeSet<String>,
    /// Institutions for `DUO:0000028`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub institutions: BTreeSet<String>,
    /// Projects for `DUO:0000027`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub projects: BTreeSet<String>,
    /// Users for `DUO:0000026`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<String>,
    /// The only kinds of data that are given; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_classes: Option<BTreeSet<DataClass>>,
    /// Whether the consent is meant to go on after death.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub after_death: bool,
}

/// Where what is asked for would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Not known.
    #[default]
    Unknown,
    /// Everywhere, as with an open publication.
    World,
    /// One country.
    Country(Country),
}

/// Facts about who asks and for what use. `None` means not known, and denies wherever a condition depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Facts {
    /// The use is for profit.
    pub commercial: Option<bool>,
    /// The organisation works not for profit.
    pub not_for_profit: Option<bool>,
    /// It is research.
    pub research: Option<bool>,
    /// It is health, medical or biomedical research.
    pub health_research: Option<bool>,
    /// It is about population origins or ancestry.
    pub ancestry_research: Option<bool>,
    /// It develops methods.
    pub methods_research: Option<bool>,
    /// It is a genetic study.
    pub genetic_study: Option<bool>,
    /// It is for the care of patients.
    pub clinical_care: Option<bool>,
    /// Diseases studied, each with its ancestors in the disease ontology.
    pub diseases: Option<BTreeSet<String>>,
    /// Who uses it.
    pub user: Option<String>,
    /// For which project.
    pub project: Option<String>,
    /// At which institution.
    pub institution: Option<String>,
    /// Where.
    pub reach: Reach,
    /// An ethics committee approved it. Not known: refer.
    pub ethics_approved: Option<bool>,
    /// They promised to publish. Not known: refer.
    pub will_publish: Option<bool>,
    /// They promised to collaborate. Not known: refer.
    pub will_collaborate: Option<bool>,
    /// They promised to return derived data. Not known: refer.
    pub will_return: Option<bool>,
    /// They promised to wait until the moratorium ends. Not known: refer.
    pub will_wait: Option<bool>,
    /// Conditions that whoever has it is held to, whatever else is known.
    #[serde(skip_serializing_if = "Conditions::is_empty")]
    pub terms: Conditions,
}

impl Facts {
    /// What is known when something is published openly: anybody may use it anywhere and for anything, so that every
    /// restriction denies.
    pub fn of_open_publication() -> Self {
        Self { reach: Reach::World, commercial: Some(true), not_for_profit: Some(false), ..Self::default() }
    }

    /// What is known of everybody who may have what is published under these terms: nothing but that they are held to them.
    pub fn of_publication(terms: &Conditions) -> Self {
        let mut countries = terms.countries.iter();
        let reach = match (countries.next(), countries.next()) {
            (Some(only), None) if terms.duo.contains(&DuoTerm::Geography) => Reach::Country(*only),
            _ => Reach::World,
        };
        Self { reach, terms: terms.clone(), ..Self::of_open_publication() }
    }
}

enum Met {
    Yes,
    No,
    AskSomebody(Reason),
}

/// A condition that a known `true` meets; not known denies.
fn known(fact: Option<bool>, wanted: bool) -> Met {
    if fact == Some(wanted) { Met::Yes } else { Met::No }
}

/// A promise or paper: `true` meets it, `false` does not, not known is asked for.
fn shown(fact: Option<bool>, reason: Reason) -> Met {
    match fact {
        Some(true) => Met::Yes,
        Some(false) => Met::No,
        None => Met::AskSomebody(reason),
    }
}

fn named(fact: Option<&String>, allowed: &BTreeSet<String>) -> Met {
    if fact.is_some_and(|name| allowed.contains(name)) { Met::Yes } else { Met::No }
}

/// No conditions at all.
static NONE: Conditions = Conditions {
    duo: BTreeSet::new(),
    countries: BTreeSet::new(),
    diseases: BTreeSet::new(),
    institutions: BTreeSet::new(),
    projects: BTreeSet::new(),
    users: BTreeSet::new(),
    data_classes: None,
    after_death: false,
};

impl Conditions {
    /// No conditions at all.
    pub fn none() -> &'static Self {
        &NONE
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == NONE
    }

    /// Who may have what is published under all of them: the strictest tier of a term.
    pub fn tier(&self) -> Tier {
        self.duo.iter().map(|term| term.tier()).max().unwrap_or_default()
    }

    /// Whether whoever keeps these conditions keeps `term` of `theirs`, too. What only words say keeps no other words.
    pub fn keep(&self, term: DuoTerm, theirs: &Self) -> bool {
        let has = |term| self.duo.contains(&term);
        fn within<T: Ord>(ours: &BTreeSet<T>, theirs: &BTreeSet<T>) -> bool {
            !ours.is_empty() && ours.is_subset(theirs)
        }
        match term {
            DuoTerm::NoRestriction => true,
            // Whoever studies a disease does health research, and whoever does that, research.
            DuoTerm::GeneralResearch => [
                DuoTerm::GeneralResearch,
                DuoTerm::HealthResearch,
                DuoTerm::Disease,
                DuoTerm::AncestryOnly,
                DuoTerm::GeneticOnly,
            ]
            .into_iter()
            .any(has),
            DuoTerm::HealthResearch => has(DuoTerm::HealthResearch) || has(DuoTerm::Disease),
            DuoTerm::Disease => has(term) && within(&self.diseases, &theirs.diseases),
            DuoTerm::Geography => has(term) && within(&self.countries, &theirs.countries),
            DuoTerm::User => has(term) && within(&self.users, &theirs.users),
            DuoTerm::Project => has(term) && within(&self.projects, &theirs.projects),
            DuoTerm::Institution => has(term) && within(&self.institutions, &theirs.institutions),
            DuoTerm::NotForProfit => has(term) || has(DuoTerm::NotForProfitNotCommercial),
            DuoTerm::NotCommercial => has(term) || has(DuoTerm::NotForProfitNotCommercial),
            DuoTerm::NotForProfitNotCommercial => {
                has(term) || (has(DuoTerm::NotForProfit) && has(DuoTerm::NotCommercial))
            }
            // Whatever the words are, they are others' words; and the last day is compared by the evaluator.
            DuoTerm::ResearchSpecific | DuoTerm::TimeLimit => false,
            DuoTerm::AncestryOnly
            | DuoTerm::NoAncestry
            | DuoTerm::NoMethods
            | DuoTerm::GeneticOnly
            | DuoTerm::ClinicalCare
            | DuoTerm::Publication
            | DuoTerm::Collaboration
            | DuoTerm::Ethics
            | DuoTerm::Return
            | DuoTerm::Moratorium => has(term),
        }
    }

    fn met(&self, term: DuoTerm, facts: &Facts, last_day: Option<Day>) -> Met {
        if facts.terms.keep(term, self) {
            return Met::Yes;
        }
        match term {
            DuoTerm::NoRestriction => Met::Yes,
            DuoTerm::GeneralResearch => known(facts.research, true),
            DuoTerm::HealthResearch => known(facts.health_research, true),
            DuoTerm::Disease => match &facts.diseases {
                Some(diseases) if !diseases.is_disjoint(&self.diseases) => Met::Yes,
                _ => Met::No,
            },
            DuoTerm::AncestryOnly => known(facts.ancestry_research, true),
            DuoTerm::NoAncestry => known(facts.ancestry_research, false),
            DuoTerm::NoMethods => known(facts.methods_research, false),
            DuoTerm::GeneticOnly => known(facts.genetic_study, true),
            DuoTerm::ClinicalCare => known(facts.clinical_care, true),
            DuoTerm::NotForProfitNotCommercial => match facts.not_for_profit {
                Some(true) => known(facts.commercial, false),
                _ => Met::No,
            },
            DuoTerm::NotForProfit => known(facts.not_for_profit, true),
            DuoTerm::NotCommercial => known(facts.commercial, false),
            DuoTerm::Geography => match facts.reach {
                Reach::Country(country) if self.countries.contains(&country) => Met::Yes,
                _ => Met::No,
            },
            // The day itself is compared by the evaluator; a time limit without one says nothing that could be kept.
            DuoTerm::TimeLimit => known(Some(last_day.is_some()), true),
            DuoTerm::User => named(facts.user.as_ref(), &self.users),
            DuoTerm::Project => named(facts.project.as_ref(), &self.projects),
            DuoTerm::Institution => named(facts.institution.as_ref(), &self.institutions),
            DuoTerm::ResearchSpecific => Met::AskSomebody(Reason::AskResearchSpecific),
            DuoTerm::Ethics => shown(facts.ethics_approved, Reason::AskEthics),
            DuoTerm::Publication => shown(facts.will_publish, Reason::AskPromise),
            DuoTerm::Collaboration => shown(facts.will_collaborate, Reason::AskPromise),
            DuoTerm::Return => shown(facts.will_return, Reason::AskPromise),
            DuoTerm::Moratorium => shown(facts.will_wait, Reason::AskPromise),
        }
    }

    /// What the conditions say about a request: nothing when all are met.
    pub fn judge(&self, facts: &Facts, data_class: DataClass, last_day: Option<Day>) -> Reasons {
        let mut reasons = Reasons::NONE;
        for term in &self.duo {
            match self.met(*term, facts, last_day) {
                Met::Yes => {}
                Met::No => reasons.add(Reason::Condition),
                Met::AskSomebody(reason) => reasons.add(reason),
            }
        }
        if self.data_classes.as_ref().is_some_and(|classes| !classes.contains(&data_class)) {
            reasons.add(Reason::DataClass);
        }
        reasons
    }
}

/// What holds for a data set made of many donors' data: all terms of all donors together, each list narrowed to what every
/// donor who names the term allows. Who meets them meets each donor's; a request about one disease that meets each donor's
/// meets them, so this is the greatest such set of terms.
pub fn joint_terms<'a>(all: impl IntoIterator<Item = &'a Conditions>) -> Conditions {
    fn narrow<T: Ord + Clone>(known: bool, ours: &mut BTreeSet<T>, theirs: &BTreeSet<T>) {
        if known {
            ours.retain(|name| theirs.contains(name));
        } else {
            ours.clone_from(theirs);
        }
    }
    let mut joint = Conditions { after_death: true, ..Conditions::default() };
    for theirs in all {
        let lists = [
            (DuoTerm::Disease, &theirs.diseases, &mut joint.diseases),
            (DuoTerm::Institution, &theirs.institutions, &mut joint.institutions),
            (DuoTerm::Project, &theirs.projects, &mut joint.projects),
            (DuoTerm::User, &theirs.users, &mut joint.users),
        ];
        for (term, named, ours) in lists {
            if theirs.duo.contains(&term) {
                narrow(joint.duo.contains(&term), ours, named);
            }
        }
        if theirs.duo.contains(&DuoTerm::Geography) {
            narrow(joint.duo.contains(&DuoTerm::Geography), &mut joint.countries, &theirs.countries);
        }
        joint.duo.extend(&theirs.duo);
        joint.data_classes = match (joint.data_classes.take(), &theirs.data_classes) {
            (Some(ours), Some(theirs)) => Some(ours.intersection(theirs).copied().collect()),
            (ours, theirs) => ours.or_else(|| theirs.clone()),
        };
        joint.after_death &= theirs.after_death;
    }
    joint
}
