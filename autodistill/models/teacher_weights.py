"""The fine-tuned teacher's tensors, from which a student can start; read from its folder without building the teacher."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from autodistill.cache import ensure
from autodistill.errors import RecipeError
from autodistill.models.pooled import read_head
from autodistill.storage import cache_folder, digest, file_fingerprint, new_tensors

# BERT's names of modules, and the names in other families (RoBERTa, XLM-R, CamemBERT and ELECTRA use BERT's).
_DISTILBERT = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
_MPNET = {
    "attention.self.query": "attention.attn.q",
    "attention.self.key": "attention.attn.k",
    "attention.self.value": "attention.attn.v",
    "attention.output.dense": "attention.attn.o",
    "attention.output.LayerNorm": "attention.LayerNorm",
}
"""MPNet also adds a bias by relative position to its attention scores. BERT's layers cannot hold it, so a student starts without it."""
_POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")  # positions start after the padding's id
_LIKE_BERT = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "mpnet")


@dataclass
class TeacherWeights:
    """The tensors of a fine-tuned teacher under BERT's names. config: the teacher's config.json."""

    folder: Path
    config: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        self._file = safe_open(self.folder / "model.safetensors", framework="pt")
        self._names = set(self._file.keys())
        word = next((name for name in sorted(self._names) if name.endswith("embeddings.word_embeddings.weight")), None)
        if word is None:
            raise RecipeError(
                f"student.init is 'teacher', but a {self.model_type} teacher has no word embeddings that can be read; use init: random"
            )
        self._word = word

    @property
    def width(self) -> int:
        """Width of the word embeddings."""
        return int(self._file.get_slice(self._word).get_shape()[1])

    @property
    def model_type(self) -> str:
        """The teacher's family, as transformers names it."""
        return str(self.config.get("model_type"))

    def words(self, vocab_size: int) -> Tensor:
        """The word embeddings (vocab_size, width)."""
        vectors: Tensor = self._file.get_slice(self._word)[:vocab_size].float()
        if len(vectors) < vocab_size:
            raise RecipeError(f"student.init is 'teacher', but its tokenizer has {vocab_size} tokens and its embeddings {len(vectors)}")
        return vectors

    def require_bert_like(self) -> None:
        """Refuse a teacher whose layers are not built as BERT's are.

        Raises:
            RecipeError: for such a teacher.
        """
        if self.model_type not in _LIKE_BERT or self.config.get("embedding_size", self.hidden_size) != self.hidden_size:
            raise RecipeError(
                f"student.init is 'teacher', but the layers of a {self.model_type} teacher do not fit a bert student; "
                f"use init: random, or a teacher of the kind {', '.join(_LIKE_BERT)}"
            )

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.config.get("hidden_size") or self.config["dim"])

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.config.get("num_hidden_layers") or self.config["n_layers"])

    @property
    def heads(self) -> int:
        """Number of attention heads in each layer."""
        return int(self.config.get("num_attention_heads") or self.config["n_heads"])

    def embeddings(self, name: str) -> Tensor | None:
        """`position_embeddings.weight`, `LayerNorm.bias`, …; None if the teacher has no such tensor."""
        tensor = self._get(self._word.replace("word_embeddings.weight", name))
        if tensor is not None and name.startswith("position") and self.model_type in _POSITIONS_AFTER_PADDING:
            padding = 1 if self.model_type == "mpnet" else int(self.config.get("pad_token_id", 1))  # transformers' MPNet always uses 1
            tensor = tensor[padding + 1 :]
        return tensor

    def layer(self, index: int, name: str) -> Tensor:
        """A tensor of a layer, by BERT's name: `attention.self.query.weight`, …"""
        prefix = self._word.removesuffix("embeddings.word_embeddings.weight")
        module, _, kind = name.rpartition(".")
        if self.model_type == "distilbert":
            path = f"{prefix}transformer.layer.{index}.{_DISTILBERT[module]}.{kind}"
        else:
            module = _MPNET.get(module, module) if self.model_type == "mpnet" else module
            path = f"{prefix}encoder.layer.{index}.{module}.{kind}"
        tensor = self._get(path)
        if tensor is None:
            raise RecipeError(f"student.init is 'teacher', but the teacher in {self.folder} has no tensor {path}; use init: random")
        return tensor

    def head(self) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Pooler weight and bias, classifier weight and bias, if the head is a tanh layer and a linear one; else None."""
        prefix = self._word.removesuffix("embeddings.word_embeddings.weight")
        for pooler, classifier in ((f"{prefix}pooler.dense", "classifier"), ("classifier.dense", "classifier.out_proj")):
            tensors = [self._get(f"{name}.{kind}") for name in (pooler, classifier) for kind in ("weight", "bias")]
            if all(tensor is not None for tensor in tensors) and self.model_type != "electra":  # ELECTRA's has a gelu
                return tensors[0], tensors[1], tensors[2], tensors[3]  # type: ignore[return-value]
        return None

    def pooled_head(self, pooling: str, apart: bool = False) -> tuple[Tensor, Tensor] | None:
        """Weight (C, D), apart (C, 4 D), and bias (C,) of the linear layer on the encoder with this pooling; None if the teacher has
        another head. apart: whether it reads the two texts of a pair apart.
        """
        pooled = read_head(self.folder)
        fits = pooled is not None and pooled.pooling == pooling and (pooled.ends is not None) == apart
        return (pooled.weight, pooled.bias) if pooled is not None and fits else None

    def basis(self) -> tuple[Tensor, Tensor]:
        """The right singular vectors of the word embeddings, (width, width) by falling singular value, and the singular values.

        The first k columns span the k dimensions that hold most of the embeddings. Cached, because it is the same for all trials.
        """
        key = digest("basis-1", file_fingerprint(self.folder / "model.safetensors"))
        path = cache_folder() / "bases" / f"{key}.safetensors"

        def write() -> None:
            words = self.words(self._file.get_slice(self._word).get_shape()[0])
            values, vectors = torch.linalg.eigh((words.T @ words).double())
            vectors = vectors.flip(1)
            largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
            shapes = {"vectors": ("float32", tuple(vectors.shape)), "values": ("float32", tuple(values.shape))}
            with new_tensors(path, shapes) as arrays:
                arrays["vectors"][:] = (vectors * largest.sign()).numpy()  # an eigenvector's sign is arbitrary
                arrays["values"][:] = values.flip(0).clamp_min(0).sqrt().numpy()

        ensure(path, write)
        stored = load_file(path)
        return stored["vectors"], stored["values"]

    def _get(self, name: str) -> Tensor | None:
        return self._file.get_tensor(name).float() if name in self._names else None


def reduced_words(folder: Path, vocab_size: int, width: int, scale: float) -> Tensor:
    """The teacher's word embeddings in their first `width` singular directions, centred, with standard deviation `scale`.

    Raises:
        RecipeError: the teacher's embeddings are narrower, or cannot be read.
    """
    weights = TeacherWeights(folder)
    check_width("student.embedding_size", width, weights.width)
    reduced = weights.words(vocab_size) @ weights.basis()[0][:, :width]
    reduced = reduced - reduced.mean(dim=0)
    return reduced * (scale / reduced.std())


def check_width(what: str, width: int, widest: int) -> None:
    """Refuse a student wider than the teacher that it starts from.

    Raises:
        RecipeError: when it is.
    """
    if width > widest:
        raise RecipeError(f"{what} is {width}, but with init: teacher it is at most the teacher's {widest}; lower it or use init: random")


def teacher_folder(folder: Path | None) -> Path:
    """The teacher's folder to start from.

    Raises:
        RecipeError: there is no teacher.
    """
    if folder is None:
        raise RecipeError("student.init is 'teacher', but no teacher is given; use init: random or give one")
    return folder
