//! Progress bars on stderr; plain lines where stderr is no terminal.

use std::io::IsTerminal;
use std::sync::Mutex;

use acequia_node::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// One bar at a time, a line per finished stage.
pub(crate) struct Bars {
    terminal: bool,
    current: Mutex<Option<(String, ProgressBar)>>,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), current: Mutex::new(None) }
    }
}

impl Progress for Bars {
    fn start(&self, stage: &str, total: u64) {
        let bar = if self.terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{msg:<12} {bar:32} {pos}/{len} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(stage.to_owned());
        bar.tick();
        if let Ok(mut current) = self.current.lock() {
            *current = Some((stage.to_owned(), bar));
        }
    }

    fn advance(&self, units: u64) {
        if let Ok(current) = self.current.lock()
            && let Some((_, bar)) = current.as_ref()
        {
            bar.inc(units);
        }
    }

    fn finish(&self, outcome: &str) {
        if let Ok(mut current) = self.current.lock()
            && let Some((stage, bar)) = current.take()
        {
            bar.finish_and_clear();
            eprintln!("{stage:<12} {outcome}");
        }
    }
}
