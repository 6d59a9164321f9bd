//! Members who meet at a relay and nowhere else, strangers there, and relays that nobody should believe.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_learn::Architecture;
use acequia_types::{Clock, Coded, SystemClock, parse_day};
use iroh::endpoint::presets;
use iroh::{Endpoint, RelayConfig, RelayMap, RelayMode};
use iroh_relay::RelayQuicConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::peers::{self, Circle};
use super::runs::here;
use super::{Loopback, SITES, clock, kill, plan, untested};
use crate::relay::believed_authorities;
use crate::{
    Frame, Link, Members, NetError, Network, Protocol, Relay, RelaySettings, Relayed, Roster, authorities_of_pem,
};

/// An authority, and a relay's certificate of it for loopback.
struct Place {
    folder: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
    at: SocketAddr,
    url: String,
    pem: String,
}

/// A relay that runs.
struct Running {
    relay: Arc<Relay>,
    task: JoinHandle<()>,
}

impl Running {
    fn of(roster: watch::Receiver<Arc<Roster>>, relay: Relay) -> Self {
        let relay = Arc::new(relay);
        let served = Arc::clone(&relay);
        let task = tokio::spawn(async move { served.serve(|| Ok(Arc::clone(&roster.borrow()))).await });
        Self { relay, task }
    }

    async fn down(self) {
        self.task.abort();
        let _ = self.task.await;
        Arc::into_inner(self.relay).unwrap().close().await;
    }
}

impl Place {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("The authority of {at}"));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pem = authority.pem().trim().to_owned();
        let place = Self { folder: tempfile::tempdir().unwrap(), authority, at, url: format!("https://{at}"), pem };
        place.certify("127.0.0.1");
        place
    }

    /// Another certificate, for this name.
    fn certify(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "A relay");
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(self.folder.path().join("chain.pem"), certificate.pem()).unwrap();
    }

    fn named(&self) -> (&str, &str) {
        (&self.url, &self.pem)
    }

    fn settings(&self) -> RelaySettings {
        RelaySettings {
            address: self.at,
            discovery: None,
            certificate: self.folder.path().join("chain.pem"),
            key: self.folder.path().join("key.pem"),
            look_every: Duration::from_millis(100),
        }
    }

    async fn open(&self, roster: &Arc<Roster>, settings: RelaySettings) -> Result<Relay, NetError> {
        Relay::open(Arc::clone(roster), settings, clock()).await
    }

    async fn up(&self, roster: &Arc<Roster>) -> Running {
        let (_, roster) = watch::channel(Arc::clone(roster));
        self.up_with(roster, self.settings()).await
    }

    async fn up_with(&self, roster: watch::Receiver<Arc<Roster>>, settings: RelaySettings) -> Running {
        let first = Arc::clone(&roster.borrow());
        Running::of(roster, self.open(&first, settings).await.unwrap())
    }
}

#[track_caller]
fn refused(opened: Result<Relay, NetError>, code: &str, words: &str) {
    let error = opened.err().unwrap();
    assert!(error.code() == code && error.to_string().contains(words), "{}: {error}", error.code());
}

