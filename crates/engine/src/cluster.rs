//! The same steps on an Apache Ballista cluster: one scheduler and any number of executors inside the trustee's own walls.
//!
//! Inputs and results pass through the *exchange*, a folder that all machines see or an S3 bucket: each run writes the
//! tables of its step there as Parquet and takes them away when it ends. An executor that dies in the middle costs time,
//! not the run: the scheduler gives its work to another, and what the scheduler cannot save the engine asks for again.
//!
//! Ballista speaks gRPC without encryption and trusts whoever reaches its ports. A cluster belongs into a network of its
//! own, and only the node, the scheduler and the executors may use the exchange.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use acequia_frame::{Engine, EngineError, SqlStep, Table};
use acequia_types::{Coded, Exit};
use ballista::prelude::SessionContextExt;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use datafusion::common::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use url::Url;

use crate::{check_columns, checked, plan_error};

/// How often an engine asks for a step again when the cluster could not finish it.
const ATTEMPTS: u32 = 4;

/// How long the first attempt waits for an answer; each further one waits twice as long, so that a long step ends too. A
/// scheduler that loses an executor may lose track of a step, and nothing says so.
const PATIENCE: Duration = Duration::from_mins(10);

/// Rows of one file of an input: what one task reads.
const FILE_ROWS: usize = 1 << 18;

/// Why a cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The exchange is no folder and no bucket.
    #[error("the exchange must be a folder or an address s3://bucket/path")]
    Exchange,
    /// The scheduler's address cannot be read.
    #[error("the address of the scheduler must have the form host:port")]
    Scheduler,
    /// Part of the cluster does not run.
    #[error("the {part} stopped ({kind})")]
    Stopped {
        /// Which.
        part: &'static str,
        /// Kind of failure.
        kind: &'static str,
    },
}

impl Coded for ClusterError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exchange => "EN004",
            Self::Scheduler => "EN005",
            Self::Stopped { .. } => "EN006",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Exchange => {
                "give a folder that all machines see, or a bucket with its keys in AWS_ACCESS_KEY_ID and so on"
            }
            Self::Scheduler => "write it as in 10.0.0.5:50050",
            Self::Stopped { .. } => "check that the address is free and that the scheduler can be reached",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Exchange | Self::Scheduler => Exit::Usage,
            Self::Stopped { .. } => Exit::Temporary,
        }
    }
}

/// Where tables lie while a step runs.
#[derive(Debug, Clone)]
pub struct Exchange {
    url: Url,
    store: Arc<dyn ObjectStore>,
}

impl Exchange {
    /// A folder, made if it is missing, or `s3://bucket/path` with keys, region and endpoint from the environment
    /// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`).
    ///
    /// # Errors
    /// [`ClusterError::Exchange`].
    pub fn open(place: &str) -> Result<Self, ClusterError> {
        let wrong = || ClusterError::Exchange;
        if place.starts_with("s3://") {
            let mut url = Url::parse(place).map_err(|_| wrong())?;
            let store = AmazonS3Builder::from_env().with_url(place).build().map_err(|_| wrong())?;
            if !url.path().ends_with('/') {
                let path = format!("{}/", url.path());
                url.set_path(&path);
            }
            return Ok(Self { url, store: Arc::new(store) });
        }
        let folder = Path::new(place.strip_prefix("file://").unwrap_or(place));
        std::fs::create_dir_all(folder).map_err(|_| wrong())?;
        let folder = folder.canonicalize().map_err(|_| wrong())?;
        let url = Url::from_directory_path(&folder).map_err(|()| wrong())?;
        Ok(Self { url, store: Arc::new(LocalFileSystem::new()) })
    }

    /// A place for one run.
    fn place(&self, run: &str) -> Result<(Url, ObjectPath), ClusterError> {
        let url = self.url.join(&format!("{run}/")).map_err(|_| ClusterError::Exchange)?;
        let path = ObjectPath::from_url_path(url.path()).map_err(|_| ClusterError::Exchange)?;
        Ok((url, path))
    }

    /// An environment in which DataFusion finds the exchange.
    fn runtime(&self, temporary: Option<&Path>) -> Result<Arc<RuntimeEnv>, DataFusionError> {
        let builder = RuntimeEnvBuilder::new();
        let builder = match temporary {
            Some(folder) => builder.with_temp_file_path(folder),
            None => builder,
        };
        let runtime = builder.build()?;
        if self.url.scheme() != "file" {
            runtime.register_object_store(&self.url, Arc::clone(&self.store));
        }
        Ok(Arc::new(runtime))
    }
}

