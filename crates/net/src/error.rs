//! What can go wrong between members, with a code and a hint.

use acequia_custody::ApprovalRefused;
use acequia_gate::GateError;
use acequia_learn::LearnError;
use acequia_types::{Coded, Exit};

/// Errors of the network.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The roster contradicts itself or cannot be read.
    #[error("the roster cannot be used: {message}")]
    Roster {
        /// Key or line, and what is wrong.
        message: String,
    },
    /// The roster is signed by somebody else, changed since, or past its last day.
    #[error("the roster is not believed: {reason}")]
    Untrusted {
        /// Why.
        reason: &'static str,
    },
    /// This node's key is not in the roster, or not for what it is asked to do.
    #[error("{who} is not in the roster as {role}")]
    NotAMember {
        /// Name or key.
        who: String,
        /// What it would have to be.
        role: &'static str,
    },
    /// A member cannot be reached.
    #[error("{member} cannot be reached: {reason}")]
    Unreachable {
        /// Which member.
        member: String,
        /// What the connection says.
        reason: String,
    },
    /// A message cannot be understood, or does not belong where it arrived.
    #[error("a message of {from} is refused: {reason}")]
    Message {
        /// Who sent it.
        from: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A member says no.
    #[error("{member} refuses: {reason}")]
    Refused {
        /// Which member.
        member: String,
        /// Its own words.
        reason: String,
    },
    /// Too few sites said yes in time.
    #[error("{allowed} sites allow the run, and it needs {needed}; {waiting} did not decide in time")]
    NotAllowed {
        /// Sites that said yes.
        allowed: usize,
        /// Sites that the plan needs.
        needed: usize,
        /// Sites where nobody decided.
        waiting: usize,
    },
    /// The network address cannot be used.
    #[error("no endpoint at {address}: {reason}")]
    Bind {
        /// Where.
        address: String,
        /// What the operating system says.
        reason: String,
    },
    /// A file of the node cannot be read or written.
    #[error("{what}: {problem}")]
    File {
        /// Which file, in words.
        what: &'static str,
        /// What the operating system says.
        problem: std::io::ErrorKind,
    },
    /// Nothing is known of such a run.
    #[error("no run {run} was offered here, or several are called so")]
    NoRun {
        /// As it was asked for.
        run: String,
    },
    /// A run without a coordinator ended without a result.
    #[error("the run ended without a result: {reason}")]
    Ended {
        /// What a site found.
        reason: String,
    },
    /// Another process answers for this site.
    #[error("another process answers for this site already")]
    Served,
    /// Nobody answers for this site.
    #[error("no process answers for this site")]
    NotServed,
    /// A member tells of its catalogue what cannot be: it changed what it told before, or a seal is not its own.
    #[error("what {member} tells of its catalogue is refused: {reason}")]
    Contradiction {
        /// Which member.
        member: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Whoever was asked for a file did not give it.
    #[error("{what} cannot be had from {asked}")]
    NotHad {
        /// Which file.
        what: String,
        /// Whom, and what each did.
        asked: String,
    },
    /// A manifest of a neighbour is not taken in.
    #[error("the manifest of {version} is refused: {reason}")]
    Manifest {
        /// Which version.
        version: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A plan is not signed by whoever proposes it.
    #[error("the plan that {by} proposes is refused: {reason}")]
    Unsigned {
        /// Who proposes it.
        by: String,
        /// What is wrong with the signature.
        reason: &'static str,
    },
    /// Another process fetches the same file to the same place.
    #[error("another command fetches the same file to the same place")]
    Fetching,
    /// A relay's certificate, or its key, cannot be used.
    #[error("the certificate of the relay cannot be used: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// Members of the roster would not believe a relay's certificate.
    #[error("members would not believe this certificate for {relay}: {reason}")]
    Unbelieved {
        /// The relay, as the roster names it.
        relay: String,
        /// What they would find.
        reason: String,
    },
    /// Error of the run itself.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// A file cannot be written.
    #[error(transparent)]
    Blob(#[from] acequia_blobs::BlobError),
    /// The gate stays shut.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Nobody allows that it leaves.
    #[error(transparent)]
    Approval(#[from] ApprovalRefused),
}

impl Coded for NetError {
    fn code(&self) -> &'static str {
        match self {
            Self::Roster { .. } => "NT001",
            Self::Untrusted { .. } => "NT002",
            Self::NotAMember { .. } => "NT003",
            Self::Unreachable { .. } => "NT004",
            Self::Message { .. } => "NT005",
            Self::Refused { .. } => "NT006",
            Self::NotAllowed { .. } => "NT007",
            Self::Bind { .. } => "NT008",
            Self::File { .. } => "NT009",
            Self::NoRun { .. } => "NT010",
            Self::Ended { .. } => "NT011",
            Self::Served => "NT012",
            Self::NotServed => "NT013",
            Self::Contradiction { .. } => "NT014",
            Self::NotHad { .. } => "NT015",
            Self::Manifest { .. } => "NT016",
            Self::Fetching => "NT017",
            Self::Unsigned { .. } => "NT018",
            Self::Certificate { .. } => "NT019",
            Self::Unbelieved { .. } => "NT020",
            Self::Learn(error) => error.code(),
            Self::Gate(error) => error.code(),
            Self::Blob(error) => error.code(),
            Self::Approval(error) => error.code(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Roster { .. } => "docs/network.md shows how cards and the roster are made",
            Self::Untrusted { .. } => {
                "ask whoever signs the roster for the current one, and compare the key by telephone"
            }
            Self::NotAMember { .. } => {
                "`acequia network key` prints this node's key; whoever signs the roster enters it"
            }
            Self::Unreachable { .. } => {
                "see that the member runs, and that its address in the roster and its firewall are right"
            }
            Self::Message { .. } => {
                "both sides should run the same version of this program; tell whoever runs the other"
            }
            Self::Refused { .. } => "ask the people of that member; what its `acequia site serve` printed says why",
            Self::NotAllowed { .. } => {
                "ask the sites to decide with `acequia site approve`, and run the same command again"
            }
            Self::Bind { .. } => {
                "choose another address (--listen, of a relay --address and --discovery), or end what has it"
            }
            Self::File { .. } => "see that the folder of the node can be written",
            Self::NoRun { .. } => "`acequia site runs` lists what was offered",
            Self::Ended { .. } => {
                "`acequia site show` says what left; change the plan, whose title is enough, to begin anew"
            }
            Self::Served => "end the other `acequia site serve` first: two would promise two things in one name",
            Self::NotServed => "start `acequia site serve` at this node, and run the same command again",
            Self::Contradiction { .. } => {
                "nothing of it was taken in; ask that member's people: one that lost records, or was broken into, gets a new key and a new card"
            }
            Self::NotHad { .. } => {
                "`acequia network catalogue sync` says who answers; give the same command again, and it goes on where it was"
            }
            Self::Manifest { .. } => "the version is not taken in; tell whoever published it",
            Self::Unsigned { .. } => {
                "whoever proposes a plan signs it with the key of the roster, which this program does; both sides should run the same version of it, under the same roster"
            }
            Self::Fetching => "wait until it is done, then try again",
            Self::Certificate { .. } => {
                "--certificate names the certificate and those between it and its authority, --key the key that it was asked for with, both in PEM"
            }
            Self::Unbelieved { .. } => {
                "get a certificate for the name in the roster; of an authority of your own, sign the roster with --relay-authority and join it"
            }
            Self::Learn(error) => error.hint(),
            Self::Gate(error) => error.hint(),
            Self::Blob(error) => error.hint(),
            Self::Approval(error) => error.hint(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Roster { .. } | Self::Certificate { .. } | Self::Unbelieved { .. } => Exit::Usage,
            Self::NoRun { .. } => Exit::NotFound,
            Self::Untrusted { .. } | Self::NotAMember { .. } | Self::Refused { .. } | Self::Unsigned { .. } => {
                Exit::NotPermitted
            }
            Self::NotAllowed { .. } | Self::Unreachable { .. } | Self::NotServed => Exit::Temporary,
            Self::NotHad { .. } | Self::Fetching => Exit::Temporary,
            Self::Contradiction { .. } | Self::Manifest { .. } => Exit::Integrity,
            Self::Message { .. } | Self::Bind { .. } | Self::File { .. } | Self::Ended { .. } | Self::Served => {
                Exit::Failure
            }
            Self::Learn(error) => error.exit(),
            Self::Gate(error) => error.exit(),
            Self::Blob(error) => error.exit(),
            Self::Approval(error) => error.exit(),
        }
    }
}

/// An error of the operating system, by what it was about.
pub(crate) fn file(what: &'static str) -> impl Fn(std::io::Error) -> NetError {
    move |error| NetError::File { what, problem: error.kind() }
}
