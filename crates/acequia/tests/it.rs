//! The program starts, and says who it is. (The whole course is tested in `crates/it`, which uses this same build.)

use std::process::Command;

#[test]
fn the_program_says_its_name_and_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_acequia")).arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), concat!("acequia ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_words_end_with_status_two_and_say_nothing_on_stdout() {
    let output = Command::new(env!("CARGO_BIN_EXE_acequia")).arg("fly").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
}