/// Texts of Parquet files keep the type they were written with, as tables in memory do.
fn settings(partitions: usize) -> SessionConfig {
    SessionConfig::new()
        .with_target_partitions(partitions.max(1))
        .with_information_schema(false)
        .set_bool("datafusion.execution.parquet.schema_force_view_types", false)
}

/// Runs steps on a cluster. Results are those of [`crate::DataFusionEngine`].
#[derive(Debug, Clone)]
pub struct ClusterEngine {
    scheduler: String,
    exchange: Exchange,
    partitions: usize,
    patience: Duration,
}

impl ClusterEngine {
    /// An engine that gives its steps to the scheduler at `host:port`, cut into `partitions` parts.
    ///
    /// # Errors
    /// [`ClusterError::Scheduler`] when the address cannot be read. Whether somebody answers there shows with the first
    /// step.
    pub fn new(scheduler: &str, exchange: Exchange, partitions: usize) -> Result<Self, ClusterError> {
        let bare = scheduler.strip_prefix("df://").unwrap_or(scheduler);
        let readable =
            Url::parse(&format!("df://{bare}")).is_ok_and(|url| url.host().is_some() && url.port().is_some());
        if !readable {
            return Err(ClusterError::Scheduler);
        }
        Ok(Self { scheduler: format!("df://{bare}"), exchange, partitions: partitions.max(1), patience: PATIENCE })
    }

    /// The same engine, which asks for a step again after another time without an answer.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    async fn execute(&self, step: &SqlStep, inputs: &[&Table]) -> Result<Table, EngineError> {
        let failed = |kind| EngineError::Run { step: step.name.clone(), kind };
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|_| failed("random numbers"))?;
        let (url, path) = self.exchange.place(&hex::encode(name)).map_err(|_| failed("exchange"))?;
        let mut files = Vec::new();
        let outcome = self.attempts(step, inputs, &url, &path, &mut files).await;
        // Identified tables stay nowhere longer than a step needs them.
        for file in &files {
            let _ = self.exchange.store.delete(file).await;
        }
        if let Ok(folder) = url.to_file_path() {
            let _ = std::fs::remove_dir_all(folder);
        }
        outcome
    }

    async fn attempts(
        &self,
        step: &SqlStep,
        inputs: &[&Table],
        url: &Url,
        path: &ObjectPath,
        files: &mut Vec<ObjectPath>,
    ) -> Result<Table, EngineError> {
        for table in inputs {
            self.hand_in(step, table, path, files).await?;
        }
        let (mut attempt, mut patience) = (1, self.patience);
        loop {
            match self.ask(step, inputs, url, patience).await {
                // What the planner refuses it refuses again.
                Err(EngineError::Run { .. }) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
                    attempt += 1;
                    patience = patience.saturating_mul(2);
                }
                outcome => return outcome,
            }
        }
    }

    /// Writes one input as files of [`FILE_ROWS`] rows.
    async fn hand_in(
        &self,
        step: &SqlStep,
        table: &Table,
        path: &ObjectPath,
        files: &mut Vec<ObjectPath>,
    ) -> Result<(), EngineError> {
        let failed = || EngineError::Run { step: step.name.clone(), kind: "exchange" };
        let mut parts = vec![Vec::new()];
        let mut rows = 0;
        for batch in table.batches() {
            if rows >= FILE_ROWS {
                parts.push(Vec::new());
                rows = 0;
            }
            rows += batch.num_rows();
            if let Some(part) = parts.last_mut() {
                part.push(batch.clone());
            }
        }
        for (number, batches) in parts.into_iter().enumerate() {
            let part = Table::with_schema(table.name(), Arc::clone(table.schema()), batches).map_err(|_| failed())?;
            let bytes = part.to_parquet().map_err(|_| failed())?;
            let file = path.clone().join(table.name()).join(format!("{number:06}.parquet"));
            files.push(file.clone());
            self.exchange.store.put(&file, PutPayload::from(bytes)).await.map_err(|_| failed())?;
        }
        Ok(())
    }

    async fn ask(
        &self,
        step: &SqlStep,
        inputs: &[&Table],
        url: &Url,
        patience: Duration,
    ) -> Result<Table, EngineError> {
        let plan = |error: DataFusionError| plan_error(step, &error);
        // The cluster's own words may quote a value.
        let run = |kind| move |_: DataFusionError| EngineError::Run { step: step.name.clone(), kind };
        let state = SessionStateBuilder::new()
            .with_config(settings(self.partitions))
            .with_runtime_env(self.exchange.runtime(None).map_err(run("exchange"))?)
            .with_default_features()
            .build();
        let context = SessionContext::remote_with_state(&self.scheduler, state).await.map_err(run("scheduler"))?;
        for table in inputs {
            let folder = url
                .join(&format!("{}/", table.name()))
                .map_err(|_| EngineError::Run { step: step.name.clone(), kind: "exchange" })?;
            let options = ParquetReadOptions::default().schema(table.schema());
            context.register_parquet(table.name(), folder.as_str(), options).await.map_err(run("exchange"))?;
        }
        let frame = checked(&context, step).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        if let Some(expected) = &step.expects {
            check_columns(step, expected, &schema)?;
        }
        // A plan that the cluster cannot carry out shows here, before it is sent.
        frame.clone().create_physical_plan().await.map_err(plan)?;
        let silent = |_| EngineError::Run { step: step.name.clone(), kind: "no answer" };
        let batches = tokio::time::timeout(patience, frame.collect()).await.map_err(silent)?;
        let batches = batches.map_err(run("evaluation"))?;
        let schema = batches.first().map_or(schema, |batch| batch.schema());
        Table::with_schema(&step.name, schema, batches)
            .map_err(|_| EngineError::Run { step: step.name.clone(), kind: "result" })
    }
}

