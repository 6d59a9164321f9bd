"""Writes a data set and a model to a node with unmodified clients and reads the same bytes back.

usage: deposits.py ENDPOINT TOKEN NAMESPACE LABEL [BYTES]      (LABEL tells runs of several clients apart; BYTES of the large file)

Needs `huggingface_hub`; uses `datasets` and the `hf` command where they are there. Runs with versions 0.36 and 2.x, with and without
hf_xet, and sets no switch of any.
"""

import hashlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

endpoint, token, namespace, label = sys.argv[1].rstrip("/"), sys.argv[2], sys.argv[3], sys.argv[4]
large_bytes = int(sys.argv[5]) if len(sys.argv) > 5 else 40_000_000
home = tempfile.TemporaryDirectory(prefix="acequia-deposits-")
os.environ["HF_ENDPOINT"] = endpoint
os.environ["HF_TOKEN"] = token
os.environ["HF_HOME"] = home.name
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_XET"):
    os.environ.pop(variable, None)

import huggingface_hub as hub  # noqa: E402
from huggingface_hub import CommitOperationAdd, CommitOperationDelete  # noqa: E402
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError  # noqa: E402

steps = 0
folder = Path(home.name) / "work"
folder.mkdir()
api = hub.HfApi()
major = int(hub.__version__.split(".")[0])


def step(text):
    global steps
    steps += 1
    print(f"ok {steps} {text}", flush=True)


def refused(call, *arguments, status, **named):
    try:
        call(*arguments, **named)
    except HfHubHTTPError as error:
        assert error.response.status_code == status, (error.response.status_code, error)
        return str(error)
    raise AssertionError(f"{call.__name__} was not refused")


def pseudo_random(length, seed):
    """Bytes that neither compress nor repeat, the same for a seed."""
    return hashlib.shake_256(seed.encode()).digest(length)


def fetch(name, path, kind="dataset", revision="main"):
    return Path(
        hub.hf_hub_download(name, path, repo_type=kind, revision=revision, cache_dir=tempfile.mkdtemp(dir=home.name))
    ).read_bytes()


me = api.whoami()
assert me["name"] == namespace and me["auth"]["accessToken"]["role"] == "write", me
step(f"whoami with huggingface_hub {hub.__version__}")

name = f"{namespace}/cohort-{label}"
api.create_repo(name, repo_type="dataset", private=True)
again = api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
assert again.repo_id == name, again
assert refused(api.create_repo, name, repo_type="dataset", status=409)
assert refused(api.create_repo, "somebody-else/cohort", repo_type="dataset", status=403)
step("create_repo")

