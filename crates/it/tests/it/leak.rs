//! Not one identifier of the simulated donors leaves: every byte of releases, pages, logs, errors and output is searched.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use acequia_frame::Table;
use arrow::util::display::array_value_to_string;

use crate::{DATASET, Home, another_version, files};

/// A serving node that is stopped at the end.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: String,
}

impl Served {
    pub(crate) fn start(home: &Home) -> Self {
        let words = ["serve", "--address", "127.0.0.1:0"];
        Self::of(home.command(&words), &home.folder.path().join("serve.log"))
    }

    /// Runs a command that serves, with everything it logs in a file.
    pub(crate) fn of(mut command: Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let mut child = command.env("ACEQUIA_LOG", "debug").stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = said.filter_map(|line| line.strip_prefix("Serving on http://").map(str::to_owned)).next();
        Self { child, address: address.expect("an address") }
    }

    /// One request; the whole answer with its head.
    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        self.get_with(path, "")
    }

    /// The same with more headers, each with its end of line.
    pub(crate) fn get_with(&self, path: &str, headers: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    /// The answers of these addresses, and of every one that a page leads to.
    pub(crate) fn crawl(&self, mut routes: Vec<String>) -> Vec<(String, Vec<u8>)> {
        let mut answers: Vec<(String, Vec<u8>)> = Vec::new();
        while let Some(route) = routes.get(answers.len()).cloned() {
            let answer = self.get(&route);
            assert!(answer.starts_with(b"HTTP/1.1 "), "{route}");
            for link in links(&answer) {
                if !routes.contains(&link) {
                    routes.push(link);
                }
            }
            answers.push((route, answer));
            assert!(routes.len() < 800, "{routes:?}");
        }
        answers
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Texts to look for, as they are and as JSON or HTML would write them.
fn forms(identifier: &str) -> Vec<String> {
    let escaped: String = identifier
        .chars()
        .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) })
        .collect();
    let mut forms = vec![identifier.to_owned(), escaped, identifier.to_lowercase(), identifier.to_uppercase()];
    forms.dedup();
    forms
}

pub(crate) struct Scan {
    wanted: Vec<Vec<u8>>,
    bytes: usize,
    texts: usize,
}

impl Scan {
    pub(crate) fn new() -> Self {
        let identifiers = acequia_simulate::donors(300, 300).identifiers;
        assert!(identifiers.len() > 2000);
        let wanted = identifiers.iter().flat_map(|identifier| forms(identifier)).map(String::into_bytes).collect();
        Self { wanted, bytes: 0, texts: 0 }
    }

    /// Positions of every identifier's first four bytes are looked up, so that one pass over the bytes is enough.
    #[track_caller]
    pub(crate) fn search(&mut self, what: &str, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.texts += 1;
        let found = find(&self.wanted, bytes);
        assert!(found.is_none(), "an identifier is in {what}");
    }
}

fn find(wanted: &[Vec<u8>], bytes: &[u8]) -> Option<usize> {
    let mut by_start: std::collections::HashMap<&[u8], Vec<&[u8]>> = std::collections::HashMap::new();
    for identifier in wanted {
        by_start.entry(&identifier[..4]).or_default().push(identifier);
    }
    (0..bytes.len().saturating_sub(3)).find(|at| {
        by_start
            .get(&bytes[*at..at + 4])
            .is_some_and(|starts| starts.iter().any(|identifier| bytes[*at..].starts_with(identifier)))
    })
}

/// Addresses on this node that a page links to.
fn links(answer: &[u8]) -> Vec<String> {
    let page = String::from_utf8_lossy(answer);
    if !page.contains("content-type: text/html") {
        return Vec::new();
    }
    let targets = page.split(" href=\"").skip(1).filter_map(|rest| rest.split(['"', '#']).next());
    targets.filter(|target| target.starts_with('/')).map(|target| target.replace("&amp;", "&")).collect()
}

