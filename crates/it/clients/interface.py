"""Asks a node, with schemathesis, for what its own description of the interface says and for what it forbids.

usage: interface.py ENDPOINT
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

endpoint = sys.argv[1].rstrip("/")
here = Path(__file__).parent
hooks = """
import schemathesis

@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()
"""
with tempfile.TemporaryDirectory(prefix="acequia-interface-") as folder:
    (Path(folder) / "lines.py").write_text(hooks)
    environment = dict(os.environ, SCHEMATHESIS_HOOKS="lines", PYTHONPATH=folder, HYPOTHESIS_STORAGE_DIRECTORY=folder)
    words = [str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(here / "interface.toml"), "run"]
    words += [f"{endpoint}/api/openapi.json", "--url", endpoint, "--seed", "20261129", "--max-examples", "25"]
    words += ["--workers", "1", "--no-color", "--continue-on-failure", "--phases", "examples,coverage,fuzzing"]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    print(done.stdout[-6000:], done.stderr[-2000:])
    sys.exit(done.returncode)