/// Waits until the relay says so.
async fn until(relay: &Relay, what: &str, found: impl Fn(&Relayed) -> bool) {
    let began = Instant::now();
    while !found(&relay.relayed().await) {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: {:?}", relay.relayed().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn frame(text: &str) -> Frame {
    Frame::by_hand(&json!({ "text": text }), &[])
}

async fn say(link: &Link, text: &str) -> Value {
    let answer = tokio::time::timeout(Duration::from_secs(20), link.ask(&frame(text))).await.unwrap().unwrap();
    crate::message::read::<Value>("somebody", &answer).unwrap().0["text"].clone()
}

/// Says back what it is asked.
fn echo(link: Link) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(mut incoming) = link.next().await {
            let bytes = incoming.read().await.unwrap();
            let text = crate::message::read::<Value>("somebody", &bytes).unwrap().0["text"].clone();
            incoming.answer(&frame(text.as_str().unwrap())).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn members_meet_at_the_relay_and_strangers_do_not() {
    let place = Place::new();
    let net = Loopback::by_relay(place.named());
    let up = place.up(&net.roster).await;
    assert_eq!((up.relay.address(), up.relay.url()), (place.at, format!("{}/", place.url)));
    let (trustee, north) = (net.open("trustee").await, net.open("north").await);
    assert!(trustee.addresses().is_empty() && north.addresses().is_empty(), "there is no other way");
    let mut links = trustee.listen(Protocol::Run);
    let there = north.dial(net.roster.named("trustee").unwrap(), Protocol::Run).await.unwrap();
    let back = links.recv().await.unwrap();
    assert_eq!((there.member(), back.member()), ("trustee", "north"));
    let text = "x".repeat(100_000);
    echo(back.clone());
    assert_eq!(say(&there, &text).await, text.as_str());
    echo(there);
    assert_eq!(say(&back, &text).await, text.as_str());
    let relayed = up.relay.relayed().await;
    assert!(relayed.received_bytes > 400_000 && relayed.sent_bytes > 400_000, "{relayed:?}");
    assert_eq!((relayed.members, relayed.turned_away), (2, 0));

    // A stranger makes itself a roster of its own, with the same relay.
    let stranger = net.identity("stranger");
    let mut members = net.roster.document().clone();
    members.members[2].key = stranger.key();
    let forged = Arc::new(members.sign(&stranger));
    let network = Network::open_by_relay(&stranger, Arc::clone(&forged)).await.unwrap();
    let dialled = network.dial(forged.named("trustee").unwrap(), Protocol::Run).await;
    let said = dialled.err().unwrap().to_string();
    assert!(said.contains("turns this node away: this key is not in the roster"), "{said}");
    let after = up.relay.relayed().await;
    assert!(after.turned_away > 0 && after.members == 2, "{after:?}");
    for network in [network, trustee, north] {
        network.close().await;
    }
    until(&up.relay, "who left is not counted", |relayed| relayed.members == 0).await;
    up.down().await;
}

/// With a coordinator, two aggregators and three sites who have no address: the result is the same, and so it is when the relay
/// dies in the middle and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_through_the_relay_also_when_it_dies_on_the_way() {
    let place = Place::new();
    let net = Loopback::by_relay(place.named());
    let relay = place.up(&net.roster).await;
    let council = net.council().await;
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site(site).await);
    }
    let first = plan(&[]);
    let expected = here(&first, &SITES);
    let began = Instant::now();
    let report = net.run_all(&first).await.unwrap();
    assert_eq!((report.sites.as_slice(), untested(report.outcome)), (&SITES.map(str::to_owned)[..], expected));
    let relayed = relay.relay.relayed().await;
    println!("{} rounds in {:.1?}; {relayed:?}", report.rounds, began.elapsed());
    assert!(relayed.received_bytes > 20_000 && relayed.sent_bytes > 20_000, "{relayed:?}");

    let again = plan(&[("Recurrence or death", "Once more: recurrence or death")]);
    let (rounds, mut round) = watch::channel(0);
    let (report, relay) = tokio::join!(net.run(&again, Duration::from_secs(120), rounds), async {
        round.wait_for(|round| *round >= 3).await.unwrap();
        relay.down().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        place.up(&net.roster).await
    });
    let report = report.unwrap();
    println!("{} rounds, {:?}", report.rounds, relay.relay.relayed().await);
    assert_eq!((report.sites.as_slice(), report.left_out.len()), (&SITES.map(str::to_owned)[..], 0));
    assert_eq!(untested(report.outcome), here(&again, &SITES));
    assert!(relay.relay.relayed().await.received_bytes > 0, "the rest went through the second one");
    kill(up).await;
    council.kill().await;
    relay.down().await;
}

