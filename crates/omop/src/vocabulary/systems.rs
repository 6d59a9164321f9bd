//! Which vocabulary a code system is, and how that vocabulary writes its codes.

use std::borrow::Cow;

/// The OHDSI `vocabulary_id` of a code system: a FHIR URI, an OID (bare or `urn:oid:`), an HL7 v2 coding-system
/// identifier or a CURIE prefix of phenopackets. What is not in the list is returned as it is, so a vocabulary id stays.
///
/// *Source*: HL7 THO 7.0.1 (URIs and OIDs), HL7 v2.9 table 0396, vocabulary ids of Athena.
///
/// ```
/// # use acequia_omop::vocabulary_of;
/// assert_eq!(vocabulary_of("http://loinc.org"), "LOINC");
/// assert_eq!(vocabulary_of("urn:oid:2.16.840.1.113883.6.96"), "SNOMED");
/// assert_eq!(vocabulary_of("LN"), "LOINC");
/// assert_eq!(vocabulary_of("https://lab.example/codes"), "https://lab.example/codes");
/// ```
pub fn vocabulary_of(system: &str) -> &str {
    let bare = system.trim();
    let bare = bare.strip_prefix("urn:oid:").unwrap_or(bare);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    if let Some(rest) = bare.strip_prefix("http").map(|rest| rest.strip_prefix('s').unwrap_or(rest))
        && let Some(address) = rest.strip_prefix("://")
    {
        return of_address(address.strip_prefix("www.").unwrap_or(address)).unwrap_or(system);
    }
    if bare.starts_with(|first: char| first.is_ascii_digit()) {
        return of_oid(bare).unwrap_or(system);
    }
    of_name(bare).unwrap_or(system)
}

/// Address without scheme, `www.` and final slash.
fn of_address(address: &str) -> Option<&'static str> {
    Some(match address {
        "snomed.info/sct" | "snomed.info/id" => "SNOMED",
        "loinc.org" => "LOINC",
        "nlm.nih.gov/research/umls/rxnorm" => "RxNorm",
        "unitsofmeasure.org" => "UCUM",
        "hl7.org/fhir/sid/icd-10-cm" => "ICD10CM",
        "hl7.org/fhir/sid/icd-10" | "hl7.org/fhir/sid/icd-10-who" => "ICD10",
        "cms.gov/Medicare/Coding/ICD10" | "hl7.org/fhir/sid/icd-10-pcs" => "ICD10PCS",
        "fhir.de/CodeSystem/bfarm/icd-10-gm" | "fhir.de/CodeSystem/dimdi/icd-10-gm" => "ICD10GM",
        "hl7.org/fhir/sid/icd-9-cm"
        | "hl7.org/fhir/sid/icd-9-cm/diagnosis"
        | "terminology.hl7.org/CodeSystem/icd9cm" => "ICD9CM",
        "hl7.org/fhir/sid/icd-9-cm/procedure" | "cms.gov/Medicare/Coding/ICD9" => "ICD9Proc",
        "terminology.hl7.org/CodeSystem/icd-o-3" | "hl7.org/fhir/sid/icd-o-3" => "ICDO3",
        "hl7.org/fhir/sid/cvx" => "CVX",
        "hl7.org/fhir/sid/mvx" => "MVX",
        "hl7.org/fhir/sid/ndc" => "NDC",
        "cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
        | "nlm.nih.gov/research/umls/hcpcs"
        | "terminology.hl7.org/CodeSystem/HCPCS" => "HCPCS",
        "ama-assn.org/go/cpt" => "CPT4",
        "whocc.no/atc" | "fhir.de/CodeSystem/bfarm/atc" | "fhir.de/CodeSystem/dimdi/atc" => "ATC",
        "fhir.de/CodeSystem/bfarm/ops" | "fhir.de/CodeSystem/dimdi/ops" => "OPS",
        "omim.org" => "OMIM",
        "human-phenotype-ontology.org" | "purl.obolibrary.org/obo/hp.owl" | "purl.obolibrary.org/obo/hp" => "HPO",
        "purl.obolibrary.org/obo/mondo.owl" => "MONDO",
        "genenames.org" | "genenames.org/geneId" => "HGNC",
        "ncbi.nlm.nih.gov/projects/SNP" => "dbSNP",
        "ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl" => "NCIt",
        "id.nlm.nih.gov/mesh" => "MeSH",
        "terminology.hl7.org/CodeSystem/MSH" => "MeSH",
        "terminology.hl7.org/CodeSystem/mdr" | "meddra.org" => "MedDRA",
        "hl7.org/fhir/ndfrt" | "terminology.hl7.org/CodeSystem/nciNdfRt" => "NDFRT",
        "fdasis.nlm.nih.gov" => "UNII",
        "nucc.org/provider-taxonomy" => "NUCC",
        "terminology.hl7.org/CodeSystem/umls" | "nlm.nih.gov/research/umls" => "UMLS",
        "dmd.nhs.uk" => "dm+d",
        "read.info/readv2" => "Read",
        "fhir.hl7.org.uk/CodeSystem/opcs-4" | "fhir.hl7.org.uk/Id/opcs-4" => "OPCS4",
        // Published beside MIMIC-IV on FHIR.
        "mimic.mit.edu/fhir/mimic/CodeSystem/mimic-diagnosis-icd9" => "ICD9CM",
        "mimic.mit.edu/fhir/mimic/CodeSystem/mimic-diagnosis-icd10" => "ICD10CM",
        "mimic.mit.edu/fhir/mimic/CodeSystem/mimic-procedure-icd9" => "ICD9Proc",
        "mimic.mit.edu/fhir/mimic/CodeSystem/mimic-procedure-icd10" => "ICD10PCS",
        "mimic.mit.edu/fhir/mimic/CodeSystem/mimic-medication-ndc" => "NDC",
        "acequia.example/fhir/CodeSystem/clinical" => "Acequia",
        // An edition or a version of SNOMED CT.
        edition if edition.starts_with("snomed.info/sct/") => "SNOMED",
        _ => return None,
    })
}

