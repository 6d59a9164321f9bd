//! Places where a test may stop the program to kill it.

/// Stops here for ever when the environment variable `ACEQUIA_FAILPOINT` names this place, after saying so on stderr.
/// The fault-injection test then sends SIGKILL. Without the variable it does nothing.
pub(crate) fn failpoint(name: &str) {
    if std::env::var_os("ACEQUIA_FAILPOINT").is_some_and(|wanted| wanted == name) {
        eprintln!("failpoint {name}");
        loop {
            std::thread::park();
        }
    }
}

/// Every place, in the order a run meets them.
pub const FAILPOINTS: [&str; 12] = [
    "donate.sealed",
    "donate.recorded",
    "unify.before-commit",
    "unify.after-commit",
    "cleanse.before-commit",
    "cleanse.after-commit",
    "cohort.before-commit",
    "cohort.after-commit",
    "deidentify.done",
    "release.made",
    "release.stored",
    "release.published",
];
