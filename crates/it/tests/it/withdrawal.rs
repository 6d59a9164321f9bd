//! Withdrawal after publication: what stops, who hears of it, and that a kill at any instant neither loses nor doubles anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use acequia_types::Timestamp;
use serde_json::Value;

use crate::leak::Served;
use crate::{DATASET, Home, changed_recipe, files};

const NEXT: &str = "version = \"1.0.1\"\ntitle";

/// A node that published, from which more donors then withdrew than make a group. Returns the recipe of the next version.
fn published_and_left(home: &Home) -> String {
    home.json(&["demo", "--no-serve"]);
    for (id, dataset) in [("lab-1", DATASET), ("lab-2", "acequia/something-else")] {
        let words = ["--contact", "post@lab.example", "--dataset", dataset, "--language", "de"];
        home.json(&[&["rights", "recipient", id], &words[..]].concat());
    }
    twenty_leave(home);
    let recipe = changed_recipe(home, "next.toml", &[("version = \"1.0.0\"\ntitle", NEXT)]);
    recipe.to_str().unwrap().to_owned()
}

/// More donors withdraw than make a group.
pub(crate) fn twenty_leave(home: &Home) {
    let listed = home.json(&["consent", "list"]);
    let permitted = listed.as_array().unwrap().iter().filter(|line| {
        line["purposes"]["open-publication"] == "permitted" && line["donor"].as_str().unwrap().starts_with("donor-")
    });
    for line in permitted.take(20) {
        home.json(&["consent", "withdraw", line["donor"].as_str().unwrap()]);
    }
}

