//! Progress bars on stderr; plain lines where stderr is no terminal.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use acequia_node::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// How often the bar moves by itself, so that a long step does not look like one that hangs.
const TICK: Duration = Duration::from_millis(120);

/// One bar at a time, a line per finished stage.
pub(crate) struct Bars {
    terminal: bool,
    current: Mutex<Option<Current>>,
}

struct Current {
    stage: String,
    bar: ProgressBar,
    since: Instant,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), current: Mutex::new(None) }
    }
}

impl Progress for Bars {
    fn start(&self, stage: &str, total: u64) {
        let bar = if self.terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
        // A bar of one unit would stand still and then be full.
        let template = if total > 1 {
            "{spinner} {msg:<12} {bar:32} {pos}/{len} {elapsed}"
        } else {
            "{spinner} {msg:<12} working … {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(stage.to_owned());
        bar.tick();
        if self.terminal {
            bar.enable_steady_tick(TICK);
        }
        if let Ok(mut current) = self.current.lock() {
            *current = Some(Current { stage: stage.to_owned(), bar, since: Instant::now() });
        }
    }

    fn advance(&self, units: u64) {
        if let Ok(current) = self.current.lock()
            && let Some(current) = current.as_ref()
        {
            current.bar.inc(units);
        }
    }

    fn finish(&self, outcome: &str) {
        if let Ok(mut current) = self.current.lock()
            && let Some(Current { stage, bar, since }) = current.take()
        {
            bar.finish_and_clear();
            eprintln!("{stage:<12} {outcome} ({:.1} s)", since.elapsed().as_secs_f64());
        }
    }
}
