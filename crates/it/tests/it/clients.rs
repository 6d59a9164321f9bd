//! Stock clients from PyPI, and Chromium.

use std::path::Path;
use std::process::Command;

use crate::leak::Served;
use crate::{DATASET, Home, another_version, changed_recipe};

/// The Python of the environment that `./test` makes; `None` when there is none.
pub(crate) fn python() -> Option<String> {
    let python = std::env::var("ACEQUIA_TEST_PYTHON").ok();
    if python.is_none() {
        println!("skipped: run ./test, which installs the clients");
    }
    python
}

/// The Python of the environment where Chromium is there too.
pub(crate) fn browser() -> Option<String> {
    if Command::new("chromium").arg("--version").output().is_err() {
        println!("skipped: Chromium is not installed");
        return None;
    }
    python()
}

/// A page that is computed when it is first asked for is there.
fn wait_for(served: &Served, page: &str) {
    while served.get(page).starts_with(b"HTTP/1.1 202") {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// A node with the demo's data set.
fn demo() -> Home {
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    home
}

/// Runs a script of `clients/` against a served node and expects that it ends well. `words` gets the server and its address.
#[track_caller]
pub(crate) fn script(python: &str, name: &str, home: &Home, words: impl FnOnce(&Served, String) -> Vec<String>) {
    let served = Served::start(home);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    let endpoint = format!("http://{}", served.address);
    let output = Command::new(python).arg(script).args(words(&served, endpoint)).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    println!("{stdout}");
}

#[test]
fn stock_hub_clients_read_the_data_set() {
    let Some(python) = python() else { return };
    let program = crate::program().display().to_string();
    script(&python, "clients.py", &demo(), |_, endpoint| vec![endpoint, DATASET.to_owned(), program]);
}

/// The last clients before 1.0 and those in JavaScript, as nobody.
#[test]
fn older_and_other_hub_clients_read_the_data_set() {
    let home = demo();
    match std::env::var("ACEQUIA_TEST_PYTHON_OLD") {
        Ok(python) => script(&python, "clients.py", &home, |_, endpoint| vec![endpoint, DATASET.to_owned()]),
        Err(_) => println!("skipped: run ./test, which installs huggingface_hub 0.36"),
    }
    match std::env::var("ACEQUIA_TEST_JS") {
        Ok(package) => script("node", "reads.mjs", &home, |_, endpoint| vec![package, endpoint, DATASET.to_owned()]),
        Err(_) => println!("skipped: @huggingface/hub is installed by ./test where npm is there"),
    }
}

/// What the description of the interface says is so: nothing fails, what fits is taken, what does not fit is refused.
#[test]
fn the_interface_is_as_its_description_says() {
    let Some(python) = python() else { return };
    script(&python, "interface.py", &demo(), |_, endpoint| vec![endpoint]);
}

/// Consents as FHIR, of donors who allowed, refused, withdrew, and set an end, read by a library that knows nothing of this program.
#[test]
fn a_foreign_library_reads_the_consents() {
    let Some(python) = python() else { return };
    let home = Home::new();
    home.json(&["init"]);
    let give = |rest: &str| {
        format!(r#"{{"at":"2026-03-01T00:00:00Z","event":"give","purposes":["research","open-publication"]{rest}}}"#)
    };
    let histories = [
        ("allows", give("")),
        ("until", give(r#","expires_on":"2030-12-31""#)),
        ("conditions", give(r#","conditions":{"duo":["DUO:0000018"]}"#)),
        ("withdrew", give("") + r#",{"at":"2026-04-01T00:00:00Z","event":"withdraw"}"#),
        ("refused", r#"{"at":"2026-03-01T00:00:00Z","event":"refuse","purposes":["research"]}"#.to_owned()),
    ];
    for (donor, events) in &histories {
        let record = format!(r#"{{"resourceType":"Bundle","type":"collection","id":"{donor}","entry":[]}}"#);
        let path = home.folder.path().join(format!("{donor}.json"));
        std::fs::write(&path, record).unwrap();
        let consent = format!(r#"{{"donor":"{donor}","events":[{events}]}}"#);
        std::fs::write(home.folder.path().join(format!("{donor}.consent.json")), consent).unwrap();
        home.json(&["donate", path.to_str().unwrap()]);
    }
    let donors = histories.each_ref().map(|(donor, _)| *donor);
    for release in ["r4", "r5"] {
        let mut words = vec![release.to_owned()];
        for donor in donors {
            let path = home.folder.path().join(format!("{donor}.{release}.json"));
            let consent = home.json(&["papers", "consent", donor, "--release", release]);
            std::fs::write(&path, consent.to_string()).unwrap();
            words.push(path.display().to_string());
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/fhir_consent.py");
        let output = Command::new(&python).arg(script).args(words).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.code() == Some(77) {
            println!("{stdout}");
            return;
        }
        assert!(output.status.success(), "{release}: {stdout}{stderr}");
    }
}

/// Receipts of donors who allowed with and without a notice, refused, and withdrew, against the shapes of the standard's fields.
#[test]
fn receipts_hold_against_their_shapes() {
    let Some(python) = python() else { return };
    let home = Home::new();
    home.json(&["init"]);
    let record = home.folder.path().join("d.json");
    std::fs::write(&record, r#"{"resourceType":"Bundle","type":"collection","id":"d","entry":[]}"#).unwrap();
    let consent = r#"{"donor":"d","events":[{"at":"2026-03-01T00:00:00Z","event":"give","purposes":["research"]}]}"#;
    std::fs::write(home.folder.path().join("d.consent.json"), consent).unwrap();
    home.json(&["donate", record.to_str().unwrap()]);
    let mut words = vec![crate::manual::root().join("crates/custody/data/receipt.shapes.ttl").display().to_string()];
    let mut write = |name: &str, language: &str| {
        let path = home.folder.path().join(name);
        let receipt = home.json(&["papers", "receipt", "d", "--language", language]);
        std::fs::write(&path, receipt.to_string()).unwrap();
        words.push(path.display().to_string());
    };
    write("given.json", "en");
    home.json(&["consent", "give", "d", "--purpose", "open-publication", "--purpose", "research", "--shown", "de"]);
    home.json(&["consent", "refuse", "d", "--purpose", "research"]);
    home.json(&["consent", "withdraw", "d"]);
    write("withdrawn.json", "de");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/receipts.py");
    let output = Command::new(&python).arg(script).args(words).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() || output.status.code() == Some(77), "{stdout}{stderr}");
    println!("{stdout}");
}

/// RDF against its shapes, Croissant, RO-Crate, DataCite, OAI-PMH, DRS, Signposting, OpenAPI, as harvesters read them.
#[test]
fn catalogues_and_harvesters_read_the_data_set() {
    let Some(python) = python() else { return };
    let shapes = crate::manual::root().join("../shared/data/standards");
    let home = demo();
    crate::models::published(&home, &[]);
    script(&python, "catalogues.py", &home, |_, endpoint| {
        let shapes = shapes.is_dir().then(|| shapes.display().to_string());
        [endpoint, DATASET.to_owned()].into_iter().chain(shapes).collect()
    });
}

/// In Chromium, on phones and wide screens, light and dark, with the keyboard, judged by axe-core.
#[test]
fn pages_stand_in_a_browser() {
    let Some(python) = browser() else { return };
    let home = demo();
    another_version(&home);
    let models = crate::models::published(&home, &[]);
    script(&python, "pages.py", &home, |served, endpoint| {
        let page = format!("/datasets/{DATASET}");
        let difference = format!("{page}/compare/1.0.0..1.0.1");
        wait_for(served, &difference);
        let access = format!("{page}/access");
        let paths = [
            "/",
            &page,
            "/?q=nothing-like-this",
            "/datasets/no/such",
            "/problems",
            "/network",
            &difference,
            "/login",
            &access,
        ];
        let tabs = ["data", "files", "versions", "use", "governance"].map(|tab| format!("{page}/v/1.0.0/{tab}"));
        [endpoint].into_iter().chain(paths.map(str::to_owned)).chain(tabs).chain(models).collect()
    });
}

/// A donor and an institution in Chromium, with a passkey.
#[test]
fn a_donor_signs_in_chooses_and_withdraws_in_a_browser() {
    let Some(python) = browser() else { return };
    let home = demo();
    let code =
        |words: &[&str]| home.json(&[&["account", "invite"], words].concat())["code"].as_str().unwrap().to_owned();
    let donor = code(&["donor-0002", "--by", "anna"]);
    let institution = code(&["rotterdam", "--institution", "--by", "anna"]);
    script(&python, "donor.py", &home, |_, endpoint| {
        vec![endpoint.replace("127.0.0.1", "localhost"), donor, institution]
    });
}

/// Texts that are markup, scripts, links or commands elsewhere, in everything that a person may write and a page shows, in
/// addresses, and in tables of which reports are made: in Chromium all of them stay texts (threat T16).
#[test]
fn texts_that_act_as_markup_stay_texts() {
    let Some(python) = browser() else { return };
    let home = demo();
    let texts: Vec<String> = include_str!("../../clients/markup.txt")
        .lines()
        .zip(1..)
        .map(|(text, number)| text.replace("@@", &number.to_string()))
        .collect();
    let mut turn = 0;
    // What stands in front of the quotation mark of each text of the recipe that a page shows.
    let written = [
        "title = ",
        "summary = ",
        "description = ",
        "creators = [{ name = ",
        "publisher = { name = ",
        "citations = [\n  ",
        "keywords = [",
        "{ name = \"men\", reason = ",
        "note = ",
        "title = \"Age\"\ndescription = ",
        "name = \"grade\"\ntitle = ",
        "values = { \"0\" = ",
        "population = ",
        "motivation = ",
        "funding = ",
        "biases = [",
        "limitations = [\n  ",
        "use_cases = [",
        "misuse = [",
        "social_impact = ",
        "ethics = ",
        "withdrawal = ",
        "maintenance = ",
        "label = ",
        "access_body = { name = ",
    ];
    let mut changes: Vec<(String, String)> = vec![
        ("version = \"1.0.0\"\ntitle".to_owned(), "version = \"1.0.1\"\ntitle".to_owned()),
        // A text over several lines takes no escapes apart.
        ("description = \"\"\"\nEach row is one woman with primary breast cancer: how old she was, what the tumour was like, how she was treated, \\\nand after".to_owned(),
         "description = \"After".to_owned()),
        ("when she was last seen.\n\nThe records come from a tumour bank in Rotterdam, from a trial in Germany, and from people who gave their own records. In this demonstration \\\nthose people are simulated.\"\"\"".to_owned(),
         "when she was last seen.\"".to_owned()),
    ];
    for place in written {
        let two: Vec<&str> = (0..2)
            .map(|_| {
                turn += 1;
                texts[turn % texts.len()].as_str()
            })
            .collect();
        let quoted = serde_json::to_string(&two.join(" ")).unwrap();
        changes.push((format!("{place}\""), format!("{place}{} ", quoted.strip_suffix('"').unwrap())));
    }
    let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let recipe = changed_recipe(&home, "markup.toml", &changes);
    home.json(&["run", recipe.to_str().unwrap()]);
    // A model's card, likewise.
    let told = [
        "title = ",
        "summary = ",
        "creators = [{ name = ",
        "publisher = { name = ",
        "citations = [\n  ",
        "keywords = [",
        "outcome = ",
        "limits = [\n  ",
        "ethics = ",
        "maintenance = ",
        "purpose = ",
        "users = ",
        "population = ",
        "setting = ",
        "out_of_scope = [\n  ",
        "description = ",
        "unit = ",
        "[[learned_from]]\ntitle = ",
    ];
    let told: Vec<(String, String)> = told
        .iter()
        .enumerate()
        .map(|(at, place)| {
            let quoted = serde_json::to_string(&texts[at % texts.len()]).unwrap();
            (format!("{place}\""), format!("{place}{} ", quoted.strip_suffix('"').unwrap()))
        })
        .collect();
    let several = (
        "description = \"\"\"\nFor a woman who was operated on for breast cancer, the model says how likely it is that the cancer comes back or that she dies \\\nwithin a number of years up to five. It looks at three things that the pathologist reports: the size of the tumour, the number of \\\nlymph nodes with tumour, and the grade.\n\nIt is the model of a published example on how to judge such models (McLernon et al. 2023), trained here over hospitals that kept \\\ntheir records.\"\"\"",
        "description = \"What it does.\"",
    );
    let told = told.iter().map(|(from, to)| (from.as_str(), to.as_str()));
    let models = crate::models::published(&home, &std::iter::once(several).chain(told).collect::<Vec<_>>());
    // A table of people, of which two reports are made.
    let table = home.folder.path().join("people.csv");
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let rows: Vec<String> = (0..texts.len() * 12)
        .map(|row| format!("{},{},{}", 20 + row % 60, ["female", "male"][row % 2], quoted(&texts[row % texts.len()])))
        .collect();
    std::fs::write(&table, format!("age,sex,{}\n{}\n", quoted(&texts[1]), rows.join("\n"))).unwrap();
    let report = |name: &str| home.folder.path().join(name).display().to_string();
    let (risk, people) = (report("risk.html"), report("people.html"));
    home.json(&["risk", table.to_str().unwrap(), "--known", &texts[1], "--known", "age", "--report", &risk]);
    home.json(&["diversity", table.to_str().unwrap(), "--area", "World", "--purpose", &texts[0], "--page", &people]);
    script(&python, "markup.py", &home, |served, endpoint| {
        let page = format!("/datasets/{DATASET}");
        let difference = format!("{page}/compare/1.0.0..1.0.1");
        wait_for(served, &difference);
        let tabs = ["data", "files", "versions", "use", "governance"].map(|tab| format!("{page}/v/1.0.1/{tab}"));
        let files = ["README.md", "croissant.json"].map(|file| format!("{page}/resolve/main/{file}"));
        let reflects = ["/?q=?", "/receipt?text=?", "/you/join?code=?", "/datasets/x/?", "/?"].map(str::to_owned);
        [endpoint, "/".to_owned(), page.clone(), difference, risk, people]
            .into_iter()
            .chain(tabs)
            .chain(models)
            .chain(files)
            .chain(reflects)
            .collect()
    });
}
