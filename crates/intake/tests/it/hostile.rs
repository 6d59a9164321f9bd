//! Files made to harm: every one ends with a code, quickly and in little memory.

use std::io::{Cursor, Write};

use acequia_intake::{FORMATS, Limits, Survey, read, read_into, set_aside};
use acequia_omop::Fate;
use acequia_types::Coded;
use proptest::prelude::*;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[track_caller]
fn refused(bytes: &[u8], code: &str) {
    let error = read(bytes, None, &Limits::default()).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
}

const CDA: &str = "<ClinicalDocument xmlns=\"urn:hl7-org:v3\">";

#[test]
fn archives_made_to_harm_are_refused() {
    let mut bomb = b"MSH|^~\\&|A\r".to_vec();
    bomb.resize(40 * 1024 * 1024, b' ');
    refused(&gzip(&bomb), "IN007");
    refused(&zip_of(&[("a.hl7", &bomb)]), "IN007");
    refused(&gzip(&gzip(b"MSH|")), "IN019");
    refused(&zip_of(&[("a.zip", &zip_of(&[("b", b"MSH|")]))]), "IN019");
    refused(&zip_of(&[("../a.hl7", b"MSH|")]), "IN020");
    refused(&zip_of(&[]), "IN009");
}

#[test]
fn a_bomb_inside_a_format_that_streams_is_stopped_too() {
    // What is looked at to tell the format is fine; the rest grows beyond the limit.
    let limits = Limits { unpacked_bytes: 1024 * 1024, ..Limits::default() };
    let export = format!("<HealthData>{}</HealthData>", "<x/>".repeat(500_000));
    let cda = format!("{CDA}{}</ClinicalDocument>", "<x/>".repeat(500_000));
    let messages = "MSH|^~\\&|A|B|C|D|2020||ACK|1|P|2.5\r".repeat(50_000);
    let packets = "{\"id\":\"a\",\"subject\":{\"id\":\"1\"},\"metaData\":{}}\n".repeat(50_000);
    for content in [export, cda, messages, packets] {
        for packed in [gzip(content.as_bytes()), content.into_bytes()] {
            let error = read(&packed, None, &limits).unwrap_err();
            assert_eq!(error.code(), "IN007", "{error}");
        }
    }
}

#[test]
fn xml_made_to_harm_is_refused() {
    let lol = "<!DOCTYPE l [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;\">]>";
    refused(format!("{lol}{CDA}&c;</ClinicalDocument>").as_bytes(), "IN033");
    let external = "<!DOCTYPE l [<!ENTITY x SYSTEM \"http://127.0.0.1:9/secret\">]>";
    refused(format!("{external}{CDA}&x;</ClinicalDocument>").as_bytes(), "IN033");
    refused(format!("{CDA}&x;</ClinicalDocument>").as_bytes(), "IN033");
    refused(format!("{CDA}{}", "<component>".repeat(100_000)).as_bytes(), "IN032");
    refused(format!("{CDA}<section><entry>{}", "<a>".repeat(100_000)).as_bytes(), "IN032");
    refused(format!("{CDA}<title>{}", "x".repeat(20 * 1024 * 1024)).as_bytes(), "IN032");
    refused(format!("{CDA}<section><entry>{}", "<a/>".repeat(300_000)).as_bytes(), "IN032");
    refused(format!("{CDA}<section></ClinicalDocument>").as_bytes(), "IN030");
    refused(CDA.as_bytes(), "IN031");
    refused(format!("{CDA}<title>\u{1}").replace('\u{1}', "").as_bytes(), "IN031");
    refused(&[CDA.as_bytes(), b"<title>\xff</title></ClinicalDocument>"].concat(), "IN034");
    let in_export = "<!DOCTYPE HealthData [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><HealthData>&x;</HealthData>";
    refused(in_export.as_bytes(), "IN033");
    refused(format!("<!DOCTYPE HealthData [{}", "<!ELEMENT x EMPTY>".repeat(200_000)).as_bytes(), "IN032");
}

/// A program may hide in the 128 bytes before a DICOM header (CVE-2019-11687). Images are not read here: whatever begins so is
/// set aside, and never opened.
#[test]
fn an_image_that_may_be_a_program_is_set_aside() {
    for head in [b"MZ\x90\0".as_slice(), b"\x7fELF", b"#!/bin/sh\n", b"\0\0\0\0"] {
        let mut bytes = head.to_vec();
        bytes.resize(128, 0);
        bytes.extend_from_slice(b"DICM\x02\0\0\0UL\x04\0\0\0\0\0");
        assert!(read(&bytes, None, &Limits::default()).is_err());
    }
}