card = f"""---
license: cc-by-4.0
pretty_name: Cohort {label}
task_categories:
- tabular-classification
---
# Cohort

A made-up cohort that clients write in tests, and nothing else.
"""
large = pseudo_random(large_bytes, f"large {label}")
(folder / "extra").mkdir()
(folder / "README.md").write_text(card)
(folder / "extra/notes.txt").write_text("notes\n")
(folder / "extra/empty.txt").write_bytes(b"")
(folder / "extra/images.raw").write_bytes(large)
# Shares most of its bytes with the other.
(folder / "extra/images-more.raw").write_bytes(large[: len(large) // 2] + pseudo_random(2_000_000, "more"))
done = api.upload_folder(repo_id=name, folder_path=folder, repo_type="dataset", commit_message="Add the cohort")
assert len(done.oid) == 40, done
for path in ["README.md", "extra/notes.txt", "extra/empty.txt", "extra/images.raw", "extra/images-more.raw"]:
    assert fetch(name, path) == (folder / path).read_bytes(), path
step(f"upload_folder and hf_hub_download of {large_bytes} bytes: {api.list_repo_commits(name, repo_type='dataset')[0].title}")

assert api.upload_folder(repo_id=name, folder_path=folder, repo_type="dataset").oid == done.oid
api.upload_file(path_or_fileobj=b"in memory", path_in_repo="extra/memory.txt", repo_id=name, repo_type="dataset")
api.upload_file(path_or_fileobj=io.BytesIO(large[:3_000_000]), path_in_repo="extra/buffer.raw", repo_id=name, repo_type="dataset")
assert fetch(name, "extra/memory.txt") == b"in memory" and fetch(name, "extra/buffer.raw") == large[:3_000_000]
step("the same again is no commit; bytes and buffers")

info = api.dataset_info(name, files_metadata=True)
assert info.private and info.card_data.license == "cc-by-4.0"
sizes = {file.rfilename: file.size for file in info.siblings}
assert sizes["extra/images.raw"] == large_bytes, sizes
entries = {entry.path for entry in api.list_repo_tree(name, repo_type="dataset", recursive=True, expand=True)}
assert "extra/notes.txt" in entries and "extra" in entries
snapshot = Path(hub.snapshot_download(name, repo_type="dataset", cache_dir=tempfile.mkdtemp(dir=home.name)))
assert hashlib.sha256((snapshot / "extra/images.raw").read_bytes()).digest() == hashlib.sha256(large).digest()
filesystem = hub.HfFileSystem()
with filesystem.open(f"datasets/{name}/extra/images.raw", "rb") as file:
    file.seek(large_bytes // 2)
    assert file.read(1000) == large[large_bytes // 2 : large_bytes // 2 + 1000]
step("info, tree, snapshot_download, a range by HfFileSystem")

first = api.dataset_info(name).sha
operations = [CommitOperationAdd("extra/notes.txt", b"second\n"), CommitOperationDelete("extra/memory.txt")]
second = api.create_commit(name, operations, commit_message="Mend", repo_type="dataset", parent_commit=first)
refused(
    api.create_commit, name, [CommitOperationAdd("x.txt", b"x")], commit_message="Late", repo_type="dataset",
    parent_commit=first, status=412,
)
assert fetch(name, "extra/notes.txt", revision=first) == b"notes\n"
assert fetch(name, "extra/notes.txt") == b"second\n"
api.create_commit(
    name, [CommitOperationDelete("extra/", is_folder=True)], commit_message="Without extras", repo_type="dataset"
)
assert [file for file in api.list_repo_files(name, repo_type="dataset")] == ["README.md"]
refused(api.super_squash_history, name, repo_type="dataset", status=403)
refused(api.create_branch, name, branch="main", repo_type="dataset", status=409)
refused(api.create_pull_request, name, title="Mend", repo_type="dataset", status=403)
step("parents, deleting, and what rewrites is refused")

api.create_branch(name, branch="try/one", repo_type="dataset")
api.create_branch(name, branch="try/one", repo_type="dataset", exist_ok=True)
api.create_branch(name, branch="old", revision=first, repo_type="dataset")
assert fetch(name, "extra/notes.txt", revision="old") == b"notes\n"
api.upload_file(
    path_or_fileobj=large[:2_000_000], path_in_repo="aside.raw", repo_id=name, repo_type="dataset", revision="try/one"
)
assert fetch(name, "aside.raw", revision="try/one") == large[:2_000_000]
assert [branch.name for branch in api.list_repo_refs(name, repo_type="dataset").branches] == ["main", "old", "try/one"]
assert "aside.raw" in api.list_repo_files(name, repo_type="dataset", revision="try/one")
assert "aside.raw" not in api.list_repo_files(name, repo_type="dataset")
refused(api.create_tag, name, tag="v0.1.0", revision="try/one", repo_type="dataset", status=403)
said = refused(
    api.create_commit, name, [CommitOperationAdd("x.txt", b"x")], commit_message="PR", repo_type="dataset",
    create_pr=True, status=403,
)
assert "pull requests" in said, said
api.delete_branch(name, branch="old", repo_type="dataset")
api.delete_branch(name, branch="try/one", repo_type="dataset")
assert [branch.name for branch in api.list_repo_refs(name, repo_type="dataset").branches] == ["main"]
step("branches: made, committed to, read, not handed in, given up")

try:
    import datasets
except ImportError:
    datasets = None
if datasets is not None:
    datasets.disable_progress_bars()
    rows = {"person": [f"p{number}" for number in range(1000)], "age": list(range(1000))}
    split = datasets.DatasetDict(
        train=datasets.Dataset.from_dict({key: column[:800] for key, column in rows.items()}),
        test=datasets.Dataset.from_dict({key: column[800:] for key, column in rows.items()}),
    )
    split.push_to_hub(name, private=True)
    back = datasets.load_dataset(name, cache_dir=tempfile.mkdtemp(dir=home.name))
    assert back["train"]["age"][:3] == [0, 1, 2] and back["test"].num_rows == 200
    pushed = fetch(name, "README.md").decode()
    assert "dataset_info" in pushed and "license: cc-by-4.0" in pushed, pushed
    assert "data/train-00000-of-00001.parquet" in api.list_repo_files(name, repo_type="dataset")
    step(f"push_to_hub and load_dataset with datasets {datasets.__version__}")

    api.create_tag(name, tag="v1.0.0", tag_message="First", repo_type="dataset")
    api.create_tag(name, tag="v1.0.0", repo_type="dataset", exist_ok=True)
    assert [tag.name for tag in api.list_repo_refs(name, repo_type="dataset").tags] == ["v1.0.0"]
    refused(api.delete_tag, name, tag="v1.0.0", repo_type="dataset", status=403)
    api.upload_file(path_or_fileobj=b"\x80\x04.", path_in_repo="weights.pkl", repo_id=name, repo_type="dataset")
    said = refused(api.create_tag, name, tag="v1.1.0", repo_type="dataset", status=422)
    assert "weights.pkl" in said and "pickle" in said, said
    assert [tag.name for tag in api.list_repo_refs(name, repo_type="dataset").tags] == ["v1.0.0"]
    step("a tag hands in; what is not fit is named")

program = Path(sys.executable).with_name("hf")
if program.exists():
    file = folder / "from-the-command.txt"
    file.write_text("from the command\n")
    words = ["upload", name, str(file), "cli/file.txt", "--repo-type", "dataset", "--commit-message", "By hf"]
    done = subprocess.run([program, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert fetch(name, "cli/file.txt") == b"from the command\n"
    step("hf upload")
    if major >= 1:
        for words in (["create", name, "by-hf"], ["delete", name, "by-hf"]):
            words = ["repos", "branch", *words, "--repo-type", "dataset"]
            done = subprocess.run([program, *words], capture_output=True, text=True)
            assert done.returncode == 0, (done.stdout, done.stderr)
        step("hf repos branch")

model = f"{namespace}/net-{label}"
api.create_repo(model)
graph = bytes([0x08, 9, 0x3A, 1, 0, 0x42, 2, 0x10, 0x11])
model_card = """---
license: mit
pipeline_tag: tabular-classification
library_name: onnx
datasets:
- example/cohort
---
A made-up model that clients write in tests, and nothing else.
"""
api.create_commit(
    model,
    [CommitOperationAdd("model.onnx", graph), CommitOperationAdd("README.md", model_card.encode())],
    commit_message="Add the model",
)
assert fetch(model, "model.onnx", kind="model") == graph
api.create_tag(model, tag="v1.0.0")
step("a model")

for secret in (False, "hf_acequia_" + "0" * 64):
    stranger = hub.HfApi(token=secret)
    for call in (stranger.dataset_info, lambda own: stranger.list_repo_files(own, repo_type="dataset")):
        try:
            call(name)
        except RepositoryNotFoundError:
            continue
        raise AssertionError("somebody without a token for it sees the deposit")
step("nobody else sees it")

gone = f"{namespace}/gone-{label}"
for again in range(2):
    api.create_repo(gone, repo_type="dataset")
    api.upload_file(path_or_fileobj=large[:3_000_000], path_in_repo="a.raw", repo_id=gone, repo_type="dataset")
    assert fetch(gone, "a.raw") == large[:3_000_000]
    if again and program.exists() and major >= 2:
        done = subprocess.run([program, "repos", "delete", gone, "--repo-type", "dataset", "--yes"], capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout, done.stderr)
    else:
        api.delete_repo(gone, repo_type="dataset")
    assert not api.repo_exists(gone, repo_type="dataset")
    refused(api.delete_repo, gone, repo_type="dataset", status=404)
    api.delete_repo(gone, repo_type="dataset", missing_ok=True)
assert api.repo_exists(name, repo_type="dataset")
step("delete_repo, and the same name again")

print(f"all {steps} steps passed: huggingface_hub {hub.__version__}, {name} at {endpoint}")
