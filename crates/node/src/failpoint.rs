//! Places where a test may stop the program to kill it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Stops here for ever when the environment variable `ACEQUIA_FAILPOINT` names this place, after saying so on stderr;
/// `name#3` names the third time the program comes here. The fault-injection test then sends SIGKILL. With `ACEQUIA_FAILPOINT_S` it goes on after so many seconds. Without the
/// variable it does nothing.
pub(crate) fn failpoint(name: &str) {
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let Ok(wanted) = std::env::var("ACEQUIA_FAILPOINT") else { return };
    let (wanted, time) =
        wanted.split_once('#').map_or((wanted.as_str(), 1), |(name, time)| (name, time.parse().unwrap_or(1)));
    if wanted == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == time {
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

/// Places that a run meets only where people have rights executed or recipients are told.
pub const DESK_POINTS: [&str; 5] =
    ["rights.performed", "rights.ticked", "notify.told", "notify.spooled", "notify.recorded"];

/// The place that taking a deposit comes to when its files are written and nothing is on record yet.
pub const DEPOSIT_POINT: &str = "deposit.written";

/// Places that removing a deposit comes to.
pub use acequia_deposit::REMOVAL_POINTS;

/// The place that a copy of blobs comes to with each.
pub const COPY_POINT: &str = "blobs.copied";

/// Places that fetching and mirroring a version of a neighbour come to.
pub const MIRROR_POINTS: [&str; 6] =
    ["catalogue.heard", "catalogue.manifest", "catalogue.piece", "mirror.fetched", "mirror.stored", "mirror.recorded"];
