//! `acequia cluster`: the scheduler and the executors of a cluster inside the trustee's own walls.

use std::net::SocketAddr;
use std::path::PathBuf;

use acequia_node::{ClusterSettings, Exchange, Failure, serve_executor, serve_scheduler};

#[derive(clap::Subcommand)]
pub(crate) enum ClusterCommand {
    /// Take steps from nodes and give their parts to executors
    #[command(
        after_help = "Example:\n  acequia cluster scheduler --listen 10.0.0.5:50050 --exchange s3://exchange/acequia"
    )]
    Scheduler {
        /// Address of this machine that nodes and executors reach
        #[arg(long, default_value = "127.0.0.1:50050", value_name = "ADDRESS")]
        listen: SocketAddr,
        #[command(flatten)]
        shared: Shared,
    },
    /// Work on parts of steps
    #[command(
        after_help = "Example:\n  acequia cluster executor --listen 10.0.0.6:50051 --scheduler 10.0.0.5:50050 --work /var/lib/acequia/work --exchange s3://exchange/acequia"
    )]
    Executor {
        /// Address of this machine that the scheduler and other executors reach; the port after it is used, too
        #[arg(long, default_value = "127.0.0.1:50051", value_name = "ADDRESS")]
        listen: SocketAddr,
        /// Address of the scheduler
        #[arg(long, default_value = "127.0.0.1:50050", value_name = "HOST:PORT")]
        scheduler: String,
        /// Folder for parts of tables on their way, best on an encrypted disk
        #[arg(long, value_name = "FOLDER")]
        work: PathBuf,
        #[command(flatten)]
        shared: Shared,
    },
}

/// What all parts of a cluster agree about.
#[derive(clap::Args)]
pub(crate) struct Shared {
    /// Folder that all machines see, or s3://bucket/path
    #[arg(long, value_name = "PLACE")]
    exchange: String,
    /// Seconds between two signs of life of an executor
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    heartbeat: u64,
    /// Seconds of silence after which an executor's work is given to another
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,
}

impl Shared {
    fn settings(&self) -> Result<ClusterSettings, Failure> {
        let exchange = Exchange::open(&self.exchange)?;
        Ok(ClusterSettings { exchange, heartbeat_s: self.heartbeat.max(1), timeout_s: self.timeout.max(2) })
    }
}

/// Runs until the process is told to end.
pub(crate) async fn run(command: &ClusterCommand, threads: usize) -> Result<(), Failure> {
    match command {
        ClusterCommand::Scheduler { listen, shared } => {
            eprintln!("scheduler at {listen}");
            serve_scheduler(*listen, &shared.settings()?).await?;
        }
        ClusterCommand::Executor { listen, scheduler, work, shared } => {
            acequia_blobs::make_private(work, "the work folder")?;
            eprintln!("executor at {listen}, scheduler at {scheduler}");
            serve_executor(*listen, scheduler, threads, work.clone(), &shared.settings()?).await?;
        }
    }
    Ok(())
}
