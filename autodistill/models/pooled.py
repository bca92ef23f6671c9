"""A text encoder whose states are pooled to one vector, which one linear layer reads.

Beside the encoder's files, the linear layer is stored as head.safetensors and the pooling in head.json. `write_modules` writes the files
that sentence-transformers opens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autodistill.errors import ModelError
from autodistill.models.base import StudentContext
from autodistill.models.pooling import PAIR_PARTS, compared, texts_apart, texts_together
from autodistill.models.sources import Role

POOLINGS = ("cls", "mean")
APART = "apart"
"""The pooling for pairs whose texts are read separately. Each is pooled as the model's files say, else by the mean."""
HEAD_FILE, HEAD_WEIGHTS = "head.json", "head.safetensors"
DENSE = "2_Dense"
"""The folder of the linear layer in a folder of sentence-transformers."""
NORMALIZE = "Normalize"
"""The module of sentence-transformers that scales a vector to length 1."""
VECTORS_USAGE = (
    "from sentence_transformers import SentenceTransformer\n\n"
    'model = SentenceTransformer(FOLDER)\nvectors = model.encode(["a text", "another"])\n'
    "cosines = vectors @ vectors.T\n"
)
"""Lines of Python that open a folder of sentence embeddings."""


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """From token states (B, T, D) to one vector each (B, D). mask: (B, T), 1 on tokens. pooling: `cls`, the first token, or `mean`."""
    if pooling == "cls":
        return states[:, 0]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1.0)


