//! `acequia risk`: how easily persons in a table can be found.

use std::path::PathBuf;

use acequia_deidentify::{FileTable, Role, read_policy, risk_of_events, risk_report};
use acequia_node::Failure;
use clap::Args;

use crate::files::write_aside;
use crate::show::Out;

#[derive(Args)]
pub(crate) struct RiskArgs {
    /// The table
    table: PathBuf,
    /// What an attacker knows; once for each column
    #[arg(long = "known", value_name = "COLUMN", required_unless_present = "policy")]
    known: Vec<String>,
    /// Take the quasi-identifiers of this policy
    #[arg(long, short = 'c', value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Table of the persons' events, where the policy names events that are not in the table itself
    #[arg(long, value_name = "FILE", requires = "policy")]
    events: Option<PathBuf>,
    /// Risk from which on a row counts as at risk
    #[arg(long, default_value_t = 0.09, value_name = "RISK")]
    threshold: f64,
    /// People in the population, to estimate how many are unique in it
    #[arg(long, value_name = "N")]
    population: Option<u64>,
    /// Table of the population with the same columns, for an attacker who has one
    #[arg(long, value_name = "FILE")]
    population_table: Option<PathBuf>,
    /// Look for rows that are unique by at most so many columns together (SUDA2)
    #[arg(long, value_name = "COLUMNS", num_args = 0..=1, default_missing_value = "3")]
    special_uniques: Option<usize>,
    /// Write a report of one page (HTML) that can be printed
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(crate) fn run(args: &RiskArgs, out: &Out) -> Result<(), Failure> {
    let mut known = args.known.clone();
    if let Some(policy) = &args.policy {
        let (policy, hierarchies) = read_policy(policy)?;
        if policy.events.is_some() || args.events.is_some() {
            out.event_risk(&risk_of_events(&args.table, args.events.as_deref(), &policy, &hierarchies)?);
            return Ok(());
        }
        known.extend(policy.of_role(Role::QuasiIdentifier).map(|(name, _)| name.to_owned()));
    }
    let table = FileTable::read(&args.table, args.population_table.as_deref())?;
    let mut risk = table.risk(&known, args.threshold, args.population)?;
    if let Some(largest) = args.special_uniques {
        risk.special_uniques = Some(table.special_uniques(&known, largest, args.population)?);
    }
    if let Some(report) = &args.report {
        write_aside(report, &risk_report(&crate::files::title(&args.table), Some(&risk), None))?;
    }
    out.risk(&risk);
    Ok(())
}