/// Nobody has an address; with a relay all add up in turns.
#[tokio::test(flavor = "multi_thread")]
async fn sites_without_addresses_add_up_in_turns_at_the_relay() {
    let place = Place::new();
    let circle = Circle::by_relay(place.named());
    let relay = place.up(circle.roster()).await;
    let up = circle.start_all().await;
    let plan = plan(&[]);
    let run = circle.propose("south", &plan);
    let outcome = untested(circle.results(&peers::SITES, &run).await);
    assert_eq!(outcome, peers::here(&plan, &peers::SITES, Architecture::Federated));
    let log = circle.queue("east").log(&run).unwrap();
    let adders: std::collections::BTreeSet<&str> =
        log.entries().iter().skip(1).flat_map(|entry| entry.left.to.iter().map(String::as_str)).collect();
    assert_eq!(adders.into_iter().collect::<Vec<_>>(), peers::SITES, "each added up at some time");
    println!("{:?}", relay.relay.relayed().await);
    assert!(relay.relay.relayed().await.received_bytes > 20_000);
    peers::kill(up).await;
    relay.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_members_would_not_believe_does_not_start() {
    let (place, other) = (Place::new(), Place::new());
    let net = Loopback::by_relay(place.named());
    let files = |certificate: &Place, key: &Place| RelaySettings {
        certificate: certificate.settings().certificate,
        key: key.settings().key,
        ..place.settings()
    };
    refused(place.open(&net.roster, files(&other, &other)).await, "NT020", "UnknownIssuer");
    refused(place.open(&net.roster, files(&place, &other)).await, "NT019", "not that of the certificate");
    let none = RelaySettings { key: place.folder.path().join("none"), ..place.settings() };
    refused(place.open(&net.roster, none).await, "NT019", "the file of its key cannot be read");
    let swapped = RelaySettings { certificate: place.settings().key, ..place.settings() };
    refused(place.open(&net.roster, swapped).await, "NT019", "none in its file");
    let swapped = RelaySettings { key: place.settings().certificate, ..place.settings() };
    refused(place.open(&net.roster, swapped).await, "NT019", "no key in the file");
    place.certify("127.0.0.2");
    refused(place.open(&net.roster, place.settings()).await, "NT020", "not valid for name");
    place.certify("127.0.0.1");

    let signed = |change: &dyn Fn(&mut Members)| {
        let mut members = net.roster.document().clone();
        change(&mut members);
        Arc::new(members.sign(&net.identity("trustee")))
    };
    let none = signed(&|members| {
        members.relays.clear();
        members.relay_authorities.clear();
    });
    refused(place.open(&none, place.settings()).await, "NT001", "names no relay");
    let expired = signed(&|members| members.last_day = parse_day("2020-01-01"));
    refused(place.open(&expired, place.settings()).await, "NT002", "last day");

    let up = place.up(&net.roster).await;
    refused(place.open(&net.roster, place.settings()).await, "NT008", "address in use");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let crowded = RelaySettings {
        discovery: Some(taken.local_addr().unwrap()),
        address: "127.0.0.1:0".parse().unwrap(),
        ..place.settings()
    };
    refused(place.open(&net.roster, crowded).await, "NT008", "(UDP)");

    // A member whose roster names another authority does not use this one, and says why.
    let distrusts = signed(&|members| members.relay_authorities = vec![other.pem.clone()]);
    let network = Network::open_by_relay(&net.identity("north"), Arc::clone(&distrusts)).await.unwrap();
    let began = Instant::now();
    let said = network.dial(distrusts.named("trustee").unwrap(), Protocol::Run).await.err().unwrap().to_string();
    assert!(said.contains(&place.url) && said.contains("UnknownIssuer"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    assert_eq!(up.relay.relayed().await.members, 0);
    network.close().await;
    up.down().await;
    // Where there is none, that is said, too.
    let network = net.open("north").await;
    let said = network.dial(net.roster.named("trustee").unwrap(), Protocol::Run).await.err().unwrap().to_string();
    assert!(said.contains("cannot be used: connection refused"), "{said}");
    network.close().await;
}

/// The certificate that a relay shows.
fn shown(place: &Place) -> CertificateDer<'static> {
    let roster = Members::new("", Vec::new(), None, Vec::new()).unwrap();
    let roster = roster.with_relay_authorities(vec![place.pem.clone()]).unwrap();
    let tls = believed_authorities(&roster).client_config(iroh_relay::tls::default_provider()).unwrap();
    let mut socket = TcpStream::connect(place.at).unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(tls), place.at.ip().into()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    connection.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_and_roster_are_taken_in_while_it_runs() {
    let place = Place::new();
    let net = Loopback::by_relay(place.named());
    let (newer, roster) = watch::channel(Arc::clone(&net.roster));
    let up = place.up_with(roster, place.settings()).await;
    let (trustee, north) = (net.open("trustee").await, net.open("north").await);
    until(&up.relay, "both are there", |relayed| relayed.members == 2).await;

    let of_file = || CertificateDer::from_pem_file(place.settings().certificate).unwrap();
    let first = shown(&place);
    assert_eq!(first, of_file());
    place.certify("127.0.0.1");
    let second = of_file();
    let began = Instant::now();
    while shown(&place) != second {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What members would not believe does not take its place, nor half a file.
    place.certify("127.0.0.2");
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::write(place.settings().key, "-----BEGIN PRIVATE KEY-----").unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(shown(&place), second);
    place.certify("127.0.0.1");

    // North leaves the network.
    let mut members = net.roster.document().clone();
    members.members.retain(|member| member.name != "north");
    let without = Arc::new(members.clone().sign(&net.identity("trustee")));
    newer.send(without).unwrap();
    until(&up.relay, "north is sent away, and not let in again", |relayed| {
        relayed.members == 1 && relayed.turned_away > 0
    })
    .await;
    // And all others, after the roster's last day.
    members.last_day = Some(SystemClock.now().day().pred_opt().unwrap());
    newer.send(Arc::new(members.sign(&net.identity("trustee")))).unwrap();
    until(&up.relay, "nobody is served", |relayed| relayed.members == 0).await;
    trustee.close().await;
    north.close().await;
    up.down().await;
}

/// Strangers hold connections for ten seconds at most, whether they say nothing, or everything but who they are, and few from one address.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_keep_nobody_out() {
    let place = Place::new();
    let net = Loopback::by_relay(place.named());
    let up = place.up(&net.roster).await;
    // More than may wait in all, from one address that is nobody else's here.
    let mut silent = Vec::new();
    for _ in 0..300 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let stream = socket.connect(place.at).await.unwrap().into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        silent.push(stream);
    }
    let at = place.at;
    let roster = net.roster.document().clone();
    let polite = tokio::task::spawn_blocking(move || {
        let tls = believed_authorities(&roster).client_config(iroh_relay::tls::default_provider()).unwrap();
        let mut socket = TcpStream::connect(at).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::new(tls), at.ip().into()).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        let asks = format!(
            "GET /relay HTTP/1.1\r\nHost: {at}\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: iroh-relay-v2\r\n\r\n"
        );
        stream.write_all(asks.as_bytes()).unwrap();
        let (began, mut bytes, mut answer) = (Instant::now(), [0; 4096], Vec::new());
        // Until the relay hangs up.
        while let Ok(read) = stream.read(&mut bytes) {
            if read == 0 {
                break;
            }
            answer.extend_from_slice(&bytes[..read]);
        }
        (began.elapsed(), String::from_utf8_lossy(&answer).into_owned())
    });
    let (trustee, north) = (net.open("trustee").await, net.open("north").await);
    let _links = trustee.listen(Protocol::Run);
    north.dial(net.roster.named("trustee").unwrap(), Protocol::Run).await.unwrap();
    let (held, answer) = polite.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!((Duration::from_secs(8)..Duration::from_secs(20)).contains(&held), "{held:?}");
    let hung_up = silent.iter_mut().all(|stream| {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0)) || stream.take_error().is_ok_and(|error| error.is_some())
    });
    assert!(hung_up, "all of them were hung up on");
    assert_eq!(up.relay.relayed().await.members, 2);
    // What is no relay's is not found, and anybody may look how near it is.
    assert_eq!(up.relay.relayed().await.turned_away, 0);
    trustee.close().await;
    north.close().await;
    up.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_hears_its_own_address() {
    let place = Place::new();
    let net = Loopback::by_relay(place.named());
    let settings = RelaySettings { discovery: Some("127.0.0.1:0".parse().unwrap()), ..place.settings() };
    let (_, roster) = watch::channel(Arc::clone(&net.roster));
    let up = place.up_with(roster, settings).await;
    let port = up.relay.discovery_address().unwrap().port();
    let relay = RelayConfig::new(place.url.parse().unwrap(), Some(RelayQuicConfig::new(port)));
    let asks = || async {
        Endpoint::builder(presets::Minimal)
            .secret_key(net.identity("north").secret())
            .ca_tls_config(believed_authorities(net.roster.document()))
            .relay_mode(RelayMode::Custom(RelayMap::from(relay.clone())))
            .bind()
            .await
            .unwrap()
    };
    let endpoint = asks().await;
    until(&up.relay, "it asks", |relayed| relayed.asked > 0 && relayed.members == 1).await;
    endpoint.close().await;
    up.down().await;

    // Where more ask than can be borne, here one, all are sent away; and whoever asks again is heard.
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let settings = RelaySettings { discovery: Some(at), ..place.settings() };
    let mut relay = place.open(&net.roster, settings).await.unwrap();
    relay.asking_max = 0;
    let (_, roster) = watch::channel(Arc::clone(&net.roster));
    let up = Running::of(roster, relay);
    for _ in 0..2 {
        let endpoint = asks().await;
        until(&up.relay, "it asks", |relayed| relayed.asked > 0).await;
        until(&up.relay, "it is sent away", |relayed| relayed.asked == 0).await;
        endpoint.close().await;
    }
    assert_eq!(up.relay.discovery_address(), Some(at));
    up.down().await;
}

