//! Bad input through the front door.

use serde_json::Value;

use crate::Home;

const MAPPING: &str = r#"
source = { id = "clinic", title = "A clinic", place = "NL", type_concept_id = 32817 }
index = { date_column = "surgery" }
person = { key = "id", sex = "female", age_years = "age" }
[[event]]
table = "measurement"
column = "size"
concept_id = 3046581
unit = "mm"
number = { min = 0, max = 300 }
"#;

/// Where and what the answer to some inputs says. All others say at least the row, or that the file is set aside.
const SAID: [(&str, &str); 8] = [
    ("cut.json", "row 1: the JSON ends too early; the file is cut off"),
    ("broken.json", "row 1, character 17: the JSON is not well-formed"),
    ("latin.csv", "row 2, byte 18: the text is not UTF-8"),
    ("claim.zip", "the archive would unpack to more than"),
    ("short.csv", "row 1: the table has no column size, which the mapping names"),
    ("date.csv", "row 3, column surgery: no such day in the calendar"),
    ("age.csv", "row 3, column age: the number is below the smallest allowed"),
    ("text.csv", "row 3, column size: not a number"),
];

#[test]
fn every_bad_input_is_set_aside_or_told_with_code_row_and_column() {
    let home = Home::new();
    home.json(&["init"]);
    let folder = home.folder.path();
    let mapping = folder.join("clinic.mapping.toml");
    std::fs::write(&mapping, MAPPING).unwrap();
    for input in acequia_simulate::hostile() {
        let path = folder.join(input.name);
        std::fs::write(&path, &input.bytes).unwrap();
        let table = input.name.contains(".csv") || input.name.ends_with(".zip");
        let mut words = vec!["donate", path.to_str().unwrap()];
        if table {
            words.extend(["--mapping", mapping.to_str().unwrap()]);
        }
        let report = home.json(&words);
        let finding = &report["findings"][0];
        assert_eq!(finding["code"], input.code, "{}: {report}", input.what);
        assert!(!finding["hint"].as_str().unwrap().is_empty());
        if let Some((_, said)) = SAID.iter().find(|(name, _)| *name == input.name) {
            assert!(finding["what"].as_str().unwrap().starts_with(said), "{}: {finding}", input.what);
        }
        assert!(finding["file"] == 1 && finding["intake"].as_str().unwrap().starts_with("in-"), "{finding}");
        let set_aside = report["quarantined"] == 1;
        assert_eq!(finding["quarantined"], Value::Bool(set_aside));
        assert!(set_aside || finding["what"].as_str().unwrap().starts_with("row "), "{finding}");
    }
    // People read the same on stderr, with the fix.
    let path = folder.join("people.csv");
    std::fs::write(&path, "id,surgery,age,size\n1,2025-02-30,50,12\n2,2025-02-28,50,12\n").unwrap();
    let output = home.run(&["donate", path.to_str().unwrap(), "--mapping", mapping.to_str().unwrap()]);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "a bad row is no reason to refuse the others");
    assert!(talk.contains("row 2, column surgery: no such day in the calendar (IN103)\n  correct"), "{talk}");
    let known = home.json(&["donate", folder.join("letter.json").to_str().unwrap()]);
    assert_eq!((&known["known"], &known["quarantined"]), (&1.into(), &0.into()));
}

/// Addresses inside donated files are texts: nothing is fetched, whatever they say.
#[test]
fn no_address_in_a_donated_file_is_asked() {
    let canary = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let at = format!("http://{}", canary.local_addr().unwrap());
    let home = Home::new();
    home.json(&["init"]);
    let bundle = format!(
        r#"{{"resourceType":"Bundle","type":"collection","link":[{{"relation":"next","url":"{at}/next"}}],"entry":[
            {{"fullUrl":"{at}/Patient/1","resource":{{"resourceType":"Patient","id":"1","gender":"female","birthDate":"1961-04-05",
              "photo":[{{"url":"{at}/photo"}}],"meta":{{"profile":["{at}/profile"]}}}}}},
            {{"resource":{{"resourceType":"Condition","subject":{{"reference":"{at}/Patient/1"}},"onsetDateTime":"2019-06-01",
              "extension":[{{"url":"{at}/extension","valueUri":"{at}/value"}}],
              "code":{{"coding":[{{"system":"{at}/system","code":"254837009"}}]}}}}}}]}}"#
    );
    let document = format!(
        "<!DOCTYPE l SYSTEM \"{at}/dtd\" [<!ENTITY x SYSTEM \"{at}/entity\">]><ClinicalDocument xmlns=\"urn:hl7-org:v3\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\"{at} {at}/schema\">&x;</ClinicalDocument>"
    );
    for (name, text) in [("bundle.json", bundle), ("document.xml", document)] {
        let path = home.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let consent = format!(r#"{{"donor":"{}","events":[]}}"#, name.replace('.', "-"));
        std::fs::write(
            home.folder.path().join(name.replace(".json", ".consent.json").replace(".xml", ".consent.json")),
            consent,
        )
        .unwrap();
        let output = home.run(&["donate", path.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        let read = home.run(&["read", path.to_str().unwrap()]);
        assert!(read.status.code().is_some());
    }
    let asked = canary.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock), "somebody was asked");
}

#[test]
fn wrong_mappings_recipes_and_words_have_their_codes() {
    let home = Home::new();
    let folder = home.folder.path();
    home.refused(&["run", "nowhere.toml"], 3, "NO004");
    home.refused(&["donate", "nowhere.csv"], 3, "NO001");
    home.json(&["init"]);
    home.refused(&["init"], 2, "NO002");
    home.refused(&["donate", "nowhere.csv"], 3, "BL001");
    let table = folder.join("t.csv");
    std::fs::write(&table, "id,surgery,age,size\n").unwrap();
    let mapping = folder.join("m.toml");
    std::fs::write(&mapping, MAPPING.replace("3046581", "12345")).unwrap();
    home.refused(&["donate", table.to_str().unwrap(), "--mapping", mapping.to_str().unwrap()], 2, "IN016");
    std::fs::write(&mapping, MAPPING.replace("age_years", "age_yaers")).unwrap();
    home.refused(&["donate", table.to_str().unwrap(), "--mapping", mapping.to_str().unwrap()], 2, "IN012");
    let recipe = folder.join("r.toml");
    std::fs::write(&recipe, "sources = []\n").unwrap();
    home.refused(&["run", recipe.to_str().unwrap()], 2, "NO005");
    home.refused(&["verify", "acequia/nothing"], 3, "NO009");
    assert_eq!(home.run(&["fly"]).status.code(), Some(2));
    assert_eq!(home.run(&["consent", "give", "Jane Doe", "--purpose", "research"]).status.code(), Some(2));
}