fn in_folder(home: &Home, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(home.path().join("outbox").join(folder)) else { return BTreeMap::new() };
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

/// The old version gave way, and everybody concerned hears of it once.
fn gave_way(home: &Home) {
    let listed = home.json(&["release", "list"]);
    assert_eq!((&listed[0]["taken_down"], &listed[0]["successor"]), (&"withdrawal".into(), &"1.0.1".into()));
    assert_eq!(listed[1]["taken_down"], Value::Null);

    // The files are not handed out any more, the page stays.
    home.refused(&["release", "export", &format!("{DATASET}@1.0.0"), "--to", "unused"], 5, "NO014");
    home.json(&["verify", &format!("{DATASET}@1.0.0")]);
    let served = Served::start(home);
    let text = |path: &str| String::from_utf8_lossy(&served.get(path)).into_owned();
    let page = text(&format!("/datasets/{DATASET}/v/1.0.0"));
    assert!(page.starts_with("HTTP/1.1 410") && page.contains("withdrew") && page.contains("/v/1.0.1"), "{page:.300}");
    assert!(page.contains(listed[0]["manifest"].as_str().unwrap()), "the checksum stays");
    for path in
        [format!("/datasets/{DATASET}/resolve/v1.0.0/README.md"), format!("/api/datasets/{DATASET}/revision/v1.0.0")]
    {
        let answer = text(&path);
        assert!(answer.starts_with("HTTP/1.1 410") && answer.contains("\"successor\":\"1.0.1\""), "{answer:.300}");
        assert!(answer.to_lowercase().contains("x-error-code: revisionnotfound"), "{answer:.300}");
    }
    assert!(text(&format!("/datasets/{DATASET}/resolve/main/README.md")).starts_with("HTTP/1.1 200"));
    assert!(text(&format!("/datasets/{DATASET}")).starts_with("HTTP/1.1 200"));
    assert!(!text(&format!("/api/datasets/{DATASET}/refs")).contains("v1.0.0"));

    // One letter, signed, to the one who got it; a carrier takes it, and it is not written again.
    let letters = in_folder(home, "new");
    assert_eq!(letters.len(), 1);
    let (name, letter) = letters.first_key_value().unwrap();
    let letter: Value = serde_json::from_slice(letter).unwrap();
    assert!(letter["text"].as_str().unwrap().contains("Fassung 1.0.0") && letter["to"] == "post@lab.example");
    assert_eq!(letter["signed"].as_str().unwrap().split('.').count(), 3);
    let outbox = home.path().join("outbox");
    std::fs::rename(outbox.join("new").join(name), outbox.join("sent").join(name)).unwrap();
    assert_eq!(home.json(&["rights", "notify"])["written"], 0);
    home.json(&["rights", "confirm", letter["id"].as_str().unwrap()]);

    let after = home.json(&["consent", "report", "donor-0001"]);
    assert_eq!(after["versions"].as_array().unwrap().len(), 1);
    assert_eq!((&after["versions"][0]["successor"], &after["uses_after"]), (&"1.0.1".into(), &0.into()));
    assert_eq!((&after["told"][0]["recipient"], &after["told"][0]["confirmed"]), (&"lab-1".into(), &true.into()));
    let page = home.folder.path().join("report.html");
    home.json(&["consent", "report", "donor-0001", "--language", "fr", "--to", page.to_str().unwrap()]);
    assert!(std::fs::read_to_string(page).unwrap().contains("Ce qui n'a pas pu être rappelé"));
    assert!(home.run(&["doctor"]).status.success());
}

/// Who begins no further use stays in the next version of what is published, and in nothing else; new records are refused.
#[test]
fn levels_of_withdrawal_stop_what_they_say() {
    let home = Home::new();
    home.json(&["init"]);
    std::fs::write(home.path().join("rules.toml"), rules(0)).unwrap();
    let bundle = |year: u32| {
        format!(
            "{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{{\"fullUrl\":\"urn:uuid:p\",\"resource\":{{\"resourceType\":\"Patient\",\"id\":\"p\",\"gender\":\"female\",\"birthDate\":\"{year}-04-05\"}}}}]}}"
        )
    };
    let record = home.folder.path().join("record.json");
    let consent = home.folder.path().join("record.consent.json");
    std::fs::write(&record, bundle(1961)).unwrap();
    let given = r#"{"donor":"d-1","events":[{"at":"2026-03-01T00:00:00Z","event":"give","purposes":["research"]}]}"#;
    std::fs::write(&consent, given).unwrap();
    home.json(&["donate", record.to_str().unwrap()]);
    let line = home.json(&["consent", "withdraw", "d-1", "--level", "no-new-collection"]);
    assert_eq!(line["purposes"]["research"], "permitted");
    let operations = serde_json::json!({ "contact": false, "collect": false, "use": true, "republish": true });
    assert_eq!(line["operations"], operations);
    assert_eq!(home.json(&["donate", record.to_str().unwrap()])["known"], 1, "it was given before");
    std::fs::write(&record, bundle(1962)).unwrap();
    let refused = home.json(&["donate", record.to_str().unwrap()]);
    assert_eq!((&refused["not_collected"], &refused["findings"][0]["code"]), (&1.into(), &"NO015".into()));
    // Saying no to more opens nothing again.
    home.json(&["consent", "refuse", "d-1", "--purpose", "research"]);
    assert_eq!(home.json(&["donate", record.to_str().unwrap()])["not_collected"], 1);
    home.json(&["consent", "give", "d-1", "--purpose", "research", "--shown", "de"]);
    assert_eq!(home.json(&["donate", record.to_str().unwrap()])["accepted"], 1);
    let line = home.json(&["consent", "withdraw", "d-1", "--level", "no-further-use"]);
    assert_eq!((&line["purposes"]["research"], &line["operations"]["republish"]), (&"withdrawn".into(), &true.into()));
    let notice = home.json(&["consent", "notice", "--language", "de"]);
    let shown = &line["events"].as_array().unwrap().iter().find(|event| event["notice"].is_object()).unwrap()["notice"];
    assert_eq!((&shown["digest"], &shown["id"]), (&notice["sha256"], &"open-publication-0-days".into()));
}

/// A version with people in it whose consent ran out stays; once one of them withdraws, it gives way to the newer one that is
/// there already. Who begins no further use stays with what was there, and with nothing that came later.
#[test]
fn leaving_counts_whenever_it_happens() {
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    let listed = home.json(&["consent", "list"]);
    let permitted = listed.as_array().unwrap().iter().filter(|line| {
        line["purposes"]["open-publication"] == "permitted" && line["donor"].as_str().unwrap().starts_with("donor-")
    });
    let donors: Vec<&str> = permitted.take(22).map(|line| line["donor"].as_str().unwrap()).collect();
    let (stays, narrows) = (donors[0], donors[1]);
    let donated = home.path().join("demo/donors").join(format!("{stays}.json"));
    let mut bundle: Value = serde_json::from_slice(&std::fs::read(&donated).unwrap()).unwrap();
    bundle["entry"].as_array_mut().unwrap().push(serde_json::json!({ "resource": { "resourceType": "Slot" } }));
    let second = home.folder.path().join("second.json");
    std::fs::write(&second, bundle.to_string()).unwrap();
    let consent = donated.with_extension("consent.json");
    let words = ["donate", second.to_str().unwrap(), "--consent", consent.to_str().unwrap()];
    assert_eq!(home.json(&words)["accepted"], 1);
    home.json(&["consent", "withdraw", stays, "--level", "no-further-use"]);
    for donor in &donors[2..] {
        home.json(&["consent", "give", donor, "--purpose", "open-publication", "--until", "2026-01-01"]);
    }
    let recipe = changed_recipe(&home, "next.toml", &[("version = \"1.0.0\"\ntitle", NEXT)]);
    let run = home.json(&["run", recipe.to_str().unwrap()]);
    assert!(!run.to_string().contains("no table for Slot"), "the second file was opened");
    assert!(
        home.json(&["consent", "report", stays])["versions"].as_array().unwrap().len() == 2,
        "the first file stays"
    );
    assert_eq!(
        home.json(&["release", "list"])[0]["taken_down"],
        Value::Null,
        "consent that ran out takes nothing back"
    );

    // Open publication is taken back by a consent to something else, too. She is in the newest version: that one waits.
    home.json(&["consent", "give", narrows, "--purpose", "research"]);
    let report = home.json(&["consent", "report", narrows]);
    assert!(report["versions"].as_array().unwrap().iter().all(|held| held["waits"] == true), "{report}");
    // Nobody who left since the newer version is in it but her.
    home.json(&["consent", "give", narrows, "--purpose", "open-publication"]);
    home.json(&["consent", "withdraw", donors[2]]);
    home.json(&["rights", "notify"]);
    let listed = home.json(&["release", "list"]);
    assert_eq!((&listed[0]["taken_down"], &listed[0]["successor"]), (&"withdrawal".into(), &"1.0.1".into()));
    assert_eq!(listed[1]["taken_down"], Value::Null);
    assert!(home.run(&["doctor"]).status.success());
}

/// A program that believes it is another day.
struct Believes(std::path::PathBuf);

impl Believes {
    /// `None` where libfaketime is not installed.
    fn find() -> Option<Self> {
        let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
        let found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
        if found.is_none() {
            println!("skipped: faketime is not installed; run ./test");
        }
        found.map(Self)
    }

    /// `day`: days after the first of January 2027; `second`: of the day.
    fn on(&self, mut command: Command, day: u64, second: u64) -> Command {
        let at = Timestamp::from_unix_s(1_798_761_600 + i64::try_from(day * 86_400 + second).unwrap());
        let (date, time) = at.to_string().split_once('T').map(|(d, t)| (d.to_owned(), t[..8].to_owned())).unwrap();
        command
            .env("LD_PRELOAD", &self.0)
            .env("FAKETIME", format!("{date} {time}"))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("TZ", "UTC");
        command
    }
}

/// What is public in two worlds does not differ anywhere.
#[track_caller]
fn same(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>, when: &str) {
    for (route, answer) in one {
        let known = other.get(route).map_or("", String::as_str);
        let at = answer.bytes().zip(known.bytes()).take_while(|(a, b)| a == b).count();
        let near = |text: &str| text.chars().skip(at.saturating_sub(60)).take(120).collect::<String>();
        assert!(answer == known, "{when}: {route} differs: {} instead of {}", near(answer), near(known));
    }
    assert_eq!(one.len(), other.len(), "{when}");
}

/// Whatever anybody can read is the same to the last byte, on whichever days the donors of one batch withdrew and in which
/// order; and before the next version it is as if nobody had (threat T25).
#[test]
fn nobody_can_tell_on_which_day_somebody_withdrew() {
    let Some(believes) = Believes::find() else { return };
    let run = |home: &Home, words: &[&str], day: u64, second: u64| {
        let output = believes.on(home.command(&[words, &["--json"]].concat()), day, second).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    // Pages say where they are: always at the same address.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = free.to_string();
    let public = |home: &Home, day: u64| {
        let served = Served::of(
            believes.on(home.command(&["serve", "--address", &address]), day, 0),
            &home.folder.path().join("serve.log"),
        );
        let api = ["", "/refs", "/commits/main", "/croissant", "/tree/main?recursive=true"]
            .map(|rest| format!("/api/datasets/{DATASET}{rest}"));
        let feeds = ["/", "/sitemap.xml", "/api/datasets?full=true", "/oai?verb=ListRecords&metadataPrefix=oai_dc"];
        let routes: Vec<String> = feeds.map(str::to_owned).into_iter().chain(api).collect();
        // Once for what is computed when it is first asked for, and in the background: by which hashes tables are read by Xet.
        let waits = |answers: &[(String, Vec<u8>)]| {
            answers.iter().any(|(route, answer)| {
                let told = String::from_utf8_lossy(answer);
                let unhashed = || told.matches("\"lfs\":").count() > told.matches("\"xetHash\":").count();
                told.starts_with("HTTP/1.1 202") || (route.contains("/tree/main") && unhashed())
            })
        };
        let mut answers = served.crawl(routes.clone());
        while waits(&answers) {
            std::thread::sleep(Duration::from_millis(200));
            answers = served.crawl(routes.clone());
        }
        let told = |answer: &[u8]| String::from_utf8_lossy(answer).into_owned();
        answers.into_iter().map(|(route, answer)| (route, told(&answer))).collect::<BTreeMap<_, _>>()
    };
    let template = Home::new();
    run(&template, &["demo", "--no-serve"], 0, 0);
    let listed = run(&template, &["consent", "list"], 0, 60);
    let permitted = listed.as_array().unwrap().iter().filter(|line| {
        line["purposes"]["open-publication"] == "permitted" && line["donor"].as_str().unwrap().starts_with("donor-")
    });
    let leave: Vec<&str> = permitted.take(20).map(|line| line["donor"].as_str().unwrap()).collect();
    let nobody_left = public(&template, 31);
    let mut first = None;
    for world in 0..4_u64 {
        let home = copy_of(&template);
        // Days of a month, and an order, that differ from world to world.
        let mut acts: Vec<(u64, u64, &str)> = leave
            .iter()
            .zip(0_u64..)
            .map(|(donor, at)| {
                (1 + (at * (2 * world + 7) + world * 11) % 30, 3_600 + at * (world + 1) * 977 % 70_000, *donor)
            })
            .collect();
        acts.sort_unstable();
        for (day, second, donor) in acts {
            run(&home, &["consent", "withdraw", donor], day, second);
            run(&home, &["rights", "notify"], day, second + 60);
        }
        same(&public(&home, 31), &nobody_left, &format!("world {world}, before the next version"));
        let recipe = changed_recipe(&home, "next.toml", &[("version = \"1.0.0\"\ntitle", NEXT)]);
        run(&home, &["run", recipe.to_str().unwrap()], 32, 0);
        let after = public(&home, 40);
        assert!(after.len() > 30 && after != nobody_left);
        same(&after, first.get_or_insert_with(|| after.clone()), &format!("world {world}, after it"));
    }
}

fn rules(days: u32) -> String {
    let law = concat!(env!("CARGO_MANIFEST_DIR"), "/../custody/data/rules/eu-gdpr-2016-679.toml");
    let law = std::fs::read_to_string(law).unwrap();
    let changed = law.replace("cooling_off_days = 14", &format!("cooling_off_days = {days}"));
    assert!(days == 14 || changed != law);
    changed
}

/// What is consented to now is not published now; the days are data.
#[test]
fn open_publication_waits_until_the_time_to_think_has_passed() {
    let home = Home::new();
    home.json(&["init"]);
    let record = home.folder.path().join("record.json");
    std::fs::write(&record, r#"{"resourceType":"Bundle","type":"collection","entry":[]}"#).unwrap();
    let given = r#"{"donor":"d-1","events":[{"at":"2026-03-01T00:00:00Z","event":"withdraw"}]}"#;
    std::fs::write(home.folder.path().join("record.consent.json"), given).unwrap();
    home.json(&["donate", record.to_str().unwrap()]);
    let line = home.json(&["consent", "give", "d-1", "--purpose", "open-publication", "--purpose", "research"]);
    let expected = serde_json::json!({
        "model-training": "withdrawn", "open-publication": "cooling-off", "research": "permitted",
    });
    assert_eq!(line["purposes"], expected);
    assert!(line["open_publication_counts_from"].is_string());
    std::fs::write(home.path().join("rules.toml"), rules(0)).unwrap();
    assert_eq!(home.json(&["consent", "show", "d-1"])["purposes"]["open-publication"], "permitted");
    std::fs::write(home.path().join("rules.toml"), "nonsense").unwrap();
    home.refused(&["consent", "list"], 2, "RI001");
}

/// How often each is killed: `ACEQUIA_KILLS` in all, or few. A campaign of 1,000 takes about half an hour on two cores.
fn kills(share: f64, usual: usize) -> usize {
    let asked = std::env::var("ACEQUIA_KILLS").ok().and_then(|text| text.parse::<f64>().ok());
    asked.map_or(usual, |all| (all * share).ceil() as usize)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn copy_of(template: &Home) -> Home {
    let home = Home::new();
    copy(&template.path(), &home.path());
    home
}

/// What was left of a command when it was killed.
#[derive(Default, Debug)]
struct Tally {
    kills: usize,
    finished: usize,
    begun: usize,
}

/// Runs a command on copies of a node, kills it at instants spread over the time that it takes, looks at what is left, and lets
/// it go on.
fn campaign(
    template: &Home,
    words: &[&str],
    kills: usize,
    begun: impl Fn(&Home) -> bool,
    after_kill: impl Fn(&Home, usize),
    in_the_end: impl Fn(&Home),
) -> Home {
    let undisturbed = copy_of(template);
    let started = Instant::now();
    assert!(undisturbed.run(words).status.success());
    let whole = started.elapsed();
    in_the_end(&undisturbed);
    let mut tally = Tally::default();
    for number in 0..kills {
        let home = copy_of(template);
        // The golden ratio spreads any number of instants evenly.
        let share = (number as f64 * 0.618_033_988_75).fract();
        let mut child = home.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(share) + Duration::from_millis(1));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            tally.kills += 1;
        } else {
            tally.finished += 1;
        }
        child.wait().unwrap();
        tally.begun += usize::from(begun(&home));
        after_kill(&home, number);
        let output = home.run(words);
        assert!(output.status.success(), "kill {number}: {}", String::from_utf8_lossy(&output.stderr));
        in_the_end(&home);
    }
    println!("{words:?}: {tally:?} over {whole:?}");
    assert!(tally.kills > 0, "nothing was killed");
    undisturbed
}

#[test]
fn killing_an_erasure_leaves_no_half_of_it() {
    let template = Home::new();
    template.json(&["init"]);
    let folder = template.folder.path().join("records");
    std::fs::create_dir(&folder).unwrap();
    for name in ["canary-7f3a", "stays-1", "stays-2"] {
        let bundle = format!(
            "{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{{\"fullUrl\":\"urn:uuid:p\",\"resource\":{{\"resourceType\":\"Patient\",\"id\":\"{name}-id\",\"gender\":\"female\",\"birthDate\":\"1961-04-05\"}}}}]}}"
        );
        let consent = format!(
            "{{\"donor\":\"{name}\",\"events\":[{{\"at\":\"2026-03-01T00:00:00Z\",\"event\":\"give\",\"purposes\":[\"research\"]}}]}}"
        );
        std::fs::write(folder.join(format!("{name}.json")), bundle).unwrap();
        std::fs::write(folder.join(format!("{name}.consent.json")), consent).unwrap();
    }
    template.json(&["donate", folder.to_str().unwrap()]);
    for id in ["lab-1", "lab-2", "lab-3"] {
        template.json(&["rights", "recipient", id, "--contact", "post@lab.example", "--dataset", "another/node"]);
    }
    for words in [
        &["rights", "open", "canary-7f3a", "erasure"][..],
        &["rights", "identify", "1", "--by", "ann"],
        &["rights", "approve", "1", "--by", "ann"],
        &["rights", "approve", "1", "--by", "bob"],
        &["rights", "waive", "1"],
    ] {
        template.json(words);
    }
    let after_kill = |home: &Home, number: usize| {
        let shown = home.run(&["consent", "show", "canary-7f3a", "--json"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(!shown.contains("permitted"), "kill {number}: {shown}");
        assert!(in_folder(home, "new").len() <= 3);
    };
    let in_the_end = |home: &Home| {
        assert_eq!(home.json(&["rights", "show", "1"])["state"], "finalising");
        assert_eq!(home.json(&["rights", "certificate", "1"])["recipients told"], 3);
        assert_eq!(in_folder(home, "new").len(), 3);
        assert!(home.run(&["doctor"]).status.success());
        for file in files(&home.path()) {
            let bytes = std::fs::read(&file).unwrap();
            assert!(!bytes.windows(11).any(|window| window == b"canary-7f3a"), "{}", file.display());
        }
    };
    let begun = |home: &Home| !home.json(&["rights", "show", "1"])["done"].as_array().unwrap().is_empty();
    campaign(&template, &["rights", "execute", "1"], kills(0.4, 6), begun, after_kill, in_the_end);
}

/// A carrier takes away what it finds after every other kill; then nothing of that may come again.
#[test]
fn killing_notices_loses_and_doubles_none() {
    const LABS: usize = 5;
    let template = Home::new();
    template.json(&["demo", "--no-serve"]);
    for number in 0..LABS {
        let id = format!("lab-{number}");
        template.json(&["rights", "recipient", &id, "--contact", "post@lab.example", "--dataset", DATASET]);
    }
    let version = format!("{DATASET}@1.0.0");
    stopped_at(&template, &["release", "take-down", &version, "--reason", "safety"], "notify.told");
    let reference = copy_of(&template);
    assert_eq!(reference.json(&["rights", "notify"])["written"], LABS);
    let reference = in_folder(&reference, "new");
    let after_kill = |home: &Home, number: usize| {
        if number % 2 == 1 {
            std::fs::create_dir_all(home.path().join("outbox/sent")).unwrap();
            for name in in_folder(home, "new").keys() {
                std::fs::rename(home.path().join("outbox/new").join(name), home.path().join("outbox/sent").join(name))
                    .unwrap();
            }
        }
    };
    let in_the_end = |home: &Home| {
        let (new, sent) = (in_folder(home, "new"), in_folder(home, "sent"));
        assert!(new.keys().all(|name| !sent.contains_key(name)), "a notice came twice");
        let all: BTreeMap<_, _> = new.into_iter().chain(sent).collect();
        assert!(all == reference, "the same notices, byte for byte");
        let notices = home.json(&["rights", "notices"]);
        let ids: BTreeSet<_> = notices.as_array().unwrap().iter().map(|notice| notice["id"].to_string()).collect();
        assert_eq!((ids.len(), notices.as_array().unwrap().len()), (LABS, LABS));
        assert!(notices.as_array().unwrap().iter().all(|notice| notice["notice"]["state"] == "delivered"));
    };
    let begun = |home: &Home| !in_folder(home, "new").is_empty();
    campaign(&template, &["rights", "notify"], kills(0.4, 4), begun, after_kill, in_the_end);
    // And at every place that the program names; the template was killed at the first of them.
    for (point, times) in [("notify.spooled", LABS), ("notify.recorded", 1)] {
        // All but the first in a campaign only.
        for time in 1..=(if std::env::var_os("ACEQUIA_KILLS").is_some() { times } else { 1 }) {
            let home = copy_of(&template);
            stopped_at(&home, &["rights", "notify"], &format!("{point}#{time}"));
            after_kill(&home, time);
            home.json(&["rights", "notify"]);
            in_the_end(&home);
        }
    }
}

/// Runs a command until it says that it reached a place, and kills it there.
fn stopped_at(home: &Home, words: &[&str], point: &str) {
    use std::io::BufRead;
    let mut command = home.command(words);
    command.env("ACEQUIA_FAILPOINT", point).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = std::io::BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let name = point.split('#').next().unwrap();
    assert!(said.into_iter().any(|line| line == format!("failpoint {name}")), "{point} was not reached");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killing_a_publication_leaves_the_old_version_or_the_new_one() {
    let template = Home::new();
    let recipe = published_and_left(&template);
    let before = template.json(&["consent", "report", "donor-0001"]);
    assert_eq!(before["versions"][0]["waits"], true);
    assert_eq!(before["stopped"], serde_json::json!(["contact", "collect", "use", "republish"]));
    // What comes before is the business of another test.
    stopped_at(&template, &["run", &recipe], "deidentify.done");
    let versions = |home: &Home| -> Vec<(String, String)> {
        let listed = home.json(&["release", "list"]);
        let line = |line: &Value| (line["version"].to_string(), line["taken_down"].to_string());
        listed.as_array().unwrap().iter().map(line).collect()
    };
    let old = [("\"1.0.0\"".to_owned(), "null".to_owned())];
    let new = [("\"1.0.0\"".to_owned(), "\"withdrawal\"".to_owned()), ("\"1.0.1\"".to_owned(), "null".to_owned())];
    let after_kill = |home: &Home, number: usize| {
        let found = versions(home);
        assert!(found == old || found == new, "kill {number}: {found:?}");
        if found == new {
            home.json(&["verify", DATASET]);
        }
    };
    let manifests = std::cell::RefCell::new(BTreeSet::new());
    let in_the_end = |home: &Home| {
        assert_eq!(versions(home), new);
        home.json(&["verify", DATASET]);
        assert_eq!(in_folder(home, "new").len(), 1);
        let listed = home.json(&["release", "list"]);
        manifests.borrow_mut().insert(listed[1]["manifest"].to_string());
        assert_eq!(manifests.borrow().len(), 1, "the same bytes each time");
    };
    let begun = |home: &Home| versions(home) == new;
    let undisturbed = campaign(&template, &["run", &recipe], kills(0.2, 2), begun, after_kill, in_the_end);
    gave_way(&undisturbed);
}
