//! `acequia network relay`: where members meet who cannot reach one another.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use acequia_net::{DISCOVERY_PORT, MemberFolder, MemberKey, NetError, Relay, RelaySettings, Roster};
use acequia_node::Failure;
use acequia_types::SystemClock;
use clap::Args;
use serde_json::json;

use crate::network::{say, trusted};
use crate::show::Out;
use crate::train::text_of;
use crate::until_stopped;

/// How often files and roster are looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct RelayArgs {
    /// Where members connect (TCP); what the roster names leads here
    #[arg(long, value_name = "ADDRESS")]
    address: SocketAddr,
    /// The certificate for the relay's name in the roster, and those between it and its authority (PEM)
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// UDP port at which members ask what their own address looks like from outside, or off; members ask at 7842, so another port is for
    /// where 7842 outside leads to it
    #[arg(long, value_name = "PORT|off", default_value_t = Discovery(Some(DISCOVERY_PORT)), value_parser = discovery)]
    discovery: Discovery,
    /// The signed roster (JSON), where this machine is no member [default: that of the network which this node joined]
    #[arg(long, value_name = "FILE", requires = "trust")]
    roster: Option<PathBuf>,
    /// Key of whoever signs that roster, or the card with it
    #[arg(long, value_name = "KEY|CARD", requires = "roster")]
    trust: Option<String>,
}

/// A port, or none.
#[derive(Debug, Clone, Copy)]
struct Discovery(Option<u16>);

impl std::fmt::Display for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(port) => write!(f, "{port}"),
            None => f.write_str("off"),
        }
    }
}

fn discovery(text: &str) -> Result<Discovery, String> {
    match text {
        "off" => Ok(Discovery(None)),
        port => port.parse().map(|port| Discovery(Some(port))).map_err(|_| "a port, or off".to_owned()),
    }
}

/// Where a relay has its roster from.
enum Source {
    Joined(MemberFolder),
    File(PathBuf, MemberKey),
}

impl Source {
    fn roster(&self) -> Result<Arc<Roster>, NetError> {
        match self {
            Self::Joined(folder) => folder.roster(),
            Self::File(path, signer) => Ok(Arc::new(Roster::from_json(&text_of(path, "the signed roster")?, signer)?)),
        }
    }
}

pub(crate) async fn run(args: &RelayArgs, folder: MemberFolder, out: &Out) -> Result<(), Failure> {
    let source = match (&args.roster, &args.trust) {
        (Some(path), Some(trust)) => Source::File(path.clone(), trusted(trust)?),
        _ => Source::Joined(folder),
    };
    let roster = source.roster()?;
    let members = roster.document().members.len();
    let settings = RelaySettings {
        address: args.address,
        discovery: args.discovery.0.map(|port| SocketAddr::new(args.address.ip(), port)),
        certificate: args.certificate.clone(),
        key: args.key.clone(),
        look_every: LOOK_EVERY,
    };
    let relay = Relay::open(roster, settings, Arc::new(SystemClock)).await?;
    let (url, address, asked_at) = (relay.url(), relay.address(), relay.discovery_address());
    if out.json {
        let event = json!({ "event": "listening", "relay": url, "address": address, "discovery": asked_at, "members": members });
        say(&event.to_string());
    } else {
        let asks = asked_at.map_or(String::new(), |at| format!("; asked for addresses at {at} (UDP)"));
        say(&format!("Relaying for {members} members as {url} on {address}{asks}"));
    }
    tokio::select! {
        () = relay.serve(|| source.roster()) => {}
        () = until_stopped() => {}
    }
    let relayed = relay.relayed().await;
    relay.close().await;
    if out.json {
        let event = json!({
            "event": "stopped", "received_bytes": relayed.received_bytes, "sent_bytes": relayed.sent_bytes,
            "turned_away": relayed.turned_away,
        });
        say(&event.to_string());
    } else {
        let (bytes, strangers) = (relayed.sent_bytes, relayed.turned_away);
        say(&format!(
            "{bytes} bytes were passed on; keys that are not in the roster were turned away {strangers} times"
        ));
    }
    Ok(())
}
