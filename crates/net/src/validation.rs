//! What a frozen model is worth at the sites of the network, each finding signed by its site.

use acequia_learn::{Evidence, Record, SiteEvaluation, SiteSignature, Statement, ValidationRequest, finding_digest};
use acequia_types::{Day, Digest};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::coordinator::{Coordinator, REFUSES, RunEvent, WAITS, said, unexpected};
use crate::error::NetError;
use crate::folder::MemberFolder;
use crate::identity::MemberKey;
use crate::link::ASK_AGAIN;
use crate::message::{Frame, Reply, Request};
use crate::roster::Roster;
use crate::site::FINDING;

impl Coordinator {
    /// Asks the sites to measure a model. Sites that refuse, or whose people do not decide in time, are not in what comes back.
    ///
    /// # Errors
    /// [`NetError::NotAllowed`] when no site answers, [`NetError::Untrusted`] when a signature is not the site's.
    pub async fn validate(
        &self,
        request: &ValidationRequest,
    ) -> Result<(Vec<SiteEvaluation>, Vec<SiteSignature>), NetError> {
        self.is_valid_now()?;
        let frame = self.examination(request);
        let asked = self.asked_sites()?;
        let until = Instant::now() + self.decide_within();
        let answers = join_all(asked.iter().map(|site| self.finding(site, &frame, until))).await;
        let model = request.model.digest();
        let (mut evaluations, mut signatures, mut waiting) = (Vec::new(), Vec::new(), 0);
        for (site, answer) in asked.iter().zip(answers) {
            match answer? {
                Found::Evaluation(evaluation, signature) => {
                    let key = self.roster().expect(site, crate::Role::Site)?.key;
                    let signed = SiteSignature { site: site.clone(), key: key.to_string(), signature };
                    is_signed(self.roster(), &signed, finding_digest(model, &request.settings, &evaluation))?;
                    evaluations.push(*evaluation);
                    signatures.push(signed);
                }
                Found::No => {}
                Found::Waits => waiting += 1,
            }
        }
        if evaluations.is_empty() {
            return Err(NetError::NotAllowed { allowed: 0, needed: 1, waiting });
        }
        Ok((evaluations, signatures))
    }

    /// Offers a validation without waiting for anybody: what each site says, `None` where it cannot be reached in time.
    ///
    /// # Errors
    /// [`NetError::NotAMember`] when a site that is to be asked is none of the roster.
    pub async fn offer_validation(
        &self,
        request: &ValidationRequest,
    ) -> Result<Vec<(String, Option<&'static str>)>, NetError> {
        self.is_valid_now()?;
        self.said_once(&self.examination(request)).await
    }

    /// A request, signed.
    fn examination(&self, request: &ValidationRequest) -> Frame {
        let signature = Some(self.signed(&request.digest()));
        Frame::from(&Request::Examine { request: request.to_json(), signature })
    }

