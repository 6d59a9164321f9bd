//! A scheduler and two executors on loopback: the same steps give the same results there as in process, also when an
//! executor is killed in the middle.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_cleanse::{Folder, Settings, default_checks, row_checks};
use acequia_engine::{ClusterEngine, DataFusionEngine, Exchange};
use acequia_frame::{Engine, SqlStep, Table};
use acequia_omop::CdmTable;
use acequia_unify::steps;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::manual::root;
use crate::{Home, program};

/// Two ports in a row that nobody uses.
fn two_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

struct Process(Child);

impl Process {
    fn start(words: &[&str]) -> Self {
        let mut command = Command::new(program());
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the program starts"))
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.0.kill().expect("it was alive");
        self.0.wait().expect("it ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Cluster {
    folder: tempfile::TempDir,
    scheduler: String,
    _scheduler: Process,
    executors: Vec<Process>,
}

impl Cluster {
    fn start(executors: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let exchange = folder.path().join("exchange").display().to_string();
        let scheduler = format!("127.0.0.1:{}", two_ports());
        let signs = ["--exchange", &exchange, "--heartbeat", "1", "--timeout", "4"];
        let words = ["--threads", "2", "cluster", "scheduler", "--listen", &scheduler];
        let running = Process::start(&[&words[..], &signs].concat());
        let patience = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(&scheduler).is_err() {
            assert!(Instant::now() < patience, "no scheduler at {scheduler}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let executors = (0..executors)
            .map(|nth| {
                let address = format!("127.0.0.1:{}", two_ports());
                let work = folder.path().join(format!("work-{nth}")).display().to_string();
                let words = ["--threads", "2", "cluster", "executor", "--listen", &address, "--scheduler", &scheduler];
                let started = Process::start(&[&words[..], &["--work", &work], &signs].concat());
                while std::net::TcpStream::connect(&address).is_err() {
                    assert!(Instant::now() < patience, "no executor at {address}");
                    std::thread::sleep(Duration::from_millis(50));
                }
                started
            })
            .collect();
        Self { folder, scheduler, _scheduler: running, executors }
    }

    fn exchange(&self) -> PathBuf {
        self.folder.path().join("exchange")
    }

    fn engine(&self) -> ClusterEngine {
        let exchange = Exchange::open(self.exchange().to_str().unwrap()).unwrap();
        ClusterEngine::new(&self.scheduler, exchange, 4).unwrap().with_patience(Duration::from_secs(40))
    }
}

/// OMOP tables of simulated donors, unified by the program.
fn omop(folder: &Path) -> BTreeMap<CdmTable, Table> {
    let donated = folder.join("donated");
    std::fs::create_dir_all(&donated).unwrap();
    for file in acequia_simulate::donors(7, 60).files {
        std::fs::write(donated.join(&file.name), &file.bytes).unwrap();
    }
    let out = folder.join("omop");
    // Some of the simulated files are broken on purpose: the status says so.
    let status = Command::new(program()).arg("unify").arg(&donated).arg("-o").arg(&out).output().unwrap();
    assert!(out.join("person.parquet").exists(), "{}", String::from_utf8_lossy(&status.stderr));
    let read = |table: CdmTable| {
        let bytes = std::fs::read(out.join(format!("{}.parquet", table.name()))).ok()?;
        Some((table, Table::from_parquet(table.name(), bytes.into()).unwrap()))
    };
    CdmTable::ALL.iter().copied().filter_map(read).collect()
}

#[test]
fn steps_give_the_same_results_on_a_cluster() {
    let cluster = Cluster::start(2);
    let tables = omop(cluster.folder.path());
    let (here, there) = (DataFusionEngine::new(2), cluster.engine());
    let both = |step: &SqlStep, inputs: &[&Table]| {
        let [here, there] =
            [&here as &dyn Engine, &there].map(|engine| engine.run(step, inputs).unwrap().sorted().unwrap());
        assert_eq!(here.digest(), there.digest(), "{}", step.name);
        there
    };

    // Unify: what follows from other tables, as the load derived it in one pass.
    let events = [
        CdmTable::VisitOccurrence,
        CdmTable::ConditionOccurrence,
        CdmTable::DrugExposure,
        CdmTable::ProcedureOccurrence,
        CdmTable::Measurement,
        CdmTable::Observation,
    ];
    let inputs: Vec<&Table> = events.iter().map(|table| &tables[table]).collect();
    for (step, table, inputs) in [
        (steps::observation_period(), CdmTable::ObservationPeriod, inputs.as_slice()),
        (steps::condition_era(), CdmTable::ConditionEra, &[&tables[&CdmTable::ConditionOccurrence]]),
    ] {
        let made = both(&step, inputs);
        let columns: Vec<&str> = made.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let loaded = tables[&table].select(&columns).unwrap().sorted().unwrap();
        assert!(made.rows() > 10, "{} rows of {}", made.rows(), step.name);
        assert_eq!(rows(&made), rows(&loaded), "{}", step.name);
    }

    // Cleanse: the checks of single rows, as the fused pass counts them.
    let today = acequia_types::parse_day("2026-01-01").unwrap();
    let days = i32::try_from((today - acequia_types::parse_day("1970-01-01").unwrap()).num_days()).unwrap();
    let folder = Folder::open(&cluster.folder.path().join("omop")).unwrap();
    let found = folder.check(default_checks(), Settings::as_of(today)).unwrap();
    let mut compared = 0;
    for (table, data) in tables.iter().filter(|(_, data)| data.rows() > 0) {
        let fields: Vec<&str> = data.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let Some((step, checks)) = row_checks(*table, default_checks(), &fields, days) else { continue };
        let counts = both(&step, &[data]);
        let number = |name: String| {
            let column = counts.column(&name).unwrap();
            u64::try_from(column.as_primitive::<Int64Type>().value(0)).unwrap()
        };
        for (nth, check) in checks.iter().enumerate() {
            let finding = found.findings.iter().find(|finding| finding.id == check.id).unwrap();
            let counted = (number(format!("counted_{nth}")), number(format!("failing_{nth}")));
            assert_eq!(counted, (finding.rows, finding.failing), "{}", check.id);
            compared += 1;
        }
    }
    assert!(compared > 200, "{compared} checks");

    // What cannot be planned is refused in the same words, and nothing is left behind.
    let refused = SqlStep { name: "s".to_owned(), sql: "SELECT now() FROM person".to_owned(), expects: None };
    let words = |engine: &dyn Engine| engine.run(&refused, &[&tables[&CdmTable::Person]]).unwrap_err().to_string();
    assert_eq!(words(&here), words(&there));
    assert_eq!(std::fs::read_dir(cluster.exchange()).unwrap().count(), 0, "the exchange is empty");
}

/// Every row as text, sorted: nullability and order do not matter here.
fn rows(table: &Table) -> Vec<String> {
    let batch = table.to_batch().unwrap();
    let format = arrow::util::display::FormatOptions::default();
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &format).unwrap())
        .collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    let mut rows: Vec<String> = (0..batch.num_rows()).map(row).collect();
    rows.sort();
    rows
}

#[test]
fn killing_an_executor_in_the_middle_costs_time_and_nothing_else() {
    let mut cluster = Cluster::start(2);
    let batches: Vec<RecordBatch> = (0..24)
        .map(|part: i64| {
            let ids = Int64Array::from_iter_values((0..250_000).map(|row| part * 250_000 + row));
            let persons =
                Int64Array::from_iter_values((0..250_000).map(|row| (part * 250_000 + row) * 2_654_435_761 % 400_009));
            RecordBatch::try_from_iter([
                ("id", Arc::new(ids) as ArrayRef),
                ("person_id", Arc::new(persons) as ArrayRef),
            ])
            .unwrap()
        })
        .collect();
    let table = Table::new("measurement", batches).unwrap();
    let step = SqlStep {
        name: "spread".to_owned(),
        sql: "SELECT person_id % 97 AS g, COUNT(*) AS n, SUM(gap) AS gaps FROM (SELECT person_id, id - LAG(id) OVER \
              (PARTITION BY person_id ORDER BY id) AS gap FROM measurement) AS x GROUP BY person_id % 97"
            .to_owned(),
        expects: None,
    };
    let expected = DataFusionEngine::new(2).run(&step, &[&table]).unwrap().sorted().unwrap();
    let engine = cluster.engine();
    let began = Instant::now();
    let whole = engine.run(&step, &[&table]).unwrap().sorted().unwrap();
    let time = began.elapsed();
    assert_eq!(whole.digest(), expected.digest());
    let found = std::thread::scope(|scope| {
        let running = scope.spawn(|| engine.run(&step, &[&table]).unwrap());
        std::thread::sleep(time / 2);
        assert!(!running.is_finished(), "it is in the middle");
        cluster.executors[0].kill();
        running.join().unwrap()
    });
    assert_eq!(found.sorted().unwrap().digest(), expected.digest());
}

#[test]
fn the_course_gives_the_same_version_on_a_cluster() {
    let cluster = Cluster::start(2);
    let manifest = |settings: Option<String>| {
        let home = Home::new();
        home.json(&["init"]);
        if let Some(settings) = settings {
            std::fs::write(home.path().join("settings.toml"), settings).unwrap();
        }
        let example = root().join("examples/breast-cancer");
        home.json(&["donate", example.to_str().unwrap()]);
        home.json(&["run", example.join("recipe.toml").to_str().unwrap()])["manifest"].clone()
    };
    let here = manifest(None);
    assert!(here.is_string());
    let exchange = cluster.exchange().display().to_string();
    let settings = format!("[engine]\ncluster = \"{}\"\nexchange = \"{exchange}\"\n", cluster.scheduler);
    assert_eq!(here, manifest(Some(settings)));
}
