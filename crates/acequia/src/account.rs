//! `acequia account`: who may sign in to the node's pages.

use acequia_node::{Account, DonorId, Failure, Holder, Invitation, Node, SourceId};
use clap::Subcommand;
use serde_json::json;

use crate::show::Out;

#[derive(Subcommand)]
pub(crate) enum AccountCommand {
    /// A code for a donor or an institution, to be handed over in person or by letter
    ///
    /// It counts once, for 14 days. At the node's pages the person enters it and makes a passkey. Whoever lost the passkey needs
    /// two different persons who ask for the same: the second gets the code, and on its use the lost passkey opens nothing.
    #[command(
        after_help = "Examples:\n  acequia account invite donor-0007 --by anna\n  acequia account invite rotterdam --institution --by anna"
    )]
    Invite {
        /// The donor's account, or the institution's source
        name: String,
        /// It is an institution: the source that its records were donated under
        #[arg(long)]
        institution: bool,
        /// Who of the trustee knows the person
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
    /// Every account, and how many passkeys open it
    #[command(after_help = "Example:\n  acequia account list")]
    List,
    /// Close an account: its passkeys and codes open nothing any more; what was given and decided stays
    #[command(after_help = "Example:\n  acequia account close donor-0007 --by anna")]
    Close {
        /// The donor's account, or the institution's source
        name: String,
        /// It is an institution
        #[arg(long)]
        institution: bool,
        /// Who of the trustee closes it
        #[arg(long, value_name = "STAFF")]
        by: String,
    },
}

fn holder(name: &str, institution: bool) -> Result<Holder, Failure> {
    // Parsed here: a word that is no account must not be repeated by the parser of the command line.
    Ok(if institution { Holder::Institution(SourceId::parse(name)?) } else { Holder::Donor(DonorId::parse(name)?) })
}

pub(crate) async fn run(node: &Node, command: &AccountCommand, quiet: bool, out: &Out) -> Result<(), Failure> {
    match command {
        AccountCommand::Invite { name, institution, by } => {
            let holder = holder(name, *institution)?;
            if !quiet && !node.holds(&holder).await? {
                eprintln!("note: nothing under this name is here yet; is it spelt as in the donations?");
            }
            let invitation = node.invite(&holder, by).await?;
            out.print(|| json!(told(&invitation)), || words(&invitation));
        }
        AccountCommand::List => {
            let accounts = node.accounts().await?;
            out.print(|| json!(accounts), || lines(&accounts));
        }
        AccountCommand::Close { name, institution, by } => {
            node.close_account(&holder(name, *institution)?, by).await?;
            out.print(|| json!({ "closed": true }), || "Closed. What was given and decided stays.".to_owned());
        }
    }
    Ok(())
}

/// For programs: without a code a second person must ask.
pub(crate) fn told(invitation: &Invitation) -> serde_json::Value {
    json!({
        "role": invitation.holder.role(),
        "name": invitation.holder.name(),
        "code": invitation.code,
        "needs_second_person": invitation.code.is_none(),
        "until": invitation.until,
    })
}

fn words(invitation: &Invitation) -> String {
    let (role, name, until) = (invitation.holder.role(), invitation.holder.name(), invitation.until.day());
    match &invitation.code {
        Some(code) => format!(
            "Code for {role} {name}: {code}\nIt counts once, until {until}, at /you/join of the node's pages. Hand it to the person whom you know, and to nobody else."
        ),
        None => format!(
            "{role} {name} has a passkey. A second person must ask for the same until {until}, with another --by; then there is a code, and the lost passkey opens nothing once it is used."
        ),
    }
}

fn lines(accounts: &[Account]) -> String {
    if accounts.is_empty() {
        return "Nobody was invited yet: `acequia account invite`.".to_owned();
    }
    let line = |account: &Account| {
        let (role, name, made) = (account.holder.role(), account.holder.name(), account.made_at.day());
        format!("{role:<12} {name:<24} since {made}  {} passkeys", account.passkeys)
    };
    accounts.iter().map(line).collect::<Vec<_>>().join("\n")
}