fn of_oid(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.16.840.1.113883.6.96" => "SNOMED",
        "2.16.840.1.113883.6.1" => "LOINC",
        "2.16.840.1.113883.6.88" => "RxNorm",
        "2.16.840.1.113883.6.8" => "UCUM",
        "2.16.840.1.113883.6.90" => "ICD10CM",
        "2.16.840.1.113883.6.3" => "ICD10",
        "2.16.840.1.113883.6.4" => "ICD10PCS",
        "2.16.840.1.113883.6.103" | "2.16.840.1.113883.6.42" => "ICD9CM",
        "2.16.840.1.113883.6.104" => "ICD9Proc",
        "2.16.840.1.113883.6.43.1" => "ICDO3",
        "2.16.840.1.113883.12.292" | "2.16.840.1.113883.6.59" => "CVX",
        "2.16.840.1.113883.12.227" => "MVX",
        "2.16.840.1.113883.6.69" => "NDC",
        "2.16.840.1.113883.6.285" | "2.16.840.1.113883.6.14" => "HCPCS",
        "2.16.840.1.113883.6.12" => "CPT4",
        "2.16.840.1.113883.6.73" => "ATC",
        "2.16.840.1.113883.6.174" => "OMIM",
        "2.16.840.1.113883.6.339" => "HPO",
        "2.16.840.1.113883.6.281" => "HGNC",
        "2.16.840.1.113883.6.284" => "dbSNP",
        "2.16.840.1.113883.3.26.1.1" => "NCIt",
        "2.16.840.1.113883.6.177" => "MeSH",
        "2.16.840.1.113883.6.163" => "MedDRA",
        "2.16.840.1.113883.3.26.1.5" => "NDFRT",
        "2.16.840.1.113883.4.9" => "UNII",
        "2.16.840.1.113883.6.101" => "NUCC",
        "2.16.840.1.113883.6.86" => "UMLS",
        "2.16.840.1.113883.6.238" => "CDCREC",
        _ => return None,
    })
}

/// Names of HL7 v2 table 0396 and of CURIEs.
fn of_name(name: &str) -> Option<&'static str> {
    const NAMES: &[(&str, &str)] = &[
        ("LN", "LOINC"),
        ("SCT", "SNOMED"),
        ("SNOMEDCT", "SNOMED"),
        ("SNOMED-CT", "SNOMED"),
        ("SNOMED CT", "SNOMED"),
        ("RXNORM", "RxNorm"),
        ("I9", "ICD9CM"),
        ("I9C", "ICD9CM"),
        ("I9CDX", "ICD9CM"),
        ("I9CP", "ICD9Proc"),
        ("I10", "ICD10"),
        ("I10C", "ICD10CM"),
        ("I10P", "ICD10PCS"),
        ("ICD-9-CM", "ICD9CM"),
        ("ICD-10", "ICD10"),
        ("ICD-10-CM", "ICD10CM"),
        ("ICD-10-PCS", "ICD10PCS"),
        ("ICD-10-GM", "ICD10GM"),
        ("C4", "CPT4"),
        ("CPT", "CPT4"),
        ("CPT-4", "CPT4"),
        ("HCPCS", "HCPCS"),
        ("HP", "HPO"),
        ("NCIT", "NCIt"),
        ("MESH", "MeSH"),
        ("MEDDRA", "MedDRA"),
        ("HL70189", "CDCREC"),
        ("HL70005", "CDCREC"),
    ];
    NAMES.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, vocabulary)| *vocabulary)
}