impl Engine for ClusterEngine {
    fn run(&self, step: &SqlStep, inputs: &[&Table]) -> Result<Table, EngineError> {
        crate::apart(step, 2, || self.execute(step, inputs))
    }
}

/// How the parts of a cluster find out about each other.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Where tables lie while a step runs; the same for all.
    pub exchange: Exchange,
    /// Seconds between two signs of life of an executor.
    pub heartbeat_s: u64,
    /// Seconds of silence after which an executor's work is given to another.
    pub timeout_s: u64,
}

/// Runs a scheduler at `address` until the process ends.
///
/// # Errors
/// [`ClusterError::Stopped`] when the address cannot be used.
pub async fn serve_scheduler(address: SocketAddr, cluster: &ClusterSettings) -> Result<(), ClusterError> {
    let stopped = |kind| ClusterError::Stopped { part: "scheduler", kind };
    let exchange = cluster.exchange.clone();
    let config = Arc::new(SchedulerConfig {
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        external_host: address.ip().to_string(),
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        executor_timeout_seconds: cluster.timeout_s,
        no_executors_grace_period_seconds: cluster.timeout_s.max(60),
        expire_dead_executor_interval_seconds: cluster.heartbeat_s,
        finished_job_data_clean_up_interval_seconds: 60,
        override_session_builder: Some(Arc::new(move |config: SessionConfig| {
            Ok(SessionStateBuilder::new()
                .with_config(config)
                .with_runtime_env(exchange.runtime(None)?)
                .with_default_features()
                .with_scalar_functions(ballista_core::extension::ballista_scalar_functions())
                .with_aggregate_functions(ballista_core::extension::ballista_aggregate_functions())
                .with_window_functions(ballista_core::extension::ballista_window_functions())
                .build())
        })),
        ..SchedulerConfig::default()
    });
    let state = BallistaCluster::new_from_config(&config).await.map_err(|_| stopped("state"))?;
    start_server(state, address, config).await.map_err(|_| stopped("address"))
}

/// Runs an executor until the process ends. `address` and the port after it must be free and reachable by the others.
/// `work` is a folder for parts of tables on their way; what lies in it is as identified as the records.
///
/// # Errors
/// [`ClusterError::Stopped`] when the address cannot be used or the scheduler does not answer.
pub async fn serve_executor(
    address: SocketAddr,
    scheduler: &str,
    threads: usize,
    work: PathBuf,
    cluster: &ClusterSettings,
) -> Result<(), ClusterError> {
    let stopped = |kind| ClusterError::Stopped { part: "executor", kind };
    let (host, port) = scheduler.rsplit_once(':').ok_or(ClusterError::Scheduler)?;
    let exchange = cluster.exchange.clone();
    let temporary = work.clone();
    let config = ExecutorProcessConfig {
        bind_host: address.ip().to_string(),
        external_host: Some(address.ip().to_string()),
        port: address.port(),
        grpc_port: address.port().checked_add(1).ok_or_else(|| stopped("address"))?,
        scheduler_host: host.to_owned(),
        scheduler_port: port.parse().map_err(|_| ClusterError::Scheduler)?,
        scheduler_connect_timeout_seconds: 30,
        vcores: threads.max(1),
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(work.to_str().ok_or_else(|| stopped("work folder"))?.to_owned()),
        job_data_ttl_seconds: 3_600,
        job_data_clean_up_interval_seconds: 300,
        executor_heartbeat_interval_seconds: cluster.heartbeat_s,
        override_runtime_producer: Some(Arc::new(move |_| exchange.runtime(Some(&temporary)))),
        ..ExecutorProcessConfig::default()
    };
    start_executor_process(Arc::new(config)).await.map_err(|_| stopped("scheduler"))
}
