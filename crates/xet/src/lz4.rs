//! LZ4 frames of chunks (LZ4 frame format 1.6).
//!
//! Read here instead of by `lz4_flex::frame`, which takes a frame that is cut off and several for one, and makes room for blocks as large as
//! the frame says; the blocks themselves are `lz4_flex`'s. What is unpacked is as long as it should be, and nothing comes after it.

use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use twox_hash::XxHash32;

const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
/// How far back a block may refer to.
const WINDOW_BYTES: usize = 64 * 1024;

/// Fills `into` from a frame. Nothing when the frame is damaged or of another length.
pub(super) fn unpack(frame: &[u8], into: &mut [u8]) -> Option<()> {
    let (magic, rest) = frame.split_first_chunk::<4>()?;
    let ([flags, sizes], _) = rest.split_first_chunk::<2>()?;
    // Version 01; one reserved bit; no dictionary, since clients share none.
    if *magic != MAGIC || flags & 0b1100_0011 != 0b0100_0000 || sizes & 0b1000_1111 != 0 {
        return None;
    }
    let [independent, block_sums, states_length, content_sum] = [5, 4, 3, 2].map(|bit| flags & (1 << bit) != 0);
    let most = match sizes >> 4 {
        code @ 4..=7 => 1_usize << (2 * code + 8),
        _ => return None,
    };
    let (descriptor, rest) = rest.split_at_checked(if states_length { 10 } else { 2 })?;
    let (sum, mut rest) = rest.split_first()?;
    if XxHash32::oneshot(0, descriptor).to_le_bytes()[1] != *sum {
        return None;
    }
    if states_length && descriptor[2..] != u64::try_from(into.len()).ok()?.to_le_bytes() {
        return None;
    }
    let mut at = 0;
    loop {
        let length = u32::from_le_bytes(*take(&mut rest)?);
        if length == 0 {
            break;
        }
        let packed = length & (1 << 31) == 0;
        let length = usize::try_from(length & !(1 << 31)).ok()?;
        let block;
        (block, rest) = rest.split_at_checked(length).filter(|_| length <= most)?;
        if block_sums && XxHash32::oneshot(0, block).to_le_bytes() != *take(&mut rest)? {
            return None;
        }
        let (before, room) = into.split_at_mut(at);
        let room_bytes = room.len().min(most);
        let room = &mut room[..room_bytes];
        at += if !packed {
            room.get_mut(..length)?.copy_from_slice(block);
            length
        } else if independent || before.is_empty() {
            decompress_into(block, room).ok()?
        } else {
            decompress_into_with_dict(block, room, &before[before.len().saturating_sub(WINDOW_BYTES)..]).ok()?
        };
    }
    if content_sum && XxHash32::oneshot(0, into).to_le_bytes() != *take(&mut rest)? {
        return None;
    }
    (at == into.len() && rest.is_empty()).then_some(())
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8; 4]> {
    let (word, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(word)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    fn text(length: usize) -> Vec<u8> {
        let mut text: Vec<u8> = (0..length).flat_map(|n| format!("{},", n * n % 977).into_bytes()).collect();
        text.truncate(length);
        text
    }

    #[test]
    fn every_kind_of_frame_is_read_and_no_damaged_one() {
        for length in [0, 1, 13, 5000, 70_000, 131_072] {
            let content = text(length);
            for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
                for mode in [BlockMode::Independent, BlockMode::Linked] {
                    for sums in 0..8_u8 {
                        let info = FrameInfo::new()
                            .block_size(size)
                            .block_mode(mode)
                            .block_checksums(sums & 1 != 0)
                            .content_checksum(sums & 2 != 0)
                            .content_size((sums & 4 != 0).then_some(length.try_into().unwrap()));
                        let mut writer = FrameEncoder::with_frame_info(info, Vec::new());
                        writer.write_all(&content).unwrap();
                        let frame = writer.finish().unwrap();
                        let mut into = vec![0; content.len()];
                        assert!(unpack(&frame, &mut into).is_some(), "{length} {size:?} {mode:?} {sums}");
                        assert!(into == content);
                        // Other lengths, cut off, longer, twice.
                        assert!(unpack(&frame, &mut vec![0; content.len() + 1]).is_none());
                        assert!(content.is_empty() || unpack(&frame, &mut into[1..]).is_none());
                        assert!(unpack(&frame[..frame.len() - 1], &mut into).is_none());
                        assert!(unpack(&[&frame[..], &[0]].concat(), &mut into).is_none());
                        assert!(content.is_empty() || unpack(&[&frame[..], &frame].concat(), &mut into).is_none());
                    }
                }
            }
        }
    }

    #[test]
    fn a_changed_bit_is_noticed_where_there_are_sums() {
        let content = text(4000);
        let info = FrameInfo::new().block_checksums(true).content_checksum(true);
        let mut writer = FrameEncoder::with_frame_info(info, Vec::new());
        writer.write_all(&content).unwrap();
        let frame = writer.finish().unwrap();
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut damaged = frame.clone();
                damaged[at] ^= 1 << bit;
                assert!(unpack(&damaged, &mut vec![0; content.len()]).is_none(), "{at} {bit}");
            }
        }
    }
}