/// A code as its vocabulary writes it: without blanks around it, ICD with the dot in its place and without the marks of
/// ICD-10-GM, NDC as 11 digits, CVX with two digits, letters of ICD, ATC, HCPCS and CPT in upper case. UCUM is left as
/// it is: its case has meaning (see [`crate::Units`]).
///
/// ```
/// # use acequia_omop::normal_code;
/// assert_eq!(normal_code("ICD9CM", "25000  "), "250.00");
/// assert_eq!(normal_code("ICD9CM", "E8889"), "E888.9");
/// assert_eq!(normal_code("ICD10CM", "e119"), "E11.9");
/// assert_eq!(normal_code("ICD10GM", "A17.0†"), "A17.0");
/// assert_eq!(normal_code("NDC", "0002-8215-01"), "00002821501");
/// ```
pub fn normal_code<'c>(vocabulary_id: &str, code: &'c str) -> Cow<'c, str> {
    let code = code.trim();
    match vocabulary_id {
        "ICD10" | "ICD10CM" | "ICD10CN" | "ICD10GM" => dotted(code, 3),
        "ICD9CM" if code.starts_with(['E', 'e']) => dotted(code, 4),
        "ICD9CM" => dotted(code, 3),
        "ICD9Proc" => dotted(code, 2),
        "ICD10PCS" | "ATC" | "HCPCS" | "CPT4" => upper(code),
        "NDC" => ndc(code),
        "CVX" if code.len() == 1 && code.bytes().all(|byte| byte.is_ascii_digit()) => Cow::Owned(format!("0{code}")),
        // `254837009 |Malignant tumor of breast|`
        "SNOMED" => Cow::Borrowed(code.split_once('|').map_or(code, |(code, _)| code.trim_end())),
        "OMIM" | "LOINC" | "NCIt" | "MONDO" => Cow::Borrowed(
            code.split_once(':')
                .filter(|(prefix, _)| prefix.eq_ignore_ascii_case(vocabulary_id))
                .map_or(code, |(_, code)| code),
        ),
        _ => Cow::Borrowed(code),
    }
}

fn upper(code: &str) -> Cow<'_, str> {
    if code.bytes().any(|byte| byte.is_ascii_lowercase()) {
        Cow::Owned(code.to_ascii_uppercase())
    } else {
        Cow::Borrowed(code)
    }
}

/// Letters and digits with a dot after the first `before`.
fn dotted(code: &str, before: usize) -> Cow<'_, str> {
    let plain: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase()).collect();
    // What is no code, such as a range, stays as it is.
    if code.chars().any(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '*' | '†' | '+' | '!' | '#')) {
        return Cow::Borrowed(code);
    }
    match plain.split_at_checked(before) {
        Some((category, rest)) if !rest.is_empty() => Cow::Owned(format!("{category}.{rest}")),
        _ => Cow::Owned(plain),
    }
}

/// The 11 digits of a National Drug Code: labeler 5, product 4, package 2, each filled up with zeros (45 CFR 162.1002).
fn ndc(code: &str) -> Cow<'_, str> {
    let mut parts = code.split('-');
    let (Some(labeler), Some(product), Some(package), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Cow::Borrowed(code);
    };
    let digits = |part: &str, most: usize| part.len() <= most && part.bytes().all(|byte| byte.is_ascii_digit());
    if digits(labeler, 5) && digits(product, 4) && digits(package, 2) {
        Cow::Owned(format!("{labeler:0>5}{product:0>4}{package:0>2}"))
    } else {
        Cow::Borrowed(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_system_leads_to_one_vocabulary() {
        for (system, vocabulary) in [
            ("http://snomed.info/sct", "SNOMED"),
            ("http://snomed.info/sct/900000000000207008/version/20240101", "SNOMED"),
            ("https://www.whocc.no/atc/", "ATC"),
            ("2.16.840.1.113883.6.104", "ICD9Proc"),
            ("urn:oid:2.16.840.1.113883.6.238", "CDCREC"),
            ("I10C", "ICD10CM"),
            ("sct", "SNOMED"),
            ("HP", "HPO"),
            ("RxNorm", "RxNorm"),
            ("LOINC", "LOINC"),
            ("http://example.org/local", "http://example.org/local"),
            ("1.2.3.999", "1.2.3.999"),
        ] {
            assert_eq!(vocabulary_of(system), vocabulary, "{system}");
        }
    }

    #[test]
    fn codes_are_written_as_their_vocabulary_writes_them() {
        for (vocabulary, code, normal) in [
            ("ICD9CM", " 4019 ", "401.9"),
            ("ICD9CM", "V1582", "V15.82"),
            ("ICD9CM", "042", "042"),
            ("ICD9Proc", "9671", "96.71"),
            ("ICD10CM", "I10", "I10"),
            ("ICD10GM", "E11.-", "E11"),
            ("ICD10", "A00-A09 (range)", "A00-A09 (range)"),
            ("NDC", "63323-0262-01", "63323026201"),
            ("NDC", "00338004904", "00338004904"),
            ("CVX", "8", "08"),
            ("SNOMED", "73211009 |Diabetes mellitus|", "73211009"),
            ("OMIM", "OMIM:143100", "143100"),
            ("HPO", "HP:0001250", "HP:0001250"),
            ("UCUM", " mg/dL", "mg/dL"),
        ] {
            assert_eq!(normal_code(vocabulary, code), normal, "{vocabulary}");
        }
    }
}
