"""The service that docs/serving.md shows, run as it stands there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_teacher import save_tokenizer

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


class App:
    """As much of FastAPI as the page uses."""

    def post(self, path: str) -> Any:
        assert path == "/predict"
        return lambda function: function


def test_the_pages_service_answers_what_the_model_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tokenizer(tmp_path)
    (tmp_path / "student.json").write_text(json.dumps({"classes": ["bad", "good"], "inputs": ["input_ids", "attention_mask"]}))
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    padding = {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer | {"padding": padding}), encoding="utf-8")
    asked: list[dict[str, np.ndarray]] = []

    class Session:
        """Stands for onnxruntime's: the longer text is good."""

        def __init__(self, path: str) -> None:
            assert path == str(tmp_path / "model.onnx")

        def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            asked.append(inputs)
            length = inputs["attention_mask"].sum(axis=1)
            return [np.stack([np.full(len(length), 4.5), length], axis=1)]

    fastapi, onnxruntime = ModuleType("fastapi"), ModuleType("onnxruntime")
    fastapi.__dict__["FastAPI"], onnxruntime.__dict__["InferenceSession"] = App, Session
    monkeypatch.setitem(sys.modules, "fastapi", fastapi)
    monkeypatch.setitem(sys.modules, "onnxruntime", onnxruntime)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 17
    service = SimpleNamespace()
    exec(compile(code, str(PAGE), "exec"), vars(service))
    assert service.predict(["good film", "a good good film"]) == ["bad", "good"]
    assert asked[0]["input_ids"].dtype == np.int64
    assert asked[0]["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]