/// Rosters without authorities are the same bytes as before there were any, so that what was signed stays signed.
#[test]
fn authorities_stand_in_the_roster() {
    let place = Place::new();
    let plain = Members::new("Relays", Vec::new(), None, vec!["https://relay.example".to_owned()]).unwrap();
    assert_eq!(
        serde_json::to_string(&plain).unwrap(),
        r#"{"schema":"acequia-roster/1","title":"Relays","relays":["https://relay.example"],"members":[]}"#
    );
    let found = authorities_of_pem(&format!("Some words\n{}\n{}\n", place.pem, Place::new().pem)).unwrap();
    assert_eq!((found.len(), &found[0]), (2, &place.pem));
    let net = Loopback::new();
    let keeper = net.identity("trustee");
    let signed = plain.clone().with_relay_authorities(found).unwrap().sign(&keeper);
    let read = Roster::from_json(&signed.to_json(), &keeper.key()).unwrap();
    assert_eq!(read, signed);
    assert_ne!(read.digest(), plain.clone().sign(&keeper).digest(), "authorities are signed, too");

    for bad in
        ["", "words", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
    {
        assert!(matches!(authorities_of_pem(bad), Err(NetError::Roster { .. })), "{bad}");
        let bad = vec![bad.to_owned()];
        assert!(plain.clone().with_relay_authorities(bad).is_err());
    }
    let many = vec![place.pem.clone(); 17];
    assert!(plain.clone().with_relay_authorities(many).unwrap_err().to_string().contains("more than 16"));
    for bad in
        ["http://relay.example", "https://", "https://a/b", "relay.example", "https://a b", "https://relay.example:x"]
    {
        let relays = vec![bad.to_owned()];
        assert!(Members::new("Relays", Vec::new(), None, relays).is_err(), "{bad}");
    }
}
