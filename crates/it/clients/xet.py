"""Reads drafts and published files by Xet with unmodified clients, through a proxy that counts what is sent and cuts connections.

usage: xet.py ENDPOINT TOKEN NAMESPACE PUBLISHED      (PUBLISHED is a data set `namespace/name` that anybody may read)

Needs `huggingface_hub` 2.x with `hf_xet`.
"""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

endpoint, token, namespace, published = sys.argv[1].rstrip("/"), sys.argv[2], sys.argv[3], sys.argv[4]
host, port = endpoint.split("://")[1].split(":")


class Proxy:
    """Hands bytes on, counts those that come back, and notes which paths are asked for."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cut_after = None
        self.forget()
        threading.Thread(target=self.accept, daemon=True).start()

    def forget(self):
        self.sent, self.paths, self.cuts = 0, [], 0

    def asked(self, pattern):
        return [path for path in self.paths if re.search(pattern, path)]

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection((host, int(port)))
            threading.Thread(target=self.forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self.back, args=(server, client), daemon=True).start()

    def forward(self, client, server):
        try:
            while data := client.recv(1 << 16):
                self.paths += [line.decode() for line in re.findall(rb"(?:GET|HEAD|POST) \S+(?= HTTP/1.1\r\n)", data)]
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def back(self, server, client):
        own = 0
        try:
            while data := server.recv(1 << 16):
                client.sendall(data)
                self.sent += len(data)
                own += len(data)
                if self.cut_after is not None and own > self.cut_after and self.cuts < 6:
                    self.cuts += 1
                    break
        except OSError:
            pass
        for end in (client, server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


proxy = Proxy()
home = tempfile.TemporaryDirectory(prefix="acequia-xet-")
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{proxy.port}"
os.environ["HF_TOKEN"] = token
os.environ["HF_HOME"] = home.name
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
for variable in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET"):
    os.environ.pop(variable, None)

import hf_xet  # noqa: E402
import huggingface_hub as hub  # noqa: E402

steps = 0


def step(text):
    global steps
    steps += 1
    print(f"ok {steps} {text}", flush=True)


def noise(length, seed):
    return hashlib.shake_256(seed.encode()).digest(length)


def fetch(revision):
    proxy.forget()
    into = tempfile.mkdtemp(dir=home.name)
    path = hub.hf_hub_download(name, "long.raw", repo_type="dataset", revision=revision, cache_dir=into)
    return Path(path).read_bytes()


api = hub.HfApi()
name = f"{namespace}/by-xet"
api.create_repo(name, repo_type="dataset", private=True)
first = noise(60_000_000, "first")
middle = len(first) // 2
second = first[:middle] + b"something else" + first[middle + 10 :]
commits = []
for content in (first, second):
    done = api.upload_file(path_or_fileobj=content, path_in_repo="long.raw", repo_id=name, repo_type="dataset")
    commits.append(done.oid)
step("two versions of a file of 60 MB")

[told] = api.get_paths_info(name, ["long.raw"], repo_type="dataset", revision=commits[0])
local = Path(home.name) / "local.raw"
local.write_bytes(first)
[hashed] = hf_xet.hash_files([str(local)])
assert told.xet_hash == hashed.hash, (told, hashed.hash)
tree = {entry.path: entry for entry in api.list_repo_tree(name, repo_type="dataset", revision=commits[0])}
assert tree["long.raw"].xet_hash == hashed.hash
step("the node's hash is the one that hf_xet computes")

assert fetch(commits[0]) == first
xorbs, plain = len(proxy.asked(r"^GET .*/xorbs/")), proxy.asked(r"^GET .*/resolve/")
assert xorbs > 20 and proxy.asked(r"^GET .*/reconstructions/") and not plain, proxy.paths
assert len(first) < proxy.sent < len(first) * 1.02, proxy.sent
step(f"the first version by Xet: {proxy.sent} bytes in {xorbs} xorbs")

assert fetch(commits[1]) == second
assert proxy.asked(r"^GET .*/reconstructions/") and not proxy.asked(r"^GET .*/resolve/"), proxy.paths
step(f"the second version by Xet: {proxy.sent} bytes")


def xorbs_of(commit):
    """Bytes of each xorb of the file, as the node tells them. hf_xet 1.8 keeps none of them between downloads."""

    def ask(url, shown):
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {shown}"})) as answer:
            return json.load(answer)

    [file] = api.get_paths_info(name, ["long.raw"], repo_type="dataset", revision=commit)
    told = ask(f"{endpoint}/api/datasets/{name}/xet-read-token/{commit}", token)
    terms = ask(f"{told['casUrl']}/v2/reconstructions/{file.xet_hash}", told["accessToken"])["terms"]
    return {term["hash"]: term["unpacked_length"] for term in terms}


before, after = xorbs_of(commits[0]), xorbs_of(commits[1])
new = sum(length for hash, length in after.items() if hash not in before)
assert sum(after.values()) == len(second) and 0 < new < 4_000_000, new
step(f"of {len(second)} bytes {new} are in xorbs that the first version has not")

program = Path(sys.executable).with_name("hf")
environment = {**os.environ, "HF_HOME": tempfile.mkdtemp(dir=home.name)}


def command(*words, **more):
    proxy.forget()
    into = tempfile.mkdtemp(dir=home.name)
    done = subprocess.run(
        [program, "download", *words, "--repo-type", "dataset", "--local-dir", into],
        capture_output=True, text=True, env={**environment, **more},
    )
    assert done.returncode == 0, done.stderr
    return Path(into)


proxy.cut_after = 7_000_000
folder = command(name, "long.raw", "--revision", commits[0])
assert (folder / "long.raw").read_bytes() == first and proxy.cuts >= 3, proxy.cuts
assert proxy.asked(r"/xorbs/") and not proxy.asked(r"^GET .*/resolve/"), proxy.paths
proxy.cut_after = None
step(f"hf download by Xet, with {proxy.cuts} connections cut")

folder = command(name, "long.raw", "--revision", commits[0], HF_HUB_DISABLE_XET="1")
assert (folder / "long.raw").read_bytes() == first
assert not proxy.asked("/xet/") and proxy.asked(r"^GET .*/resolve/"), proxy.paths
step("without Xet as before")

# What a client remembers to have sent to one deposit is not there in another.
again = f"{namespace}/by-xet-again"
api.create_repo(again, repo_type="dataset", private=True)
api.upload_file(path_or_fileobj=first, path_in_repo="again.raw", repo_id=again, repo_type="dataset")
back = hub.hf_hub_download(again, "again.raw", repo_type="dataset", cache_dir=tempfile.mkdtemp(dir=home.name))
assert Path(back).read_bytes() == first
step("the same bytes in another deposit")

# What is published: by anybody, with no token.
environment.pop("HF_TOKEN")
anybody = hub.HfApi(token=False)
info = anybody.dataset_info(published, files_metadata=True)
large = {file.rfilename: file.lfs["sha256"] for file in info.siblings if file.lfs}
assert large
for path in large:
    url = hub.hf_hub_url(published, path, repo_type="dataset", endpoint=endpoint)
    for _ in range(100):
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as head:
            if head.headers["X-Xet-Hash"]:
                break
        time.sleep(0.1)
folder = command(published)
for path, sha256 in large.items():
    assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == sha256, path
    [hashed] = hf_xet.hash_files([str(folder / path)])
    assert proxy.asked(f"/reconstructions/{hashed.hash}"), (path, proxy.paths)
    assert not proxy.asked(rf"^GET .*/resolve/.*{re.escape(path)}"), proxy.paths
step(f"hf download of {len(large)} published tables by Xet")

strange = subprocess.run(
    [program, "download", name, "long.raw", "--repo-type", "dataset"], capture_output=True, text=True, env=environment
)
assert strange.returncode != 0
step("a draft is nobody else's")

print(f"all {steps} steps passed: huggingface_hub {hub.__version__}")
