//! `rights notify`: notices to recipients, each handed to a carrier exactly once.
//!
//! A notice becomes one file in `<home>/outbox/new/`, named by its id. A carrier (a mail program, a person) moves the file to
//! `<home>/outbox/sent/` when it has taken it. The node never opens a connection of its own. A file is written aside, synced and renamed,
//! then ticked off in the records; after a crash between the two, the file is found in one of the folders and not written again.
//! The same notice gives the same bytes.
//!
//! The notice itself is signed (JWS, RFC 7515, EdDSA by RFC 8037). Anybody can sign with a key of her own and put that key
//! into the header: a recipient compares it with the one that `rights notify` prints, given to it when it is registered.

use serde::Serialize;
use serde_json::{Value, json};

use acequia_types::Day;
use acequia_vault::{Notice, Recipient, Texts};

use crate::failpoint::failpoint;
use crate::failure::{Failure, io};
use crate::home::Node;
use crate::settings::Settings;

/// What was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandedOver {
    /// Notices written for a carrier just now.
    pub written: u64,
    /// Notices that lie in the outbox until a carrier takes them.
    pub in_outbox: u64,
    /// The public key of their signatures: Ed25519, 32 bytes in base64url, as in a JSON Web Key.
    pub signed_by: String,
}

impl Node {
    /// Hands every notice that is due to a carrier.
    ///
    /// # Errors
    /// [`crate::NodeError::Busy`], [`crate::NodeError::Io`]; what was not handed over is the next time.
    pub async fn notify(&self) -> Result<HandedOver, Failure> {
        let _lock = self.lock()?;
        self.hand_over_notices().await
    }

    pub(crate) async fn hand_over_notices(&self) -> Result<HandedOver, Failure> {
        self.give_way().await?;
        let (desk, now) = (self.desk(), self.clock.now());
        let (new, sent) = (self.home.join("outbox").join("new"), self.home.join("outbox").join("sent"));
        let (mut written, mut handed) = (0, Vec::new());
        for (notice, recipient, confirm_by) in desk.due_notices(now).await? {
            for folder in [&new, &sent] {
                std::fs::create_dir_all(folder).map_err(io("the outbox", "written"))?;
            }
            let name = format!("{}.json", notice.id());
            // In this order: a carrier moves a file from the first folder to the second, never back.
            if !new.join(&name).exists() && !sent.join(&name).exists() {
                let paper = self.paper(&notice, &recipient, confirm_by)?;
                acequia_blobs::write_file_atomically(&new.join(&name), format!("{paper:#}\n").as_bytes())?;
                written += 1;
                failpoint("notify.spooled");
            }
            handed.push(notice);
        }
        if !handed.is_empty() {
            desk.delivered(handed, now).await?;
            failpoint("notify.recorded");
        }
        let mut in_outbox = 0;
        if new.is_dir() {
            // What a crash left half-written; nobody else writes here while the node is locked.
            acequia_blobs::sweep_aside(&new)?;
            for entry in std::fs::read_dir(&new).map_err(io("the outbox", "read"))? {
                let name = entry.map_err(io("the outbox", "read"))?.file_name();
                in_outbox += u64::from(name.to_string_lossy().ends_with(".json"));
            }
        }
        Ok(HandedOver { written, in_outbox, signed_by: self.signature().public() })
    }

    /// What a carrier gets: where to, a letter, and the notice for programs, signed.
    fn paper(&self, notice: &Notice, recipient: &Recipient, confirm_by: Day) -> Result<Value, Failure> {
        let language = recipient.language.as_deref().unwrap_or("en");
        // Texts of the node that cannot be read keep no recipient from hearing.
        let texts = self.texts(language).unwrap_or_else(|failure| {
            tracing::warn!(code = %failure.code, "{}", failure.message);
            Texts::of(language)
        });
        let trustee = Settings::read(&self.home)?.trustee();
        let (subject, sentences) = notice.letter(&texts, confirm_by);
        let told = json!({
            "iss": trustee.name,
            "jti": notice.id(),
            "recipient": notice.recipient,
            "dataset": notice.dataset,
            "right": notice.right,
            "version": notice.version,
            "reason": notice.reason,
            "successor": notice.successor,
            "confirm_by": confirm_by,
        });
        let signed = self.signature().sign_with_key(&told);
        let (language, from) = (texts.language(), trustee.contact);
        Ok(json!({
            "id": notice.id(),
            "to": recipient.contact,
            "from": from,
            "language": language,
            "subject": subject,
            "text": sentences.join("\n\n"),
            "notice": told,
            "signed": signed,
        }))
    }
}
