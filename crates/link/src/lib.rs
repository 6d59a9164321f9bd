//! One person per person: which records are about the same human being.
//!
//! Comes in: one CSV table, or two, and what to compare in them ([`Config`]). Goes out: pairs or clusters with weights, and a
//! summary that states sizes of blocks, the estimated model and what it expects ([`link`], [`dedupe`]). Between parties that do not show each
//! other their records: filters made with a shared key, compared without it ([`encode`], [`link_encoded`]). Over time: a [`Register`] of clusters with
//! stable ids and a log of what merged and split.
//!
//! The model is Fellegi and Sunter's (1969), estimated from the data by expectation maximisation; nothing is trained and no true links are needed.
//! No OMOP, no consent, no network here: the course calls this with tables, and so can anybody with a CSV file.
//!
//! ```
//! use acequia_link::{Config, Table, dedupe};
//! let names = ["given", "surname", "born", "phone"];
//! let rows = [
//!     vec!["Anna", "Lindqvist", "1952-04-13", "031 1234567"],
//!     vec!["Omar", "Haddad", "1960-01-30", "031 7654321"],
//!     vec!["Ana", "Lindqvist", "1952-04-13", "031 1234567"],
//!     vec!["Maria", "Sousa", "1988-12-02", "031 9988776"],
//! ];
//! let table = Table::from_rows(names, rows)?;
//! let config = Config::parse(r#"
//!     column = [
//!         { name = "given", compare = "name" },
//!         { name = "surname", compare = "name", about = "household" },
//!         { name = "born", compare = "date" },
//!         { name = "phone", compare = "identifier" },
//!     ]"#)?;
//! assert_eq!(dedupe(&table, &config, 1)?.cluster, [0, 1, 0, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod clk;
mod cluster;
mod compare;
mod config;
mod error;
mod hash;
mod key;
mod model;
mod output;
mod register;
mod run;
mod table;
mod text;
mod threads;

pub use block::RuleSize;
pub use clk::{ClkConfig, Encoded, Hardening, PrivateLink, PrivateLinked, PrivateSummary, encode, link_encoded};
pub use compare::Comparator;
pub use config::{About, BlockingConfig, ClusterConfig, ColumnConfig, Config, DateOrder, MOST_COLUMNS};
pub use error::LinkError;
pub use key::Key;
pub use model::{ColumnModel, LevelModel, Model};
pub use output::{write_cluster_pairs, write_clusters, write_links, write_private_links, write_register_clusters};
pub use register::{Change, Event, Logged, Register};
pub use run::{Clustered, Expected, Link, Linked, Summary, dedupe, link};
pub use table::Table;