class PooledClassifier(nn.Module):
    """An encoder of transformers, a pooling of its last states, and a linear layer. It is called like transformers' own classifiers.

    If the encoder has a pooler of its own, it is removed, because nothing reads it. unit_length: whether the outputs are scaled to length
    1, as finished sentence embeddings are. ends: the ids of the tokens before and after a text.
    With them, rows are pairs whose texts are read apart: the layer reads both vectors, their difference and their product (`compared`).
    Source of both forms: Reimers, Gurevych 2019, "Sentence-BERT", section 3.
    """

    def __init__(
        self, encoder: Any, pooling: str, num_outputs: int, ends: tuple[int, int] | None = None, unit_length: bool = False
    ) -> None:
        super().__init__()
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None
        self.config, self.pooling, self.ends, self.unit_length = encoder.config, pooling, ends, unit_length
        self.encoder = encoder
        self.head = nn.Linear(int(encoder.config.hidden_size) * (1 if ends is None else PAIR_PARTS), num_outputs)

    def get_input_embeddings(self) -> nn.Embedding:
        """The encoder's input embeddings, under the name that transformers uses."""
        table: nn.Embedding = self.encoder.get_input_embeddings()
        return table

    def set_input_embeddings(self, table: nn.Embedding) -> None:
        """Give the encoder other input embeddings."""
        self.encoder.set_input_embeddings(table)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool = False, **extra: Tensor) -> Any:
        """Logits (B, C) and, if asked for, the hidden states of every layer, at the positions of the rows' tokens."""
        from transformers.modeling_outputs import SequenceClassifierOutput

        ids, mask = input_ids, attention_mask
        if self.ends is not None:
            ids, alone = texts_apart(ids, mask.bool(), self.ends, int(self.config.pad_token_id or 0))
            mask = alone.long()
            extra = {name: torch.zeros_like(ids) for name in extra}  # each text is a first one
        read = self.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=output_hidden_states, **extra)
        vectors = pool(read.last_hidden_state, mask, self.pooling)
        if self.ends is not None:
            pairs = input_ids.shape[0]
            vectors = compared(vectors[:pairs], vectors[pairs:])
        logits = self.head(vectors)
        logits = F.normalize(logits, dim=1) if self.unit_length else logits
        states = read.hidden_states
        if self.ends is not None and states is not None:
            states = tuple(self.together(state, input_ids, attention_mask) for state in states)
        return SequenceClassifierOutput(logits=logits, hidden_states=states)

    def together(self, states: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """The encoder's outputs for each token, at the positions of the rows' tokens: (B, T, D). For pairs that are read separately, the
        encoder itself returns (2 B, L, D).
        """
        return states if self.ends is None else texts_together(states, ids, mask.bool(), self.ends)


def pooling_of_files(folder: Path) -> str | None:
    """The pooling that sentence-transformers' files in a model's folder ask for: `cls` or `mean`; None if they ask for neither.

    `modules.json` names the folder of the pooling, and the `config.json` in it says which pooling it is.
    """
    try:
        path = next(item["path"] for item in modules_of(folder) if item["type"].endswith(".Pooling"))
        about = json.loads((folder / path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
    asked = {name for name, key in (("cls", "pooling_mode_cls_token"), ("mean", "pooling_mode_mean_tokens")) if about.get(key)}
    return asked.pop() if len(asked) == 1 else None


def modules_of(folder: Path) -> list[dict[str, Any]]:
    """The modules that sentence-transformers makes of a model's folder, each with its `type` and `path`; none if it says nothing of them.

    Raises:
        OSError, ValueError: the file that lists them cannot be read.
    """
    file = folder / "modules.json"
    modules: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return modules


def check_encoder(config: Any, role: Role, model: str, max_length: int, pooled: bool = True) -> None:
    """Refuse a model that cannot be pooled, or that has fewer positions than texts may have tokens.

    config: of transformers. role, model: its role and name, for errors. pooled: whether it will be pooled.

    Raises:
        ModelError: says what to give instead.
    """
    if pooled and (config.is_encoder_decoder or not hasattr(config, "hidden_size")):
        instead = "give teacher.pooling: model, or another model" if role == "teacher" else "give another model"
        raise ModelError(f"{role} {model!r} ({config.model_type}) is no plain encoder, so its tokens cannot be pooled; {instead}")
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= (config.pad_token_id or 0) + 1
    if positions is not None and max_length > positions:
        raise ModelError(f"teacher.max_length is {max_length}, but the {role} {model!r} has {positions} positions; lower it to that")


@dataclass(frozen=True)
class PooledHead:
    """The pooling and the linear layer on an encoder. weight: (C, D); bias: (C,). pooling: how the states become one vector. ends,
    unit_length: see `PooledClassifier`.
    """

    weight: Tensor
    bias: Tensor
    pooling: str
    ends: tuple[int, int] | None = None
    unit_length: bool = False


def write_head(folder: Path, model: PooledClassifier) -> None:
    """Write the pooling and the linear layer of a model into the folder of its encoder."""
    save_file({name: tensor.contiguous() for name, tensor in model.head.state_dict().items()}, folder / HEAD_WEIGHTS)
    more: dict[str, Any] = {} if model.ends is None else {"ends": model.ends}
    more |= {"unit_length": True} if model.unit_length else {}
    (folder / HEAD_FILE).write_text(json.dumps({"pooling": model.pooling, **more}), encoding="utf-8")


def read_head(folder: Path) -> PooledHead | None:
    """Read what `write_head` wrote; None if the folder's model has another head."""
    about = _about_head(folder)
    if about is None:
        return None
    weights = load_file(folder / HEAD_WEIGHTS)
    return PooledHead(weights["weight"], weights["bias"], *_form(about), about.get("unit_length", False))


def head_form(folder: Path) -> tuple[str, tuple[int, int] | None] | None:
    """The pooling and the ends of the head that `write_head` wrote, for which its weights need not be there; None for another head."""
    about = _about_head(folder)
    return None if about is None else _form(about)


def _about_head(folder: Path) -> dict[str, Any] | None:
    file = folder / HEAD_FILE
    about: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return about


def _form(about: dict[str, Any]) -> tuple[str, tuple[int, int] | None]:
    pooling = "mean" if about["pooling"] == APART else about["pooling"]  # earlier teachers that read texts apart were written so
    return pooling, tuple(about["ends"]) if "ends" in about else None


def classifier(encoder: Any, head: PooledHead) -> PooledClassifier:
    """An encoder with a head that was read back."""
    model = PooledClassifier(encoder, head.pooling, len(head.bias), head.ends, head.unit_length)
    model.head.load_state_dict({"weight": head.weight, "bias": head.bias})
    return model


def to_learned_scale(head: nn.Linear, context: StudentContext) -> None:
    """A teacher's outputs are in the target's units, its student learns (value − mean) / scale: the inverse of `Scaling.fold_into`."""
    if (context.target_mean, context.target_scale) == (0.0, 1.0):  # logits of classes; some of their heads have no bias
        return
    head.weight.div_(context.target_scale)
    head.bias.sub_(context.target_mean).div_(context.target_scale)


def write_modules(folder: Path, model: PooledClassifier, max_length: int, unit_length: bool = False) -> None:
    """Write what sentence-transformers needs to open an encoder's folder: `SentenceTransformer(folder).encode(texts)` gives the logits.

    The modules are the encoder (the folder itself), the pooling and a linear layer without activation
    (https://sbert.net/docs/package_reference/sentence_transformer/models.html). unit_length: then the logits are scaled to length 1.
    """
    width = model.head.in_features
    kinds = {"": "Transformer", "1_Pooling": "Pooling", DENSE: "Dense"} | ({f"3_{NORMALIZE}": NORMALIZE} if unit_length else {})
    pooling = {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": model.pooling == "cls",
        "pooling_mode_mean_tokens": model.pooling == "mean",
    }
    texts = {
        "modules.json": listed_modules(kinds),
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "1_Pooling/config.json": pooling,
    }
    for name, data in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(data, indent=2), encoding="utf-8")
    write_dense(folder / DENSE, model.head.weight, model.head.bias)


def listed_modules(kinds: dict[str, str]) -> list[dict[str, Any]]:
    """The contents of modules.json. kinds: of the modules, by the folders of their files."""
    return [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]


def write_dense(folder: Path, weight: Tensor, bias: Tensor, activation: str = "linear.Identity") -> None:
    """Write a linear layer for sentence-transformers. weight: (C, D); bias: (C,). activation: its name in `torch.nn.modules`."""
    outputs, width = weight.shape
    about = {"in_features": width, "out_features": outputs, "bias": True, "activation_function": f"torch.nn.modules.{activation}"}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
    weights = {"linear.weight": weight.detach().contiguous(), "linear.bias": bias.detach().contiguous()}
    save_file(weights, folder / "model.safetensors")


def read_modules(folder: Path) -> PooledHead:
    """The pooling and the linear layer that `write_modules` wrote."""
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    weights = load_file(folder / DENSE / "model.safetensors")
    unit_length = any(item["type"].endswith(f".{NORMALIZE}") for item in modules_of(folder))
    kind = "mean" if pooling["pooling_mode_mean_tokens"] else "cls"
    return PooledHead(weights["linear.weight"], weights["linear.bias"], kind, unit_length=unit_length)
