"""A trained student as a folder that other libraries open: transformers (bert), timm, or a short load.py beside the weights (cnn, bilstm).

Beside the library's own files there is student.json: what the student reads and answers, for `autodistill predict` and `export`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from autodistill.errors import ModelError
from autodistill.export import loaders
from autodistill.models.sources import quiet
from autodistill.models.timm import TimmModel, normalisation
from autodistill.models.transformer import Transformer
from autodistill.models.vocabulary import TrimmedEmbedding
from autodistill.train.students import SavedStudent

SCHEMA = 1
ABOUT = "student.json"


def write_student(folder: Path, saved: SavedStudent) -> dict[str, Any]:
    """Write a student's weights, configuration, tokenizer or transform, and student.json; gives what that says.

    The folder exists and is filled. A regression answers in the dataset's units there: the scale that it learned targets on is folded
    into its last layer, in `saved.model` too.

    Raises:
        ModelError: students of this family cannot be written.
    """
    family = saved.recipe.student.name.partition(":")[0]
    if family not in _WRITERS:
        raise ModelError(f"students of the family {family!r} cannot be exported; allowed: {', '.join(_WRITERS)}")
    fold_scale(saved)
    classes = saved.facts["classes"]
    about: dict[str, Any] = {
        "schema": SCHEMA,
        "family": saved.recipe.student.name,
        "task": saved.recipe.task,
        "metric": saved.facts["metric"],
        "classes": classes,
        "recipe_id": saved.recipe.id,
    }
    about |= _WRITERS[family](folder, saved, id2label(classes))
    (folder / ABOUT).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "recipe.yaml").write_text(saved.recipe.to_yaml(), encoding="utf-8")
    return about


def id2label(classes: list[str] | None) -> dict[int, str]:
    """The names of the outputs; a regression's one output is its score."""
    return dict(enumerate(classes)) if classes else {0: "score"}


def fold_scale(saved: SavedStudent) -> None:
    """Put the mean and scale of a regression's targets into the last layer, once."""
    mean, scale = float(saved.facts.get("target_mean", 0.0)), float(saved.facts.get("target_scale", 1.0))
    if (mean, scale) == (0.0, 1.0):
        return
    model: Any = saved.model.model if isinstance(saved.model, Transformer) else saved.model
    with torch.no_grad():
        model.classifier.weight.mul_(scale)
        model.classifier.bias.mul_(scale).add_(mean)
    saved.facts.update(target_mean=0.0, target_scale=1.0)


def _transformers(folder: Path, saved: SavedStudent, names: dict[int, str]) -> dict[str, Any]:
    assert isinstance(saved.model, Transformer)
    model, context = saved.model.model, saved.facts["context"]
    config = model.config
    config.id2label, config.label2id = names, {name: number for number, name in names.items()}
    config.problem_type = "regression" if saved.facts["classes"] is None else "single_label_classification"
    words = model.bert.embeddings.word_embeddings
    if isinstance(words, TrimmedEmbedding):  # transformers knows one row for each id, so the rows that pieces share are written out
        model.bert.embeddings.word_embeddings = words.expanded()
        config.vocab_size, config.pad_token_id = context["vocab_size"], context["pad_id"]
    with quiet():
        model.save_pretrained(folder)
    _tokenizer(folder, saved)
    return {"format": "transformers", "inputs": ["input_ids", "attention_mask", "token_type_ids"], "max_length": context["max_length"]}


