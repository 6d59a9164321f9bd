"""Asks hf_xet for the hashes of made-up files: kind, bytes and hash, a file a line.

python hashes.py > hashes.txt        (hf_xet 1.8.0 made those that are here)
"""

import struct
import tempfile
from pathlib import Path

import hf_xet


def noise(length):
    """xorshift64, one byte of each state."""
    state, made = 7, bytearray()
    for _ in range(length):
        state ^= state << 13 & (1 << 64) - 1
        state ^= state >> 7
        state ^= state << 17 & (1 << 64) - 1
        made.append(state >> 24 & 255)
    return bytes(made)


def counting(length):
    return b"".join(struct.pack("<I", n) for n in range((length + 3) // 4))[:length]


KINDS = {"zeros": bytes, "noise": noise, "counting": counting}
LENGTHS = [1, 8_191, 8_192, 8_193, 131_071, 131_072, 131_073, 400_000, 5_000_000]

print("# hashes of made-up files by hf_xet", "1.8.0")
with tempfile.TemporaryDirectory() as folder:
    for kind, make in KINDS.items():
        for length in LENGTHS:
            path = Path(folder) / f"{kind}-{length}"
            path.write_bytes(make(length))
            [told] = hf_xet.hash_files([str(path)])
            print(kind, length, told.hash)
