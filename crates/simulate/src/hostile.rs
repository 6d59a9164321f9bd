//! Inputs that are wrong on purpose, each with the code a node must answer.

use std::io::{Cursor, Write};

/// One wrong input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostile {
    /// What is wrong with it.
    pub what: &'static str,
    /// File name.
    pub name: &'static str,
    /// Content.
    pub bytes: Vec<u8>,
    /// Code of the error or problem.
    pub code: &'static str,
}

/// Header of the tables among the inputs.
pub const TABLE_HEADER: &str = "id,surgery,age,size";

/// Wrong inputs. Tables have the columns of [`TABLE_HEADER`].
pub fn hostile() -> Vec<Hostile> {
    let wrong = |what, name, bytes: Vec<u8>, code| Hostile { what, name, bytes, code };
    let table = |row: &str| format!("{TABLE_HEADER}\n1,2010-01-01,50,12\n{row}\n").into_bytes();
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain("id,age\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let bomb = vec![b'0'; 64 * 1024 * 1024];
    vec![
        wrong("empty file", "empty.json", Vec::new(), "IN001"),
        wrong("a letter", "letter.json", b"Dear trustee, here is my record.\n".to_vec(), "IN002"),
        wrong(
            "truncated JSON",
            "cut.json",
            b"{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{".to_vec(),
            "IN003",
        ),
        wrong("broken JSON", "broken.json", b"{\"resourceType\" \"Bundle\"}\n".to_vec(), "IN004"),
        wrong("Latin-1", "latin.csv", b"id,surgery,age,size\n1,2010-01-01,50,M\xfcller\n".to_vec(), "IN005"),
        wrong("UTF-16", "wide.csv", utf16, "IN006"),
        wrong("gzip bomb", "bomb.csv.gz", gzip(&bomb), "IN007"),
        wrong("archive that claims 10 GB", "claim.zip", claiming(10_000_000_000), "IN007"),
        wrong("cut gzip", "cut.csv.gz", gzip(b"id,surgery,age,size\n")[..12].to_vec(), "IN008"),
        wrong("path out of the archive", "climb.zip", zipped("../../climb.csv", b"id\n1\n"), "IN020"),
        wrong("missing column", "short.csv", b"id,surgery,age\n1,2010-01-01,50\n".to_vec(), "IN013"),
        wrong(
            "unexpected column",
            "wide-table.csv",
            b"id,surgery,age,size,name\n1,2010-01-01,50,12,x\n".to_vec(),
            "IN014",
        ),
        wrong("date 2025-02-30", "date.csv", table("2,2025-02-30,50,12"), "IN103"),
        wrong("negative age", "age.csv", table("2,2010-01-01,-3,12"), "IN102"),
        wrong("text for a number", "text.csv", table("2,2010-01-01,50,large"), "IN101"),
        wrong("a quote that never closes", "quote.csv", table("2,2010-01-01,50,\"12\n3,2010-01-01,51,13"), "IN018"),
        wrong(
            "a bundle of numbers",
            "numbers.json",
            b"{\"resourceType\":\"Bundle\",\"entry\":[0,\"x\",[1],null,true]}".to_vec(),
            "IN108",
        ),
        wrong("same person twice", "twice.csv", table("1,2010-01-01,50,12"), "IN109"),
    ]
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let written = encoder.write_all(content);
    written.and_then(|()| encoder.finish()).unwrap_or_default()
}

fn zipped(name: &str, content: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    if writer.start_file(name, options).is_err() || writer.write_all(content).is_err() {
        return Vec::new();
    }
    writer.finish().map(Cursor::into_inner).unwrap_or_default()
}

/// A zip whose directory claims a size (as ZIP64, so that more than 4 GB can be claimed) that its content does not have.
fn claiming(bytes: u64) -> Vec<u8> {
    let name = b"claim.csv";
    let content = b"id\n";
    let crc = 0_u32;
    let zip64 = [[1, 0, 16, 0].as_slice(), &bytes.to_le_bytes(), &bytes.to_le_bytes()].concat();
    let shared = |extra: &[u8]| {
        let lengths = [
            u16::try_from(name.len()).unwrap_or(0).to_le_bytes(),
            u16::try_from(extra.len()).unwrap_or(0).to_le_bytes(),
        ];
        [[45, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x50].as_slice(), &crc.to_le_bytes(), &[0xff; 8], &lengths.concat()].concat()
    };
    let local = [b"PK\x03\x04".as_slice(), &shared(&zip64), name, &zip64, content].concat();
    let central = [b"PK\x01\x02\x2d\x00".as_slice(), &shared(&zip64), &[0; 14], name, &zip64].concat();
    let size = u32::try_from(central.len()).unwrap_or(0).to_le_bytes();
    let start = u32::try_from(local.len()).unwrap_or(0).to_le_bytes();
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &size, &start, &[0, 0]].concat();
    [local, central, end].concat()
}
