//! From records to filters.

use hashbrown::HashMap;

use super::file::{Encoded, Header};
use super::{Hardening, usual};
use crate::LinkError;
use crate::compare::{Column, Comparator, Reach, Records, Value};
use crate::config::Config;
use crate::key::Key;
use crate::table::Table;

/// Encodes a table. Row `n` of the table is record `n` of the result, which holds nothing else about it.
///
/// # Errors
/// [`LinkError::Column`] when the table lacks a column.
///
/// ```
/// use acequia_link::{Config, Key, Table, encode, link_encoded};
/// let config = Config::parse(r#"
///     column = [{ name = "surname", compare = "name" }, { name = "born", compare = "date" }]"#)?;
/// let names = ["surname", "born"];
/// let a = Table::from_rows(names, [vec!["Lindqvist", "1952-04-13"], vec!["Haddad", "1960-01-30"]])?;
/// let b = Table::from_rows(names, [vec!["Hadad", "1960-01-30"], vec!["Ferreira", "1988-12-02"]])?;
/// let key = Key::parse("5f1c0b7e93d24a68810f36c2e9ab57d40c6b12f8a73e95d1480b6ce2379fa1d5")?;
/// let (a, b) = (encode(&a, &config, &key)?, encode(&b, &config, &key)?);
/// assert_eq!((a.records(), a.bits()), (2, 1024));
/// assert!(a.dice(1, &b, 0) > 0.8 && a.dice(0, &b, 1) < 0.7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode(table: &Table, config: &Config, key: &Key) -> Result<Encoded, LinkError> {
    let records = Records::of(config, &[table], Reach::Within)?;
    let bits = config.clk.bits as usize;
    let words = bits / 64;
    let total: u32 = records.columns.iter().map(|column| weight(config, column)).sum();
    if total == 0 {
        return Err(LinkError::Config { message: "clk.weights leave no column".to_owned() });
    }
    let hash = key.derive("acequia link 2026-11 bloom filter");
    let mut filters = vec![0_u64; records.count * words];
    for column in &records.columns {
        // As many insertions as set half of the bits, shared out by weight: 1 - exp(-n / bits) = 1/2.
        let insertions = f64::from(weight(config, column)) / f64::from(total) * bits as f64 * std::f64::consts::LN_2;
        let hashes = (insertions / f64::from(usual(column.comparator).1)).round().clamp(1.0, 64.0) as usize;
        if weight(config, column) == 0 {
            continue;
        }
        let masks = masks(&records, column, hashes, words, &hash);
        for (filter, row) in filters.chunks_mut(words).zip(&column.rows) {
            if let Some(mask) = masks.get(*row as usize * words..(*row as usize + 1) * words) {
                filter.iter_mut().zip(mask).for_each(|(word, mask)| *word |= mask);
            }
        }
    }
    let (bits, filters) = match config.clk.hardening {
        Hardening::None => (bits, filters),
        Hardening::Fold => (bits / 2, fold(&filters, words)),
        Hardening::Balanced => (bits * 2, balance(&filters, words, &key.derive("acequia link 2026-11 permutation"))),
    };
    let header = Header {
        bits: bits as u32,
        records: records.count as u64,
        hardening: config.clk.hardening,
        scheme: scheme(config),
        key_check: key.check(),
    };
    Ok(Encoded::new(header, filters))
}

fn weight(config: &Config, column: &Column) -> u32 {
    config.clk.weights.get(&column.name).copied().unwrap_or(usual(column.comparator).0)
}

/// Digest of all that makes equal values equal filters, key aside.
fn scheme(config: &Config) -> String {
    let columns: Vec<_> = config
        .column
        .iter()
        .map(|column| {
            let weight = config.clk.weights.get(&column.name).copied().unwrap_or(usual(column.compare).0);
            (&column.name, column.compare, &column.swap, weight)
        })
        .collect();
    let said = serde_json::json!({ "version": 1, "clk": config.clk, "columns": columns });
    blake3::hash(said.to_string().as_bytes()).to_hex().to_string()
}

/// The filter of every value of a column.
fn masks(records: &Records, column: &Column, hashes: usize, words: usize, key: &[u8; 32]) -> Vec<u64> {
    // Columns that change places share a label, and so their bits.
    let other = column.swap.map(|other| records.columns[other].name.as_str());
    let label = other.map_or(column.name.as_str(), |other| other.min(&column.name));
    let mut known: HashMap<Token, Vec<u16>> = HashMap::new();
    // Most tokens are two ASCII characters: their bits lie in a table.
    let mut table: Vec<Vec<u16>> = vec![Vec::new(); 1 << 14];
    let mut masks = vec![0_u64; column.values.len() * words];
    for (value, mask) in column.values.iter().zip(masks.chunks_mut(words)) {
        tokens(column.comparator, value, &mut |token| {
            let make = || positions(label, token, hashes, words, key);
            let positions = match token {
                (a @ ..128, b @ ..128, 0) => {
                    let place = &mut table[(a << 7 | b) as usize];
                    if place.is_empty() {
                        *place = make();
                    }
                    place
                }
                _ => known.entry(token).or_insert_with(make),
            };
            for position in positions.iter() {
                mask[usize::from(*position / 64)] |= 1 << (*position % 64);
            }
        });
    }
    masks
}

