//! How long work tells how far it is.

/// Receives progress. The command line draws bars; tests and `--json` ignore it.
pub trait Progress: Send + Sync {
    /// A stage begins with `total` units of work (0 when unknown).
    fn start(&self, stage: &str, total: u64);
    /// So many units are done.
    fn advance(&self, units: u64);
    /// The stage is over; `outcome` says in a few words what came out.
    fn finish(&self, outcome: &str);
}

/// Tells nobody.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _stage: &str, _total: u64) {}
    fn advance(&self, _units: u64) {}
    fn finish(&self, _outcome: &str) {}
}
