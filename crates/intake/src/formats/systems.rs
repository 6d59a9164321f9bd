//! Names of code systems: what HL7 v2 (table 0396) and CDA (OIDs) call what FHIR names by a URI.
//!
//! Facts of the HL7 OID registry and HL7 table 0396.

use std::borrow::Cow;

struct System {
    uri: &'static str,
    oid: &'static str,
    /// Names in HL7 v2, upper case.
    names: &'static [&'static str],
}

const fn system(uri: &'static str, oid: &'static str, names: &'static [&'static str]) -> System {
    System { uri, oid, names }
}

pub(crate) const LOINC: &str = "http://loinc.org";
pub(crate) const SNOMED: &str = "http://snomed.info/sct";
/// CDC race and ethnicity.
pub(crate) const RACE: &str = "urn:oid:2.16.840.1.113883.6.238";

const SYSTEMS: &[System] = &[
    system(LOINC, "2.16.840.1.113883.6.1", &["LN", "LNC", "LOINC"]),
    system(SNOMED, "2.16.840.1.113883.6.96", &["SCT", "SNM3", "SNOMED-CT", "SNOMEDCT"]),
    system("http://www.nlm.nih.gov/research/umls/rxnorm", "2.16.840.1.113883.6.88", &["RXNORM", "RXN"]),
    system("http://unitsofmeasure.org", "2.16.840.1.113883.6.8", &["UCUM"]),
    system("http://hl7.org/fhir/sid/icd-10-cm", "2.16.840.1.113883.6.90", &["I10C", "ICD10CM", "ICD-10-CM"]),
    system("http://hl7.org/fhir/sid/icd-10", "2.16.840.1.113883.6.3", &["I10", "ICD10", "ICD-10"]),
    system("http://hl7.org/fhir/sid/icd-9-cm", "2.16.840.1.113883.6.103", &["I9", "I9C", "I9CDX", "ICD9", "ICD9CM"]),
    system("http://hl7.org/fhir/sid/icd-9-cm", "2.16.840.1.113883.6.104", &["I9CP"]),
    system("http://www.cms.gov/Medicare/Coding/ICD10", "2.16.840.1.113883.6.4", &["I10P", "ICD10PCS"]),
    system("http://hl7.org/fhir/sid/cvx", "2.16.840.1.113883.12.292", &["CVX"]),
    // The OID under which older documents name CVX.
    system("http://hl7.org/fhir/sid/cvx", "2.16.840.1.113883.6.59", &[]),
    system("http://hl7.org/fhir/sid/ndc", "2.16.840.1.113883.6.69", &["NDC"]),
    system("http://www.ama-assn.org/go/cpt", "2.16.840.1.113883.6.12", &["C4", "CPT", "CPT4", "CPTM"]),
    system("http://www.nlm.nih.gov/research/umls/hcpcs", "2.16.840.1.113883.6.285", &["HCPCS", "HPC"]),
    system("http://fdasis.nlm.nih.gov", "2.16.840.1.113883.4.9", &["UNII"]),
    system("http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl", "2.16.840.1.113883.3.26.1.1", &["NCIT"]),
    system(RACE, "2.16.840.1.113883.6.238", &["CDCREC"]),
];

/// The URI of an OID; `urn:oid:…` where none is known.
pub(crate) fn of_oid(oid: &str) -> Cow<'_, str> {
    match SYSTEMS.iter().find(|system| system.oid == oid) {
        Some(system) => Cow::Borrowed(system.uri),
        None if oid.is_empty() => Cow::Borrowed(""),
        None => Cow::Owned(format!("urn:oid:{oid}")),
    }
}

/// The URI of a name in HL7 v2; a table of HL7 itself by its number; the name as it is where none is known.
pub(crate) fn of_name(name: &str) -> Cow<'_, str> {
    let known = |system: &&System| system.names.iter().any(|own| own.eq_ignore_ascii_case(name));
    if let Some(system) = SYSTEMS.iter().find(known) {
        return Cow::Borrowed(system.uri);
    }
    let number = name.strip_prefix("HL7").filter(|number| number.len() == 4);
    match number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(number) => Cow::Owned(format!("http://terminology.hl7.org/CodeSystem/v2-{number}")),
        None => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_have_one_uri_by_oid_and_by_name() {
        assert_eq!((of_oid("2.16.840.1.113883.6.1"), of_name("ln")), (Cow::Borrowed(LOINC), Cow::Borrowed(LOINC)));
        assert_eq!(of_oid("1.2.3"), "urn:oid:1.2.3");
        assert_eq!(of_name("HL70078"), "http://terminology.hl7.org/CodeSystem/v2-0078");
        assert_eq!((of_name("L"), of_oid("")), (Cow::Borrowed("L"), Cow::Borrowed("")));
        for (at, system) in SYSTEMS.iter().enumerate() {
            assert!(SYSTEMS[..at].iter().all(|other| other.oid != system.oid), "{}", system.oid);
        }
    }
}
