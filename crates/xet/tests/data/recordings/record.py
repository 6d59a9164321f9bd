"""Records what hf_xet uploads: one file per xorb and shard that it posts, and what was in the files.

python record.py FOLDER mixed shared     the named ones of the small recordings
python record.py FOLDER large            larger ones, some hundred megabytes, for a look by hand
"""

import hashlib
import json
import os
import random
import re
import struct
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Clients do not send again what they remember to have sent to an address; here they begin without a memory.
os.environ["HF_HOME"] = tempfile.mkdtemp()

import hf_xet  # noqa: E402

posted = []


class Store(BaseHTTPRequestHandler):
    """Takes every xorb and shard; has nothing that anybody asks for."""

    protocol_version = "HTTP/1.1"

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while length := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, status, words):
        text = json.dumps(words).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.answer(404, {})

    do_HEAD = do_GET

    def do_POST(self):
        body = self.body()
        # Older clients leave the version out and have a shard's hash in its address.
        if xorb := re.fullmatch(r"(?:/v1)?/xorbs?/default/([0-9a-f]{64})", self.path):
            posted.append((xorb[1] + ".xorb", body))
            self.answer(200, {"was_inserted": True})
        elif re.fullmatch(r"(?:/v1)?/shards?(?:/default/[0-9a-f]{64})?", self.path):
            posted.append((f"{len(posted)}.shard", body))
            self.answer(200, {"result": 1})
        else:
            self.answer(404, {})

    def log_message(self, *_):
        pass


def noise(seed, length):
    return random.Random(seed).randbytes(length)


def floats(seed, count):
    """Measurements around 37 as float32: their first bytes are alike, so clients group bytes."""
    draw = random.Random(seed)
    return struct.pack(f"<{count}f", *(37 + draw.gauss(0, 0.4) for _ in range(count)))


def runs(seed, count):
    """Long runs of one byte: much to share, and little to keep."""
    draw = random.Random(seed)
    return b"".join(bytes([draw.randrange(256)]) * draw.randrange(3000, 9000) for _ in range(count))


def lines(seed, count):
    draw = random.Random(seed)
    return "".join(f"row {n},{draw.choice('abc')},{draw.randrange(9)}\n" for n in range(count)).encode()


def small():
    """What each recording uploads: some files at once, then some more."""
    shared = runs(3, 260)
    return {
        "one": [[b"made up\n"]],
        "mixed": [[lines(1, 1500), floats(2, 4001) + b"xyz", noise(4, 3000), b""]],
        "shared": [[shared + noise(5, 2_000), noise(6, 3_000)], [shared + noise(7, 1_000)]],
        "zeros": [[bytes(400_000)]],
    }


def large():
    shared = noise(7, 70_000_000)
    return {
        "several": [[noise(8, 80_000_000) + shared], [shared + noise(9, 10_000_000)]],
        "floats": [[floats(10, 20_000_000)]],
        "lines": [[lines(11, 6_000_000)]],
        "zeros": [[bytes(150_000_000)]],
        "many": [[noise(n, 500 + n % 5000) for n in range(12_000)]],
    }


def upload(contents, address):
    """Hashes of the files."""
    if not hasattr(hf_xet, "XetSession"):
        return [told.hash for told in hf_xet.upload_bytes(contents, address, ("made-up", 1 << 40), None, None, "model")]
    session = hf_xet.XetSession()
    commit = session.new_upload_commit(endpoint=address, token="made-up", token_expiry_unix_secs=1 << 40)
    # One after the other: the same bytes whenever it runs.
    hashes = [commit.start_upload_bytes(content).result().xet_info.hash for content in contents]
    commit.wait_to_finish()
    return hashes


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    recordings = large() if names == ["large"] else {name: small()[name] for name in names}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, uploads in recordings.items():
        posted.clear()
        contents = [content for upload in uploads for content in upload]
        address = f"http://127.0.0.1:{server.server_address[1]}"
        hashes = [hash for some in uploads for hash in upload(some, address)]
        into = folder / name
        into.mkdir(parents=True, exist_ok=True)
        files = [
            {"hash": hash, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for hash, content in zip(hashes, contents, strict=True)
        ]
        for file, body in posted:
            (into / file).write_bytes(body)
        (into / "files.json").write_text(json.dumps(files, indent=1) + "\n")
        print(name, [(file, len(body)) for file, body in posted])


main()
