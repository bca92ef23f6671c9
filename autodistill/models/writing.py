"""Helpers with which families write a student's folder."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from autodistill.models.sources import quiet

WEIGHTS = "model.safetensors"
_HOW_READ = ("is_local", "local_files_only")
"""Keys in which transformers records how it read a tokenizer. They do not describe the tokenizer."""


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file with indentation."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write model.safetensors."""
    save_file({name: value.detach().contiguous() for name, value in weights.items()}, folder / WEIGHTS, {"format": "pt"})


def write_loader(folder: Path, module: str) -> None:
    """Write a module's source as load.py. It must work without autodistill."""
    (folder / "load.py").write_text(inspect.getsource(importlib.import_module(module)), encoding="utf-8")


def write_tokenizer(folder: Path, source: Path, inputs: list[str], context: Mapping[str, Any]) -> None:
    """Write the tokenizer for transformers. Truncation and padding are in tokenizer.json, so the library tokenizers can use it alone.

    source: a folder with its files. inputs: which of its outputs the model reads. context: the student's StudentContext as plain data.
    """
    from transformers import AutoTokenizer

    with quiet():
        tokenizer: Any = AutoTokenizer.from_pretrained(
            source, local_files_only=True, model_max_length=context["max_length"], model_input_names=inputs
        )
        tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    kept = {key: value for key, value in json.loads(config.read_text(encoding="utf-8")).items() if key not in _HOW_READ}
    write_json(config, kept)
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(context["max_length"])
    backend.enable_padding(pad_id=context["pad_id"], pad_token=tokenizer.pad_token or "[PAD]")
    backend.save(str(folder / "tokenizer.json"))