#[test]
fn no_identifier_leaves_the_node() {
    let mut scan = Scan::new();
    let home = Home::new();
    let output = home.command(&["demo", "--no-serve"]).env("ACEQUIA_LOG", "trace").output().unwrap();
    assert!(output.status.success());
    scan.search("the demo's stdout", &output.stdout);
    scan.search("the demo's stderr", &output.stderr);

    // The search itself works: the donated files are full of identifiers.
    let donors = files(&home.path().join("demo").join("donors"));
    let plain: Vec<u8> = donors.iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    assert!(find(&scan.wanted, &plain).is_some());

    // What the node keeps is sealed.
    for path in files(&home.path()).into_iter().filter(|path| !path.starts_with(home.path().join("demo/donors"))) {
        scan.search("the node's own files", &std::fs::read(path).unwrap());
    }

    let copy = home.folder.path().join("copy");
    home.json(&["release", "export", DATASET, "--to", copy.to_str().unwrap()]);
    let mut paths = Vec::new();
    for path in files(&copy) {
        let bytes = std::fs::read(&path).unwrap();
        scan.search("a released file", &bytes);
        if path.extension().is_some_and(|extension| extension == "parquet") {
            let table = Table::from_parquet("released", bytes.into()).unwrap();
            let batch = table.to_batch().unwrap();
            let cells = |row| batch.columns().iter().map(move |column| array_value_to_string(column, row).unwrap());
            let text: Vec<String> = (0..batch.num_rows()).flat_map(cells).collect();
            scan.search("the cells of a released table", text.join("\n").as_bytes());
        }
        paths.push(path.strip_prefix(&copy).unwrap().to_string_lossy().into_owned());
    }

    let (donated, recipe) = (home.path().join("demo/donors"), home.path().join("demo/example/recipe.toml"));
    let words: [&[&str]; 7] = [
        &["consent", "list"],
        &["consent", "show", "donor-0001"],
        &["release", "list"],
        &["verify", DATASET],
        &["doctor"],
        &["donate", donated.to_str().unwrap()],
        &["run", recipe.to_str().unwrap()],
    ];
    for words in words {
        for json in [&[][..], &["--json"]] {
            let output = home.command(&[words, json].concat()).env("ACEQUIA_LOG", "trace").output().unwrap();
            scan.search("a command's stdout", &output.stdout);
            scan.search("a command's stderr", &output.stderr);
        }
    }
    // Files of identified people where something else is expected.
    let donor = donors.iter().find(|path| path.extension().is_some_and(|e| e == "json")).unwrap().to_str().unwrap();
    let wrong: [&[&str]; 4] = [
        &["run", donor],
        &["donate", donor, "--mapping", donor],
        &["donate", donor, "--consent", donor],
        &["verify", donor],
    ];
    for words in wrong {
        let output = home.run(words);
        scan.search("an error on stdout", &output.stdout);
        scan.search("an error on stderr", &output.stderr);
    }

    another_version(&home);
    let served = Served::start(&home);
    let mut routes = vec![
        "/".to_owned(),
        "/?search=a".to_owned(),
        format!("/datasets/{DATASET}"),
        "/datasets/no/such".to_owned(),
        "/api/datasets".to_owned(),
        format!("/api/datasets/{DATASET}"),
        format!("/api/datasets/{DATASET}/tree/main?recursive=true"),
        format!("/api/datasets/{DATASET}/refs"),
        format!("/api/datasets/{DATASET}/commits/main"),
        format!("/api/datasets/{DATASET}/croissant"),
        "/api/datasets?full=true".to_owned(),
        "/healthz".to_owned(),
        "/sitemap.xml".to_owned(),
        "/oai?verb=ListRecords&metadataPrefix=oai_dc".to_owned(),
        format!("/info?dataset={DATASET}"),
        format!("/first-rows?dataset={DATASET}&split=train"),
        format!("/statistics?dataset={DATASET}&split=train"),
        format!("/api/datasets/{DATASET}/compare/v1.0.0..v1.0.1"),
    ];
    routes.extend(paths.iter().map(|path| format!("/datasets/{DATASET}/resolve/main/{path}")));
    let answers = served.crawl(routes);
    answers.iter().for_each(|(_, answer)| scan.search("an answer of the hub", answer));
    assert!(answers.iter().any(|(route, _)| route.ends_with("/SHA256SUMS")), "{}", answers.len());
    drop(served);
    scan.search("the log", &std::fs::read(home.folder.path().join("serve.log")).unwrap());
    println!("{} texts, {} bytes, {} forms of identifiers: none found", scan.texts, scan.bytes, scan.wanted.len());
}
