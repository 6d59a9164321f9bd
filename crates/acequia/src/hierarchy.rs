//! `acequia hierarchy`: prints or draws a hierarchy of a policy.

use std::path::PathBuf;

use acequia_deidentify::{FileTable, HierarchyTable, read_policy};
use acequia_node::Failure;
use clap::Args;
use serde_json::json;

use crate::files::write_aside;
use crate::show::Out;

#[derive(Args)]
pub(crate) struct HierarchyArgs {
    /// The policy (TOML)
    policy: PathBuf,
    /// The column
    column: String,
    /// Table whose values it is for; hierarchies that list their values need none, and are checked against one
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// Print a tree instead of rows
    #[arg(long)]
    tree: bool,
    /// Draw it into a file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub(crate) fn run(args: &HierarchyArgs, out: &Out) -> Result<(), Failure> {
    let (policy, files) = read_policy(&args.policy)?;
    let table = args.table.as_ref().map(|table| FileTable::read(table, None)).transpose()?;
    let hierarchy = HierarchyTable::of(&policy, &args.column, &files, table.as_ref())?;
    if let Some(svg) = &args.svg {
        write_aside(svg, &hierarchy.to_svg())?;
    }
    out.print(|| json!(hierarchy), || if args.tree { hierarchy.to_tree() } else { hierarchy.to_csv() });
    Ok(())
}
