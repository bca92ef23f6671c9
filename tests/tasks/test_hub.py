"""The hub, against a small local server that speaks its protocol."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import hub
from PIL import Image

# The endpoint is read when huggingface_hub is imported, so datasets are opened in a process of their own.
OPEN = """
import json, sys
from autodistill.errors import DataError
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
for name in sys.argv[1:]:
    try:
        d = load_dataset(DatasetRef(name), with_test=True)
        print(json.dumps({"task": d.task, "classes": d.classes, "rows": [len(d.train), len(d.validation), len(d.open_test())],
                          "unlabelled": d.unlabelled_rows, "notes": d.notes,
                          "fingerprint": d.fingerprint, "name": d.name, "metric": d.metric, "size": d.image_size}))
    except DataError as error:
        print(json.dumps({"error": str(error)}))
"""

CARD = """---
configs:
- config_name: default
  data_files: [{split: train, path: data/train-*}, {split: test, path: data/test-*}]
- config_name: small
  data_files: [{split: train, path: small/train-*}, {split: extra, path: small/extra-*}, {split: unsupervised, path: small/un-*}]
dataset_info:
- config_name: default
  features:
  - {name: sentence, dtype: string}
  - {name: label, dtype: {class_label: {names: {'0': bad, '1': good}}}}
---
# A toy
"""


def table(rows: int, **columns: Any) -> bytes:
    buffer = io.BytesIO()
    cells = columns or {"sentence": [f"sentence {row} of {rows}" for row in range(rows)], "label": [row % 2 for row in range(rows)]}
    pq.write_table(pa.table(cells), buffer)
    return buffer.getvalue()


def picture(color: int) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (color, 0, 0)).save(buffer, format="png")
    return {"bytes": buffer.getvalue(), "path": f"{color}.png"}


def repositories() -> dict[str, dict[str, bytes]]:
    hidden = {"sentence": [f"hidden {row}" for row in range(20)], "label": [-1] * 20}
    return {
        "me/toy": {
            "README.md": CARD.encode(),
            "data/train-00000-of-00001.parquet": table(100),
            "data/test-00000-of-00001.parquet": table(30),
            "small/train-00000.parquet": table(50),
            "small/extra-00000.parquet": table(10),
            "small/un-00000.parquet": table(70, sentence=[f"unread {row}" for row in range(70)], label=[-1] * 70),
        },
        "nyu-mll/glue": {
            "README.md": b"---\nconfigs:\n- config_name: sst2\n  data_files: [{split: train, path: sst2/train-*}, "
            b"{split: validation, path: sst2/validation-*}, {split: test, path: sst2/test-*}]\n---\n",
            "sst2/train-0.parquet": table(200),
            "sst2/validation-0.parquet": table(40),
            "sst2/test-0.parquet": table(20, **hidden),
        },
        "uoft-cs/cifar10": {
            "train.parquet": table(40, img=[picture(row) for row in range(40)], label=[row % 2 for row in range(40)]),
            "test.parquet": table(20, img=[picture(200 + row) for row in range(20)], label=[row % 2 for row in range(20)]),
        },
        "me/only-text": {"notes.bin": b"nothing to read"},
    }


def opened(endpoint: str, folder: Path, *names: str, cache: str = "cache", **environment: str) -> list[dict[str, Any]]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    variables |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "AUTODISTILL_CACHE": str(folder / cache), **environment}
    done = subprocess.run([sys.executable, "-c", OPEN, *names], env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with hub(repositories(), gated=("me/gated",), broken=("me/broken",)) as url:
        yield url


@pytest.mark.slow
def test_datasets_of_the_hub(endpoint: str, tmp_path: Path) -> None:
    toy, small, sst2, cifar10 = opened(endpoint, tmp_path, "me/toy", "me/toy:small", "sst2", "cifar10")
    assert (toy["task"], toy["classes"], toy["rows"]) == ("text-classification", ["bad", "good"], [80, 20, 30])
    assert toy["notes"][0].startswith("from the hub: me/toy, revision aaaa")
    assert small["rows"] == [30, 10, 10]
    assert (small["unlabelled"], toy["unlabelled"]) == (70, 0)
    assert any("not used: extra" in note for note in small["notes"])
    assert (sst2["name"], sst2["metric"], sst2["rows"]) == ("sst2", "accuracy", [160, 40, 40])
    assert any("test file has no labels" in note for note in sst2["notes"])
    assert (cifar10["task"], cifar10["size"], cifar10["rows"]) == ("image-classification", 32, [32, 8, 20])

    # A second process needs no hub, and the cache of `datasets` serves where the hub is forbidden.
    again, other = opened("http://127.0.0.1:9", tmp_path, "me/toy", "me/other")
    assert again["fingerprint"] == toy["fingerprint"]
    assert "hub dataset me/other (http://127.0.0.1:9) cannot be reached (ConnectError" in other["error"]
    assert "check the network; or a local copy works without the hub" in other["error"]
    offline, missing = opened(endpoint, tmp_path, "me/toy:default", "me/other", cache="fresh", HF_HUB_OFFLINE="1")
    assert offline["fingerprint"] == toy["fingerprint"]
    assert "me/other" in missing["error"]
    assert "HF_HUB_OFFLINE forbids to fetch it: unset that" in missing["error"]


@pytest.mark.slow
def test_what_cannot_be_had_is_told(endpoint: str, tmp_path: Path) -> None:
    names = ["me/none", "me/gated", "me/broken", "me/toy:nope", "me/only-text", "cola"]
    messages = dict(zip(names, (answer["error"] for answer in opened(endpoint, tmp_path, *names)), strict=True))
    assert "me/none" in messages["me/none"]
    assert "does not exist or is private: check the spelling of the id; for a private one log in" in messages["me/none"]
    assert "is gated: ask for access on its page, then log in" in messages["me/gated"]
    assert "answered with the error 500: try again later" in messages["me/broken"]
    assert "'nope' not found. Available: ['default', 'small'] (a configuration is named after a colon" in messages["me/toy:nope"]
    assert "cannot be read by `datasets`" in messages["me/only-text"]
    assert "BuilderConfig 'cola' not found" in messages["cola"]
    assert all("no folder" in message and "AUTODISTILL_DATA (not set)" in message for message in messages.values())
    assert not [
        file for file in (tmp_path / "cache").rglob("*") if file.name.endswith(".part") or (file.is_dir() and file.name != "datasets")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("slow", ["slow", "slow_files"])
def test_a_hub_that_does_not_answer_is_given_up_soon(tmp_path: Path, slow: str) -> None:
    with hub(repositories(), **{slow: 20.0}) as url:  # type: ignore[arg-type]
        (answer,) = opened(url, tmp_path, "me/toy")
    assert "did not answer within 6 s: try again later" in answer["error"]