    async fn finding(&self, site: &str, frame: &Frame, until: Instant) -> Result<Found, NetError> {
        let mut told = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(answer) = self.ask_site(site, frame, left).await else { return Ok(Found::Waits) };
            match said(site, &answer) {
                Ok((Reply::Finding { signature }, evaluation)) => {
                    let evaluation: SiteEvaluation =
                        serde_json::from_slice(evaluation).map_err(|_| unexpected(site))?;
                    return match evaluation.site == site {
                        true => Ok(Found::Evaluation(Box::new(evaluation), signature)),
                        false => Err(unexpected(site)),
                    };
                }
                Ok((Reply::Waits, _)) => {
                    if !std::mem::replace(&mut told, true) {
                        self.tell(RunEvent::Offered(site.to_owned(), WAITS));
                    }
                }
                Ok(_) => return Err(unexpected(site)),
                Err(_) => {
                    self.tell(RunEvent::Offered(site.to_owned(), REFUSES));
                    return Ok(Found::No);
                }
            }
            if Instant::now() >= until {
                return Ok(Found::Waits);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

enum Found {
    Evaluation(Box<SiteEvaluation>, String),
    No,
    Waits,
}

fn is_signed(roster: &Roster, signed: &SiteSignature, digest: Digest) -> Result<(), NetError> {
    let member = roster.expect(&signed.site, crate::Role::Site)?;
    if member.key.to_string() != signed.key || !member.key.verifies(FINDING, &digest, &signed.signature) {
        return Err(NetError::Untrusted { reason: "a site did not sign what stands there in its name" });
    }
    Ok(())
}

/// Signatures of this node under what it measured on its own rows: where it joined a network as a site, under what stands there in its
/// name. None otherwise.
///
/// # Errors
/// [`NetError::Untrusted`] when somebody changed its roster; [`NetError::File`].
pub fn signed_here(
    folder: &MemberFolder,
    request: &ValidationRequest,
    evaluations: &[SiteEvaluation],
) -> Result<Vec<SiteSignature>, NetError> {
    if !folder.has_joined() {
        return Ok(Vec::new());
    }
    let (roster, identity) = (folder.roster()?, folder.identity()?);
    let own = roster.of_key(&identity.key()).filter(|own| own.roles.contains(&crate::Role::Site));
    let Some(own) = own else { return Ok(Vec::new()) };
    let model = request.model.digest();
    let signed = evaluations.iter().filter(|evaluation| evaluation.site == own.name).map(|evaluation| {
        let signature = identity.sign(FINDING, &finding_digest(model, &request.settings, evaluation));
        SiteSignature { site: own.name.clone(), key: own.key.to_string(), signature }
    });
    Ok(signed.collect())
}

/// What a signature under a statement is for.
const STATEMENT: &str = "acequia statement 1";

/// States beyond what a record measured how far its evidence goes, signed with this node's key. See [`Statement`].
///
/// # Errors
/// [`NetError::Learn`] when it states a level that is measured, or leaves out who states it or where to look it up; [`NetError::File`].
pub fn state(
    folder: &MemberFolder,
    record: Record,
    (level, by, reference, says): (Evidence, String, String, Option<String>),
    on: Day,
) -> Result<Record, NetError> {
    let identity = folder.identity()?;
    let (key, signature) = (identity.key().to_string(), String::new());
    let mut statement = Statement { level, by, reference, says, on, key, signature };
    statement.signature = identity.sign(STATEMENT, &statement.digest(&record));
    Ok(record.stating(statement)?)
}

/// Checks that whoever's key stands under a statement signed it, about what the record measured.
///
/// # Errors
/// [`NetError::Untrusted`].
pub fn check_statements(record: &Record) -> Result<(), NetError> {
    let is_signed = |statement: &Statement| {
        let key = statement.key.parse::<MemberKey>();
        key.is_ok_and(|key| key.verifies(STATEMENT, &statement.digest(record), &statement.signature))
    };
    match record.statements.iter().all(is_signed) {
        true => Ok(()),
        false => Err(NetError::Untrusted { reason: "a statement is not signed by the key that stands there" }),
    }
}

/// Checks that every site of a record signed what stands there, for the record's model and settings, and that the sites are
/// pooled as they are there. The other fields are the record keeper's words.
///
/// # Errors
/// [`NetError::Untrusted`] when one did not, or there is none; [`NetError::NotAMember`] when one is none of the roster.
pub fn check_record(record: &Record, roster: &Roster) -> Result<(), NetError> {
    if record.sites.is_empty() || Record::pool(&record.sites) != record.pooled {
        return Err(NetError::Untrusted { reason: "the sites are not pooled as they are there" });
    }
    check_statements(record)?;
    for evaluation in &record.sites {
        let signed = record.signatures.iter().find(|signed| signed.site == evaluation.site);
        let signed =
            signed.ok_or(NetError::Untrusted { reason: "a site did not sign what stands there in its name" })?;
        is_signed(roster, signed, finding_digest(record.model, &record.settings, evaluation))?;
    }
    Ok(())
}
