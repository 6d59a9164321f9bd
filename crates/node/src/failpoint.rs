//! Places where a test may stop the program to kill it.

/// Stops here for ever when the environment variable `ACEQUIA_FAILPOINT` names this place, after saying so on stderr.
/// The fault-injection test then sends SIGKILL. With `ACEQUIA_FAILPOINT_S` it goes on after so many seconds. Without the
/// variable it does nothing.
pub(crate) fn failpoint(name: &str) {
    if std::env::var_os("ACEQUIA_FAILPOINT").is_some_and(|wanted| wanted == name) {
        eprintln!("failpoint {name}");
        let seconds = std::env::var("ACEQUIA_FAILPOINT_S").ok().and_then(|text| text.parse().ok());
        if let Some(seconds) = seconds {
            return std::thread::sleep(std::time::Duration::from_secs(seconds));
        }
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
