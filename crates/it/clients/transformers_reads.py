"""Reads configuration and tokenizer of a deposited model with `transformers`, which needs no torch for them.

usage: transformers_reads.py ENDPOINT TOKEN NAMESPACE
"""

import json
import os
import struct
import sys
import tempfile
from pathlib import Path

endpoint, token, namespace = sys.argv[1].rstrip("/"), sys.argv[2], sys.argv[3]
home = tempfile.TemporaryDirectory(prefix="acequia-transformers-")
os.environ["HF_ENDPOINT"] = endpoint
os.environ["HF_HOME"] = home.name
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
for variable in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ.pop(variable, None)

import huggingface_hub as hub  # noqa: E402

try:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoTokenizer, BertConfig, PreTrainedTokenizerFast, __version__
except ImportError:
    print("skipped: transformers is not installed")
    sys.exit(77)

steps = 0


def step(text):
    global steps
    steps += 1
    print(f"ok {steps} {text}", flush=True)


name = f"{namespace}/words"
folder = Path(home.name) / "words"
words = {"[UNK]": 0, "[PAD]": 1, "no": 2, "sign": 3, "of": 4, "recurrence": 5}
own = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
own.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(tokenizer_object=own, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
BertConfig(vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2).save_pretrained(folder)
header = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
(folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
(folder / "README.md").write_text(
    "---\nlicense: mit\npipeline_tag: text-classification\nlibrary_name: transformers\ndatasets:\n- example/cohort\n---\n"
    "A made-up model that clients write in tests, and nothing else.\n"
)
api = hub.HfApi(token=token)
api.create_repo(name)
api.upload_folder(repo_id=name, folder_path=folder)
first = api.model_info(name).sha
api.create_tag(name, tag="v1.0.0")
api.upload_file(path_or_fileobj=b"{}", path_in_repo="generation_config.json", repo_id=name)
step("a model with its configuration and tokenizer")

for revision in ("main", "v1.0.0", first):
    config = AutoConfig.from_pretrained(name, token=token, revision=revision)
    assert (config.model_type, config.hidden_size, config.vocab_size) == ("bert", 8, len(words)), config
    tokenizer = AutoTokenizer.from_pretrained(name, token=token, revision=revision)
    assert tokenizer("no sign of relapse")["input_ids"] == [2, 3, 4, 0]
    assert tokenizer.decode([5]) == "recurrence"
step(f"AutoConfig and AutoTokenizer with transformers {__version__}, by branch, tag and commit")

cached = AutoTokenizer.from_pretrained(name, token=token, local_files_only=True)
assert cached.vocab_size == len(words)
step("from the cache")

for call in (AutoConfig.from_pretrained, AutoTokenizer.from_pretrained):
    try:
        call(name, cache_dir=tempfile.mkdtemp(dir=home.name))
    except OSError as error:
        assert "not a valid model identifier" in str(error) or "private" in str(error), error
        continue
    raise AssertionError("somebody without a token reads the deposit")
step("nobody else reads it")

print(f"all {steps} steps passed")