#[test]
fn deep_json_is_an_error() {
    let deep = format!("{{\"id\":\"a\",\"phenotypicFeatures\":{}", "[".repeat(1_000_000));
    let file = read(deep.as_bytes(), None, &Limits::default()).unwrap();
    assert_eq!(file.items[0].fate, Some(Fate::Rejected("IN136".to_owned())));
    refused(format!("{{\"resourceType\":{}", "[".repeat(1_000_000)).as_bytes(), "IN004");
}

#[test]
fn a_message_that_never_ends_is_rejected_and_the_next_is_read() {
    let mut bytes = b"MSH|^~\\&|A|B|C|D|2020||ORU^R01|1|P|2.5\rNTE|1||".to_vec();
    bytes.resize(20 * 1024 * 1024, b'x');
    bytes.extend_from_slice(b"\rMSH|^~\\&|A|B|C|D|2020||ORU^R01|1|P|2.5\rPID|1||7||X||1950\r");
    let file = read(&bytes, None, &Limits::default()).unwrap();
    assert_eq!(file.items[0].fate, Some(Fate::Rejected("IN134".to_owned())));
    assert_eq!(file.records.len(), 1);
}

/// What was rejected comes back in the same format, is mended, and is read.
#[track_caller]
fn mended(name: &str, given: &str, wrong: &str, right: &str) {
    let mut survey = Survey::default();
    read_into(&mut Cursor::new(given), None, &Limits::default(), &mut survey).unwrap();
    assert_eq!(survey.with_fate("rejected"), 1, "{name}: {:?}", survey.listed);
    let kept = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    struct Shared(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let limits = Limits::default();
    set_aside(&mut Cursor::new(given), None, &limits, &survey.rejected, &mut |_, _| Ok(Box::new(Shared(kept.clone()))))
        .unwrap();
    let text = String::from_utf8(kept.borrow().clone()).unwrap();
    assert!(text.len() < given.len(), "{name}: only what was wrong");
    let mut survey = Survey::default();
    read_into(&mut Cursor::new(text.replace(wrong, right)), None, &limits, &mut survey).unwrap();
    assert_eq!((survey.with_fate("rejected"), survey.persons), (0, 1), "{name}: {text}");
}

#[test]
fn bad_records_are_taken_out_and_can_be_given_again() {
    let message = |value: &str| {
        format!(
            "MSH|^~\\&|A|B|C|D|2020||ORU^R01|1|P|2.5\nPID|1||7||X||1950\nOBX|1|NM|2345-7^G^LN||{value}|||||F|||2020\n"
        )
    };
    mended("hl7", &(message("5") + &message("bad") + &message("6")), "bad", "7");
    let packet = |born: &str| {
        format!("{{\"id\":\"a\",\"subject\":{{\"id\":\"1\",\"dateOfBirth\":\"{born}\"}},\"phenotypicFeatures\":[]}}\n")
    };
    mended("phenopackets", &(packet("2001-01-01") + &packet("2001-02-30") + &packet("2002-01-01")), "02-30", "02-20");
    let record = |value: &str| {
        format!(
            "<Record type=\"HKQuantityTypeIdentifierHeartRate\" sourceName=\"A\" unit=\"count/min\" startDate=\"2020-05-01 10:00:00 +0200\" endDate=\"2020-05-01 10:10:00 +0200\" value=\"{value}\"/>\n"
        )
    };
    let me = "<Me HKCharacteristicTypeIdentifierDateOfBirth=\"1990-02-02\"/>\n";
    let export = format!("<HealthData>\n{me}{}{}{}</HealthData>\n", record("60"), record("fast"), record("70"));
    mended("apple", &export, "fast", "80");
}

#[test]
fn a_file_in_an_archive_is_named_by_its_number() {
    let bad = b"MSH|^~\\&|A|B|C|D|2020||ORU^R01|1|P|2.5\nPID|1||7||X||1950\nOBX|1|NM|2345-7^G^LN||bad\n";
    let packed = zip_of(&[("Jane Doe.png", b"\x89PNG"), ("Jane Doe.hl7", bad)]);
    let file = read(&packed, None, &Limits::default()).unwrap();
    assert_eq!(file.items[0].kind, "file in archive");
    assert_eq!(file.problems[0].to_string(), "file 2 of the archive, row 3, column OBX-5: not a number (IN101)");
}

#[test]
fn one_bad_file_of_an_archive_does_not_keep_the_others_out() {
    let export = SEEDS[1].as_bytes();
    let files: [(&str, &[u8]); 4] = [
        ("apple_health_export/export_cda.xml", SEEDS[2].as_bytes()),
        ("apple_health_export/export.xml", export),
        ("apple_health_export/workout-routes/route.gpx", b"<gpx></gpx>"),
        ("apple_health_export/clinical-records/Broken.json", b"{\"resourceType\":"),
    ];
    let file = read(&zip_of(&files), None, &Limits::default()).unwrap();
    assert_eq!(file.records.len(), 1, "the copy in CDA is not read a second time");
    let aside: Vec<_> = file.items.iter().filter(|item| item.kind == "file in archive").map(|item| item.row).collect();
    assert_eq!(aside, [1, 3, 4]);
    assert_eq!(file.problems.len(), 1);
    assert_eq!(file.problems[0].place.intake.as_deref(), Some("file 4 of the archive"));
}

#[test]
fn the_manual_lists_the_formats() {
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hospital.md")).unwrap();
    let mut table = String::from("| format | read | one unit is | needs | word |\n|---|---|---|---|---|\n");
    for info in FORMATS {
        table +=
            &format!("| {} | {} | a {} | {} | `{}` |\n", info.title, info.standard, info.unit, info.needs, info.word);
    }
    assert!(manual.contains(&table), "docs/hospital.md needs this table:\n{table}");
}

/// Beginnings of each format, to be broken.
const SEEDS: &[&str] = &[
    "MSH|^~\\&|A|B|C|D|2020||ORU^R01|1|P|2.5\rPID|1||7||X||1950|F\rOBR|1||F|P^P^LN|||2020\rOBX|1|NM|2345-7^G^LN||5|mg/dL|1-2|N|||F\rRXA|0|1|20200103||08^HepB^CVX|0.5\rRXR|IM\rTXA|1|DS\rOBX|1|TX|1^1^LN||t\r",
    "<HealthData><Me HKCharacteristicTypeIdentifierDateOfBirth=\"1990-02-02\"/><Correlation type=\"c\"><Record type=\"HKQuantityTypeIdentifierStepCount\" unit=\"count\" startDate=\"2020-05-01 10:00:00 +0200\" value=\"1\"/></Correlation><Workout workoutActivityType=\"w\" startDate=\"2020-05-01 10:00:00 +0200\" duration=\"1\"/><ActivitySummary dateComponents=\"2020-05-01\" appleStandHours=\"3\"/></HealthData>",
    "<ClinicalDocument xmlns=\"urn:hl7-org:v3\"><recordTarget><patientRole><id root=\"1.2\" extension=\"7\"/><patient><birthTime value=\"19500101\"/></patient></patientRole></recordTarget><component><structuredBody><component><section><code code=\"30954-2\"/><text>t</text><entry><observation><code code=\"1\" codeSystem=\"2.16.840.1.113883.6.1\"/><effectiveTime value=\"2020\"/><value xsi:type=\"PQ\" value=\"5\" unit=\"mg\"/></observation></entry></section></component></structuredBody></component></ClinicalDocument>",
    "{\"id\":\"a\",\"subject\":{\"id\":\"1\",\"dateOfBirth\":\"2001-01-01\",\"sex\":\"MALE\"},\"phenotypicFeatures\":[{\"type\":{\"id\":\"HP:1\"},\"onset\":{\"age\":{\"iso8601duration\":\"P1Y\"}}}],\"metaData\":{}}\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_broken_file_makes_it_panic(
        seed in 0..SEEDS.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..8),
    ) {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at.max(5)),
            }
        }
        let Ok(file) = read(&bytes, None, &Limits::default()) else { return Ok(()) };
        for item in &file.items {
            if let Some(Fate::Rejected(code)) = &item.fate {
                prop_assert!(file.problems.iter().any(|problem| &problem.code == code));
            }
        }
    }

    #[test]
    fn seeds_are_read_whole(seed in 0..SEEDS.len()) {
        let file = read(SEEDS[seed].as_bytes(), None, &Limits::default()).unwrap();
        prop_assert_eq!(file.problems.len(), 0);
        prop_assert_eq!(file.records.len(), 1);
        prop_assert!(!file.records[0].events.is_empty());
    }
}
