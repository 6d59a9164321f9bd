"""Reads a data set from a node with unmodified clients and asserts everything it gets.

usage: clients.py ENDPOINT NAMESPACE/NAME [PROGRAM]      (PROGRAM is `acequia`, which rechecks a download)

Needs `datasets`, `huggingface_hub`, `pandas` and `pyarrow`; with PROGRAM also `mlcroissant[parquet]` and `polars`, and then the
snippets of the page are pasted, too.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

endpoint, name = sys.argv[1].rstrip("/"), sys.argv[2]
program = sys.argv[3] if len(sys.argv) > 3 else None
home = tempfile.TemporaryDirectory(prefix="acequia-clients-")
# Only the endpoint points at the node; the rest keeps this run away from the user's own caches and from the network.
os.environ["HF_ENDPOINT"] = endpoint
os.environ["HF_HOME"] = home.name
os.environ["CROISSANT_CACHE"] = str(Path(home.name) / "croissant")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
for variable in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
    os.environ.pop(variable, None)

import datasets  # noqa: E402
import huggingface_hub as hub  # noqa: E402
import pandas as pd  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from huggingface_hub.errors import (  # noqa: E402
    EntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

datasets.disable_progress_bars()
SPLITS = ["train", "validation", "test"]
steps = 0


def step(text):
    global steps
    steps += 1
    print(f"ok {steps} {text}", flush=True)


def raises(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind:
        return
    raise AssertionError(f"{call.__name__} did not raise {kind.__name__}")


api = hub.HfApi()

# What is there.
info = api.dataset_info(name)
assert info.id == name and len(info.sha) == 40, info
assert info.author == name.split("/")[0] and not info.private and not info.gated and not info.disabled
assert info.created_at <= info.last_modified
card = info.card_data
assert card is not None and card.license, card
assert [entry["split"] for entry in card["configs"][0]["data_files"]] == SPLITS, card["configs"]
files = sorted(entry.rfilename for entry in info.siblings)
step("dataset_info")

refs = api.list_repo_refs(name, repo_type="dataset")
assert [branch.name for branch in refs.branches] == ["main"] and refs.branches[0].target_commit == info.sha
assert refs.tags, refs
tag = next(tag for tag in refs.tags if tag.target_commit == info.sha).name
assert tag.startswith("v")
commits = api.list_repo_commits(name, repo_type="dataset")
assert commits[0].commit_id == info.sha and len(commits) == len(refs.tags)
for revision in (tag, tag[1:], info.sha, "main"):
    assert api.dataset_info(name, revision=revision).sha == info.sha, revision
assert len(api.list_repo_refs(name, repo_type="dataset", include_pull_requests=True).pull_requests) == 0
step("refs, commits, revisions by tag, number and commit")

assert sorted(api.list_repo_files(name, repo_type="dataset")) == files
assert "manifest.json" in files and "README.md" in files
parquet = [f"data/{split}-00000-of-00001.parquet" for split in SPLITS]
assert set(parquet) <= set(files), files
tree = {entry.path: entry for entry in api.list_repo_tree(name, repo_type="dataset", recursive=True, expand=True)}
assert type(tree["data"]).__name__ == "RepoFolder"
assert all(entry.last_commit.oid for entry in tree.values())
assert {path for path in tree if path != "data"} == set(files)
below = {entry.path for entry in api.list_repo_tree(name, "data", repo_type="dataset")}
assert below == set(parquet), below
raises(EntryNotFoundError, lambda: list(api.list_repo_tree(name, "nowhere", repo_type="dataset")))
step("list_repo_files, list_repo_tree")

some = api.get_paths_info(name, ["README.md", "data", "nowhere.txt"], repo_type="dataset", expand=True)
assert sorted(entry.path for entry in some) == ["README.md", "data"], some
assert api.file_exists(name, "README.md", repo_type="dataset")
assert not api.file_exists(name, "nowhere.txt", repo_type="dataset")
assert api.repo_exists(name, repo_type="dataset") and not api.repo_exists("no/such", repo_type="dataset")
assert api.revision_exists(name, tag, repo_type="dataset")
assert not api.revision_exists(name, "v99.0.0", repo_type="dataset")
api.auth_check(name, repo_type="dataset")
step("paths info, existence, auth_check")

assert name in [found.id for found in api.list_datasets()]
assert name in [found.id for found in api.list_datasets(author=name.split("/")[0])]
assert name in [found.id for found in api.list_datasets(search=name.split("/")[1], limit=5)]
assert not list(api.list_datasets(search="no-such-word-anywhere"))
assert not list(api.list_datasets(author="nobody"))
assert not list(api.list_models(limit=3))
step("listing and search")

raises(RepositoryNotFoundError, api.dataset_info, "no/such")
raises(RepositoryNotFoundError, hub.hf_hub_download, "no/such", "README.md", repo_type="dataset")
raises(RepositoryNotFoundError, hub.hf_hub_download, name, "README.md")  # asked for as a model
raises(RevisionNotFoundError, api.dataset_info, name, revision="v99.0.0")
raises(RevisionNotFoundError, api.dataset_info, name, revision=info.sha[:10])
raises(EntryNotFoundError, hub.hf_hub_download, name, "nowhere.txt", repo_type="dataset")
step("what is not there")

# Nobody rewrites what is published: refused in the form that clients raise as an error with the node's words.
from huggingface_hub.errors import HfHubHTTPError  # noqa: E402


def refused(status, call, *arguments, **named):
    try:
        call(*arguments, repo_type="dataset", token="any", **named)
    except HfHubHTTPError as error:
        assert error.response.status_code == status, (call.__name__, error)
        assert "never changes" in str(error), error
        return
    raise AssertionError(f"{call.__name__} was not refused")


refused(409, api.create_tag, name, tag=tag)
refused(403, api.create_tag, name, tag="v99.0.0")
refused(403, api.delete_tag, name, tag=tag)
refused(409, api.create_branch, name, branch="main")
refused(403, api.delete_branch, name, branch="main")
refused(403, api.super_squash_history, name)
refused(403, api.upload_file, path_or_fileobj=b"x", path_in_repo="README.md", repo_id=name)
refused(403, api.delete_file, "README.md", name)
refused(403, api.delete_repo, name)
refused(409, api.create_repo, name)
assert api.create_tag(name, tag=tag, exist_ok=True, repo_type="dataset", token="any") is None
assert api.dataset_info(name).sha == info.sha
step("tags, branches, history and files cannot be rewritten")

# Bytes.
folder = Path(hub.snapshot_download(name, repo_type="dataset", revision=tag))
assert folder.name == info.sha
assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == files
manifest = json.loads((folder / "manifest.json").read_bytes())
assert hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:40] == info.sha
assert manifest["dataset"] == name and manifest["version"] == tag[1:]
assert sorted([entry["path"] for entry in manifest["files"]] + ["manifest.json"]) == files
with_blobs = {entry.rfilename: entry for entry in api.dataset_info(name, files_metadata=True).siblings}
for entry in manifest["files"]:
    content = (folder / entry["path"]).read_bytes()
    assert len(content) == entry["bytes"] == with_blobs[entry["path"]].size, entry["path"]
    assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["path"]
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    assert git == entry["git_oid"] == with_blobs[entry["path"]].blob_id, entry["path"]
    url = hub.hf_hub_url(name, entry["path"], repo_type="dataset", revision=tag)
    head = hub.get_hf_file_metadata(url)
    assert head.commit_hash == info.sha and head.size == entry["bytes"], entry["path"]
    assert head.etag == (entry["sha256"] if entry["path"].endswith(".parquet") else git), entry["path"]
    if entry["path"].endswith(".parquet"):
        lfs = with_blobs[entry["path"]].lfs
        assert lfs["sha256"] == entry["sha256"] and lfs["size"] == entry["bytes"], lfs
again = hub.snapshot_download(name, repo_type="dataset", revision=tag)
assert Path(again) == folder
step("snapshot_download, every byte checked")

local = {split: pq.read_table(folder / path) for split, path in zip(SPLITS, parquet)}
rows = {split: table.num_rows for split, table in local.items()}
assert rows == dict(map(tuple, manifest["splits"])), rows

for revision in (None, tag, info.sha):
    loaded = datasets.load_dataset(name, revision=revision)
    assert list(loaded) == SPLITS, loaded
    for split in SPLITS:
        assert loaded[split].num_rows == rows[split]
        assert loaded[split].column_names == local[split].column_names
        assert loaded[split][:] == local[split].to_pydict(), split
assert datasets.get_dataset_config_names(name) == ["default"]
assert datasets.get_dataset_split_names(name) == SPLITS
step("load_dataset, at main, tag and commit")

for split in SPLITS:
    stream = datasets.load_dataset(name, split=split, streaming=True, revision=tag)
    streamed = list(stream)
    assert streamed == local[split].to_pylist(), split
step("load_dataset, streaming")

for earlier in refs.tags:
    old = datasets.load_dataset(name, revision=earlier.name, split="train", streaming=True)
    assert next(iter(old)), earlier
step("every tag loads")

fs = hub.HfFileSystem()
assert sorted(fs.ls(f"datasets/{name}/data", detail=False)) == sorted(f"datasets/{name}/{path}" for path in parquet)
assert sorted(fs.glob(f"datasets/{name}@{tag}/data/*.parquet")) == sorted(
    f"datasets/{name}@{tag}/{path}" for path in parquet
)
details = fs.info(f"datasets/{name}/{parquet[0]}")
assert details["size"] == (folder / parquet[0]).stat().st_size
with fs.open(f"datasets/{name}/{parquet[0]}", "rb") as remote:
    remote.seek(-8, 2)
    assert remote.read()[4:] == b"PAR1"
    remote.seek(0)
    assert remote.read(4) == b"PAR1"
assert fs.read_text(f"datasets/{name}/README.md").startswith("---\n")
assert not fs.exists(f"datasets/{name}/nowhere.txt")
for split, path in zip(SPLITS, parquet):
    frame = pd.read_parquet(f"hf://datasets/{name}@{tag}/{path}")
    assert len(frame) == rows[split] and list(frame.columns) == local[split].column_names
    frame = pd.read_parquet(f"{endpoint}/datasets/{name}/resolve/{info.sha}/{path}")
    assert len(frame) == rows[split]
step("HfFileSystem and pandas")

if program is None:
    print(f"all {steps} steps passed: {name} {tag} at {endpoint}, huggingface_hub {hub.__version__}")
    sys.exit()

if "croissant.json" in files:
    import mlcroissant as mlc

    described = mlc.Dataset(f"{endpoint}/api/datasets/{name}/croissant")
    for split in SPLITS:
        records = list(described.records(split))
        assert len(records) == rows[split], (split, len(records))
        first = {key.split("/")[-1]: value for key, value in records[0].items()}
        expected = local[split].slice(0, 1).to_pylist()[0]
        for column, value in first.items():
            value = value.decode() if isinstance(value, bytes) else value
            assert value == expected[column] or value != value and expected[column] is None, (column, value)
    step("mlcroissant, records of every split from the address")

# What the page tells people to paste.
class Snippets(HTMLParser):
    """Texts of the `pre` blocks of a page, in order."""

    def __init__(self):
        super().__init__()
        self.texts, self.inside = [], False

    def handle_starttag(self, tag, _):
        if tag == "pre":
            self.inside = True
            self.texts.append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "pre"

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data


parser = Snippets()
for tab in ("use", "governance"):
    with urllib.request.urlopen(f"{endpoint}/datasets/{name}/v/{tag[1:]}/{tab}") as page:
        parser.feed(page.read().decode())
work = Path(home.name) / "pasted"
work.mkdir()
bare = {key: value for key, value in os.environ.items() if key != "HF_ENDPOINT"}
bare["PATH"] = f"{Path(sys.executable).parent}:{Path(program).parent}:{os.environ['PATH']}"
ran = []
for text in parser.texts:
    where = work
    if "import " in text:
        kind, words = "python", [sys.executable, "-c", text]
    elif "<- " in text:
        kind, words = "R", ["Rscript", "-e", text]
    else:
        kind, words = "shell", ["bash", "-euo", "pipefail", "-c", text]
        # The commands that check a copy are for its own folder.
        where = work / "data" if "SHA256SUMS" in text else work
    if shutil.which(words[0]) is None or (kind == "shell" and "curl" in text and shutil.which("curl") is None):
        print(f"skipped: {words[0]} is not installed", flush=True)
        continue
    for _ in range(3):
        done = subprocess.run(words, cwd=where, env=bare, capture_output=True, text=True)
        # A thread of Arrow that outlives the interpreter makes it abort when all is done, now and then.
        if "terminate called without an active exception" not in done.stderr:
            break
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    ran.append(kind)
assert ran.count("python") == 4 and ran.count("shell") >= 1, ran
assert (work / "data" / "data" / "train-00000-of-00001.parquet").is_file()
step(f"{len(ran)} of {len(parser.texts)} snippets of the page, pasted as they stand")

print(f"all {steps} steps passed: {name} {tag} at {endpoint}")
