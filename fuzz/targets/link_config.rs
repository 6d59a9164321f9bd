//! A linkage configuration and the table it is about.

#![no_main]

use acequia_link::{Config, Table, dedupe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (config, table) = text.split_once("\0").unwrap_or((text, ""));
    let table = Table::from_csv(table.as_bytes()).ok();
    let config = match (Config::parse(config), &table) {
        (Ok(config), _) => config,
        (Err(_), Some(table)) => match Config::guess(&[table]) {
            Ok(config) => config,
            Err(_) => return,
        },
        (Err(_), None) => return,
    };
    assert_eq!(Config::parse(&config.to_toml()).ok().as_ref(), Some(&config), "what is written down is read back");
    if let Some(table) = table.filter(|table| table.len() <= 50)
        && let Ok(found) = dedupe(&table, &config, 1)
    {
        assert_eq!(found.cluster.len(), table.len(), "every row has one cluster");
    }
});
