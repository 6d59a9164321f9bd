//! A site's answer to a run passes the gate with consent to model training, and with no other. A version of another node comes in
//! with that node's seal only.

use std::collections::BTreeSet;

use acequia_custody::{ConsentEvent, History, Purpose, approve};
use acequia_gate::{
    Artefact, ExitSeal, GateError, GateKey, Manifest, OriginGate, ReleasedFile, let_out, readmit, readmit_mirrored,
};
use acequia_learn::*;
use acequia_types::{DatasetName, Digest, DonorId, Timestamp, parse_day, parse_timestamp};
use ed25519_dalek::{Signer, SigningKey};

fn now() -> Timestamp {
    parse_timestamp("2026-06-01").unwrap()
}

fn update() -> SiteUpdate {
    let plan = Plan::from_toml(
        "schema = \"acequia-plan/1\"\ntitle = \"Rows\"\ntask = { kind = \"count\" }\nprivacy = { minimum_rows = 2 }\n",
    )
    .unwrap();
    let data = Data::from_csv("north", "age\n50\n60\n".as_bytes(), &plan.needs(), &SiteMap::default()).unwrap();
    let roster = Roster::new(["north".to_owned()]).unwrap();
    let (rules, ledger, key) = (SiteRules::own(), &mut Ledger::default(), ShareKey::from([1; 32]));
    let mut site = Site::join("north", &plan, &roster, vec![data], rules, ledger, key).unwrap();
    let ask = Run::new(&plan, &roster).ask();
    site.answer(&ask, now()).unwrap().remove(0)
}

#[test]
fn an_update_leaves_with_consent_to_model_training_only() {
    let donors: BTreeSet<DonorId> = [DonorId::parse("donor-1").unwrap()].into();
    let approval = |update: &SiteUpdate, purpose: Purpose| {
        let history = |_: &DonorId| Some(History::new(vec![ConsentEvent::give("2026-01-01", &Purpose::ALL)]));
        approve(update.digest(), purpose, &donors, history, now()).unwrap()
    };
    let one = update();
    let granted = approval(&one, Purpose::ModelTraining);
    assert_eq!(let_out(one, &granted).unwrap().get().site(), "north");
    let one = update();
    let published = approval(&one, Purpose::OpenPublication);
    assert!(matches!(let_out(one, &published), Err(GateError::OtherPurpose { .. })));
}

fn manifest() -> Manifest {
    Manifest {
        schema: "acequia-release/1".into(),
        artefact: Artefact::Dataset,
        dataset: DatasetName::parse("a/b").unwrap(),
        version: "1.0.0".into(),
        title: "B".into(),
        summary: "B.".into(),
        license: "CC-BY-4.0".into(),
        terms: Default::default(),
        released_on: parse_day("2026-01-01").unwrap(),
        program: "acequia".into(),
        recipe: Digest::of(b"r"),
        seed: 1,
        inputs: Vec::new(),
        splits: Vec::new(),
        files: vec![ReleasedFile::of("README.md", b"# B")],
    }
}

fn seal_with(secret: &[u8; 32], digest: &Digest) -> ExitSeal {
    let message = [b"acequia exit seal v1\0".as_slice(), digest.as_bytes()].concat();
    ExitSeal::from_text(hex::encode(SigningKey::from_bytes(secret).sign(&message).to_bytes()))
}

#[test]
fn a_version_of_another_node_comes_in_with_the_seal_of_its_gate_only() {
    let (own, other, member) = ([1; 32], [2; 32], [7; 32]);
    let key = GateKey::from_secret(&own);
    let (gate, said) = (key.verifier().to_hex(), key.say_whose(&member));
    let origin = OriginGate::of_member(&gate, &member, &said).unwrap();
    let manifest = manifest();
    let (bytes, digest) = (manifest.to_bytes(), manifest.digest());
    let seal = seal_with(&own, &digest);
    assert!(origin.sealed(&digest, &seal));
    assert_eq!(readmit_mirrored(&bytes, &seal, &origin).unwrap().get(), &manifest);

    // A gate is only whose it says it is, in its one spelling, with the signature whole.
    assert!(OriginGate::of_member(&gate, &[8; 32], &said).is_none());
    assert!(OriginGate::of_member(&GateKey::from_secret(&other).verifier().to_hex(), &member, &said).is_none());
    assert!(OriginGate::of_member(&gate.to_uppercase(), &member, &said).is_none());
    assert!(OriginGate::of_member(&gate, &member, &said[2..]).is_none());
    assert!(OriginGate::of_member("", &member, "").is_none());
    // A seal is no such word, nor the other way round.
    assert!(OriginGate::of_member(&gate, digest.as_bytes(), seal.as_str()).is_none());
    assert!(!origin.sealed(&Digest::from_bytes(member), &ExitSeal::from_text(said)));

    for foreign in [seal_with(&other, &digest), ExitSeal::from_text("00".into()), ExitSeal::from_text("no".into())] {
        assert!(!origin.sealed(&digest, &foreign));
        assert!(matches!(readmit_mirrored(&bytes, &foreign, &origin), Err(GateError::Seal { .. })));
    }
    assert!(matches!(readmit_mirrored(&bytes[..9], &seal, &origin), Err(GateError::Manifest { .. })));
    // What reads as the same manifest and is other bytes would have another name here.
    let mut spaced = bytes.clone();
    spaced.push(b'\n');
    assert!(readmit(&spaced, &seal, origin.verifier()).is_ok());
    assert!(matches!(readmit_mirrored(&spaced, &seal, &origin), Err(GateError::Seal { .. })));
}

#[test]
fn paths_that_leave_a_folder_are_not_plain() {
    for (path, plain) in [
        ("data/train.parquet", true),
        ("..hidden/x", true),
        ("", false),
        ("/etc/passwd", false),
        ("../x", false),
        ("a/../../x", false),
        ("a//x", false),
        ("./x", false),
        ("a/.", false),
        ("c:x", false),
        ("a\\x", false),
        ("a\0", false),
        ("manifest.json", false),
    ] {
        assert_eq!(ReleasedFile::of(path, b"").is_plain(), plain, "{path:?}");
    }
}
