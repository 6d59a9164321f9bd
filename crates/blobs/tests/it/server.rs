//! A server that speaks S3 on loopback, in a process of its own (nanio, from PyPI: signatures are checked, objects are files),
//! behind a relay that counts bytes and can be cut off.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Starts nanio. An absolute path, since other crates use this file, too.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../blobs/tests/it/nanio_server.py");
pub(crate) const KEY: &str = "AKIDSERVERTEST";
pub(crate) const SECRET: &str = "not+a+secret/of/anybody";
/// The bucket that is there from the beginning.
pub(crate) const BUCKET: &str = "blobs";

/// Runs until it is dropped.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
    relay: Relay,
}

impl Server {
    /// Starts a server; `None`, said aloud, when there is none to start.
    pub(crate) fn start() -> Option<Self> {
        let python = std::env::var("ACEQUIA_TEST_PYTHON").ok()?;
        let known = |python: &String| {
            let asked = Command::new(python).args(["-c", "import nanio"]).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        };
        if !known(&python) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let child = run(&python, &folder, port);
        Some(Self { folder, port, child, relay: Relay::to(port) })
    }

    /// [`Server::start`], or a line that says what is not tested.
    pub(crate) fn or_skip(what: &str) -> Option<Self> {
        let server = Self::start();
        if server.is_none() {
            eprintln!(
                "skipped: {what} needs an S3 server, which ./test installs (nanio in the Python of ACEQUIA_TEST_PYTHON)"
            );
        }
        server
    }

    /// Where it answers.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.relay.port)
    }

    /// What a program that uses it has in its environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT", self.endpoint().as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// The file that an object of the bucket is.
    pub(crate) fn object(&self, key: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(key)
    }

    /// Uploads that are neither complete nor called off.
    pub(crate) fn open_uploads(&self) -> usize {
        let folder = self.folder.path().join(".nanio/multipart");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again over what it kept.
    pub(crate) fn restart(&mut self) {
        self.child = run(&std::env::var("ACEQUIA_TEST_PYTHON").unwrap(), &self.folder, self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(python: &str, folder: &tempfile::TempDir, port: u16) -> Child {
    let mut child = Command::new(python)
        .args([SCRIPT, "serve", "--host", "127.0.0.1", "--no-access-log", "--log-level", "error", "--port"])
        .arg(port.to_string())
        .arg("--data-dir")
        .arg(folder.path())
        .envs([("NANIO_ACCESS_KEY", KEY), ("NANIO_SECRET_KEY", SECRET)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "the S3 server ended");
        assert!(started.elapsed() < Duration::from_secs(60), "the S3 server does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

/// Passes connections on.
pub(crate) struct Relay {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    to_client: AtomicU64,
    to_server: AtomicU64,
    requests: AtomicU64,
    /// Bytes to the server after which everything is cut off; `u64::MAX` for never.
    cut_after: AtomicU64,
    is_cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl State {
    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Relay {
    fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { cut_after: AtomicU64::new(u64::MAX), ..State::default() });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
                // Heads and bodies that come apart must not wait for each other here.
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let both = || Some((client.try_clone().ok()?, server.try_clone().ok()?));
                let (Some(up), Some(down), Some(kept)) = (both(), both(), both()) else { continue };
                shared.open.lock().unwrap().extend([kept.0, kept.1]);
                let (there, back) = (Arc::clone(&shared), Arc::clone(&shared));
                std::thread::spawn(move || pass(up.0, up.1, &there, true));
                std::thread::spawn(move || pass(down.1, down.0, &back, false));
            }
        });
        Self { port, state }
    }

    /// Bytes that clients got so far.
    pub(crate) fn to_client(&self) -> u64 {
        self.state.to_client.load(Ordering::SeqCst)
    }

    /// Bytes that clients sent so far.
    pub(crate) fn to_server(&self) -> u64 {
        self.state.to_server.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// From now on nobody is let through, in the middle of whatever is on its way.
    pub(crate) fn cut(&self) {
        self.state.cut();
    }

    /// Cuts off when so many bytes more went to the server.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.state.cut_after.store(self.to_server() + bytes, Ordering::SeqCst);
    }

    /// Lets everybody through again.
    pub(crate) fn mend(&self) {
        self.state.cut_after.store(u64::MAX, Ordering::SeqCst);
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: &State, to_server: bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..read];
        if to_server {
            let verbs: [&[u8]; 5] = [b"GET /", b"PUT /", b"HEAD /", b"POST /", b"DELETE /"];
            state.requests.fetch_add(u64::from(verbs.iter().any(|verb| bytes.starts_with(verb))), Ordering::SeqCst);
            let passed = state.to_server.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
            if passed > state.cut_after.load(Ordering::SeqCst) {
                state.cut();
            }
        } else {
            state.to_client.fetch_add(read as u64, Ordering::SeqCst);
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
