//! Every operator that is run, at every set of operators, says what onnxruntime says.

use std::path::Path;
use std::process::Command;

use crate::told::{difference, models};

#[test]
fn every_operator_says_what_onnxruntime_says() {
    let Ok(python) = std::env::var("ACEQUIA_TEST_PYTHON") else {
        println!("skipped: run ./test, which installs onnxruntime");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/operators.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let models = models(folder.path());
    assert!(models.len() > 2000, "{}", models.len());
    let mut wrong = Vec::new();
    for path in &models {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match difference(path) {
            Ok(difference) if difference <= 1e-5 => {}
            Ok(difference) => wrong.push(format!("{name}: {difference:e}")),
            Err(problem) => wrong.push(format!("{name}: {problem}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} models:\n{}", wrong.len(), models.len(), wrong.join("\n"));
}