/// The bits that a token sets.
fn positions(label: &str, token: Token, hashes: usize, words: usize, key: &[u8; 32]) -> Vec<u16> {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&(label.len() as u64).to_le_bytes()).update(label.as_bytes());
    hasher.update(&token.0.to_le_bytes()).update(&token.1.to_le_bytes()).update(&token.2.to_le_bytes());
    let mut bytes = vec![0_u8; 2 * hashes];
    hasher.finalize_xof().fill(&mut bytes);
    // The number of bits is a power of two: no position is likelier than another.
    let positions = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    positions.map(|position| position & (words as u16 * 64 - 1)).collect()
}

/// Two characters and a place; 0 where the place does not count.
type Token = (u32, u32, u32);

fn tokens(comparator: Comparator, value: &Value, each: &mut dyn FnMut(Token)) {
    if let (Comparator::Date, Some(digits)) = (comparator, value.eight_digits()) {
        // Each digit at its place, and year, month and day as wholes: a slip changes two of ten. The century says little.
        let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + u32::from(*digit - b'0'));
        (1..8).for_each(|at| each((u32::from(digits[at]), 0, at as u32 + 1)));
        each((number(&digits[..4]), 1, 0));
        each((number(&digits[4..6]), 2, 0));
        each((number(&digits[6..]), 3, 0));
        return;
    }
    let letters = std::iter::once(' ').chain(value.text.chars()).chain([' ']);
    letters.clone().zip(letters.skip(1)).for_each(|(a, b)| each((u32::from(a), u32::from(b), 0)));
}

/// XOR of the halves.
fn fold(filters: &[u64], words: usize) -> Vec<u64> {
    let halves = filters.chunks(words).map(|filter| filter.split_at(words / 2));
    halves.flat_map(|(left, right)| left.iter().zip(right).map(|(left, right)| left ^ right)).collect()
}

/// Filter and complement, bits permuted by the key. An empty record stays empty.
fn balance(filters: &[u64], words: usize, key: &[u8; 32]) -> Vec<u64> {
    let bits = words * 128;
    let mut order: Vec<usize> = (0..bits).collect();
    let mut random = blake3::Hasher::new_keyed(key).update(b"permutation").finalize_xof();
    for at in (1..bits).rev() {
        // 64 random bits over at most 8,192 places: the remainder's bias is below 2^-50.
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        order.swap(at, (u64::from_le_bytes(bytes) % (at as u64 + 1)) as usize);
    }
    let mut balanced = vec![0_u64; filters.len() * 2];
    for (filter, out) in filters.chunks(words).zip(balanced.chunks_mut(words * 2)) {
        if filter.iter().all(|word| *word == 0) {
            continue;
        }
        for (at, to) in order.iter().enumerate() {
            let bit = filter[at % (words * 64) / 64] >> (at % 64) & 1;
            let bit = if at < words * 64 { bit } else { 1 - bit };
            out[to / 64] |= bit << (to % 64);
        }
    }
    balanced
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "5f1c0b7e93d24a68810f36c2e9ab57d40c6b12f8a73e95d1480b6ce2379fa1d5";

    fn table() -> Table {
        let rows = [
            vec!["anna", "lindqvist", "19520413", "4711"],
            vec!["lindqvist", "anna", "19520413", "4711"],
            vec!["omar", "haddad", "19600130", "0815"],
            vec!["", "", "", ""],
        ];
        Table::from_rows(["given", "surname", "born", "zip"], rows).unwrap()
    }

    fn encoded(clk: &str, key: &str) -> Encoded {
        let text = format!(
            "clk = {{ {clk} }}\ncolumn = [{{ name = \"given\", compare = \"name\", swap = \"surname\" }},\
             {{ name = \"surname\", compare = \"name\", swap = \"given\" }}, {{ name = \"born\", compare = \"date\" }},\
             {{ name = \"zip\", compare = \"code\" }}]"
        );
        encode(&table(), &Config::parse(&text).unwrap(), &Key::parse(key).unwrap()).unwrap()
    }

    #[test]
    fn names_that_changed_places_are_encoded_alike() {
        let found = encoded("", KEY);
        assert!(found.dice(0, &found, 1) > 0.999);
        assert!(found.dice(0, &found, 2) < 0.7);
        let fill = f64::from(found.set_bits(0)) / found.bits() as f64;
        assert!((0.35..0.6).contains(&fill), "{fill}");
        assert_eq!((found.set_bits(3), found.dice(3, &found, 3)), (0, 0.0));
    }

    #[test]
    fn another_key_gives_unrelated_filters() {
        let other = KEY.replace("5f1c", "6e2d");
        let (a, b) = (encoded("", KEY), encoded("", &other));
        assert!(a.dice(0, &b, 0) < 0.6);
        assert!(link_fails(&a, &b));
    }

    fn link_fails(a: &Encoded, b: &Encoded) -> bool {
        crate::link_encoded(a, b, 0.5, 1).is_err()
    }

    #[test]
    fn hardening_keeps_similarity_and_hides_the_number_of_bigrams() {
        let balanced = encoded("hardening = \"balanced\"", KEY);
        assert_eq!(balanced.bits(), 2048);
        assert!((0..3).all(|record| balanced.set_bits(record) == 1024) && balanced.set_bits(3) == 0);
        let folded = encoded("hardening = \"fold\"", KEY);
        assert_eq!(folded.bits(), 512);
        for found in [balanced, folded] {
            assert!(found.dice(0, &found, 1) > 0.999 && found.dice(0, &found, 2) < 0.75);
        }
        assert!(link_fails(&encoded("", KEY), &encoded("hardening = \"fold\"", KEY)));
    }
}
