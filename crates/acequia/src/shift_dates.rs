//! `acequia shift-dates`: moves the days of every person by one secret shift, over several tables.

use std::path::PathBuf;

use acequia_deidentify::{ShiftKey, ShiftReceipt, read_shift_plan, shift_files};
use acequia_node::Failure;
use clap::Args;
use serde_json::json;

use crate::files::write_aside;
use crate::show::Out;

#[derive(Args)]
pub(crate) struct ShiftDatesArgs {
    /// The tables, CSV or Parquet; a row names its person
    #[arg(required_unless_present = "new_key", value_name = "TABLE")]
    tables: Vec<PathBuf>,
    /// The plan (TOML): person, key, days_max, and the columns of every table
    #[arg(long, short = 'c', value_name = "FILE", required_unless_present = "new_key")]
    plan: Option<PathBuf>,
    /// Folder that the shifted tables go to, under their names
    #[arg(long, short, value_name = "FOLDER", required_unless_present = "new_key")]
    out: Option<PathBuf>,
    /// Write the receipt to a file
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// A table that might need more is read several times, with the same result
    #[arg(long, default_value_t = 2048, value_name = "MB")]
    memory_mb: u64,
    /// Make a key at random, write it to a new file, and do nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tables", "plan", "out"])]
    new_key: Option<PathBuf>,
}

pub(crate) fn run(args: &ShiftDatesArgs, out: &Out) -> Result<(), Failure> {
    if let Some(path) = &args.new_key {
        ShiftKey::create(path)?;
        let name = path.display().to_string();
        out.print(
            || json!({ "key": name }),
            || format!("A new key is in {name}. Keep it: who has it can undo every shift, and without it no later version fits."),
        );
        return Ok(());
    }
    // Both are there: the command line asks for them.
    let (Some(plan), Some(folder)) = (&args.plan, &args.out) else { return Ok(()) };
    let (plan, key) = read_shift_plan(plan)?;
    let receipt = shift_files(&args.tables, &plan, &key, folder, args.memory_mb.saturating_mul(1 << 20))?;
    if let Some(path) = &args.receipt {
        write_aside(path, &format!("{:#}\n", json!(receipt)))?;
    }
    out.print(|| json!(receipt), || words(&receipt, &folder.display().to_string()));
    Ok(())
}

fn words(receipt: &ShiftReceipt, folder: &str) -> String {
    let mut text = format!(
        "{} persons, each with one of {} shifts of at most {} days; intervals are exact. Tables are in {folder}.\n",
        receipt.persons, receipt.shifts, receipt.days_max
    );
    for table in &receipt.tables {
        text += &format!(
            "  {:<20} {} of {} rows, {} days moved, {} codes blanked, {} ages pooled\n",
            table.table, table.released, table.rows, table.days, table.codes_blanked, table.ages_pooled
        );
    }
    if let Some(window) = receipt.released_window {
        text += &format!("released days lie from {} to {}\n", window.from, window.to);
    }
    text += &format!("weekdays are {}\n", receipt.weekdays);
    if !receipt.blanked_codes.is_empty() {
        text += &format!("{} codes belong to a time and were blanked\n", receipt.blanked_codes.len());
    }
    let recovery = &receipt.recovery;
    text + &format!(
        "ok   shift recovery: {} of {} found ({:.4}); by chance {:.4}, allowed {:.4}",
        recovery.successes, recovery.attempts, recovery.rate, recovery.chance, recovery.limit
    )
}