def _torch(folder: Path, saved: SavedStudent, names: dict[int, str]) -> dict[str, Any]:
    student: Any = saved.model
    family, context = saved.recipe.student.name, saved.facts["context"]
    words = student.embedding
    shared = isinstance(words, TrimmedEmbedding)
    weights: dict[str, Tensor] = {name: value for name, value in student.state_dict().items() if not name.startswith("embedding.")}
    weights["embedding.weight"] = words.weight
    weights["rows"] = words.rows.long() if shared else torch.arange(len(words.weight))
    sizes = {"vocabulary": context["vocab_size"], "pieces": len(words.weight), "embedding_size": words.embedding_dim}
    if family == "cnn":
        kernels = [layer.kernel_size[0] for layer in student.convolutions]
        sizes |= {"channels": student.convolutions[0].out_channels, "kernels": kernels, "outputs": student.classifier.out_features}
    else:
        weights = {_one_direction(name): value for name, value in weights.items()}
        sizes |= {"hidden_size": student.layers[0].hidden_size, "layers": len(student.layers), "outputs": student.classifier.out_features}
    sizes["pairs"] = student.pairs
    save_file({name: value.detach().contiguous() for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    _json(folder / "config.json", {"architecture": family, "model": sizes, "id2label": names, "max_length": context["max_length"]})
    _tokenizer(folder, saved)
    _loader(folder, family)
    return {"format": "torch", "inputs": _text_inputs(saved), "max_length": context["max_length"]}


def _text_inputs(saved: SavedStudent) -> list[str]:
    """What load.py's model reads, in its order."""
    return ["input_ids", "attention_mask"] + (["token_type_ids"] if "pair" in saved.recipe.task else [])


def _one_direction(name: str) -> str:
    """A bidirectional LSTM's tensor in load.py, which has an LSTM for each direction."""
    back = name.endswith("_reverse")
    return name.replace("layers.", "backwards." if back else "forwards.", 1).removesuffix("_reverse")


def _timm(folder: Path, saved: SavedStudent, names: dict[int, str]) -> dict[str, Any]:
    assert isinstance(saved.model, TimmModel)
    model: Any = saved.model.model
    name, size = saved.recipe.student.variant, saved.facts["context"]["image_size"]
    mean, std = normalisation(saved.recipe.teacher.model.removeprefix("timm:"))
    arguments, plain = _plain(name, len(names), size)
    strided = _stem(plain) == _stem(model)
    transform = {"input_size": [3, size, size], "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "squash"}
    config = {
        "architecture": name.partition(".")[0] if strided else f"{name.partition('.')[0]}_stride1",
        "num_classes": len(names),
        "num_features": model.num_features,
        "label_names": list(names.values()),
        "model_args": arguments,
        "pretrained_cfg": {**transform, "mean": list(mean), "std": list(std), "num_classes": len(names)},
    }
    if not strided:
        config |= {"built_from": name.partition(".")[0], "without_max_pooling": _stem(plain)[1] != _stem(model)[1]}
        _loader(folder, "small_images")
    _json(folder / "config.json", config)
    save_file(
        {key: value.detach().contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors", {"format": "pt"}
    )
    return {"format": "timm", "inputs": ["pixel_values"], "image_size": size, "mean": list(mean), "std": list(std), "strided": strided}


def _plain(name: str, outputs: int, size: int) -> tuple[dict[str, Any], nn.Module]:
    """The network as timm builds it, and the arguments for that, beside the number of classes."""
    from timm import create_model

    arguments: dict[str, Any] = {"img_size": size}
    try:
        return arguments, create_model(name, num_classes=outputs, **arguments)
    except TypeError:  # convolutional networks take images of any size, and not the argument
        return {}, create_model(name, num_classes=outputs)


def _stem(model: nn.Module) -> tuple[tuple[int, ...], bool]:
    """What students of small images have otherwise than timm's: the first stride, and whether there is a max-pooling."""
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    return (() if first is None else tuple(first.stride)), isinstance(getattr(model, "maxpool", None), nn.MaxPool2d)


def _tokenizer(folder: Path, saved: SavedStudent) -> None:
    """The tokenizer for transformers, and with its cut and padding in tokenizer.json also for the library tokenizers alone."""
    from transformers import AutoTokenizer

    assert saved.tokenizer is not None
    context = saved.facts["context"]
    names = ["input_ids", "token_type_ids", "attention_mask"] if isinstance(saved.model, Transformer) else _text_inputs(saved)
    with quiet():
        tokenizer: Any = AutoTokenizer.from_pretrained(
            saved.tokenizer, local_files_only=True, model_max_length=context["max_length"], model_input_names=names
        )
        tokenizer.save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    _json(folder / "tokenizer_config.json", {key: value for key, value in config.items() if key not in ("is_local", "local_files_only")})
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(context["max_length"])
    backend.enable_padding(pad_id=context["pad_id"], pad_token=tokenizer.pad_token or "[PAD]")
    backend.save(str(folder / "tokenizer.json"))


def _loader(folder: Path, name: str) -> None:
    (folder / "load.py").write_text((Path(loaders.__file__).parent / f"{name}.py").read_text(encoding="utf-8"), encoding="utf-8")


def _json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


_WRITERS: dict[str, Callable[[Path, SavedStudent, dict[int, str]], dict[str, Any]]] = {
    "bert": _transformers,
    "cnn": _torch,
    "bilstm": _torch,
    "timm": _timm,
}
