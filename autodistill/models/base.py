"""What teachers and students have in common: their inputs and outputs, with shapes."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from autodistill.errors import UsageError
from autodistill.task_types import modality_of


class Batch(ABC):
    """Some rows as a model reads them. Subclasses are dataclasses whose fields are tensors."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of rows, B."""

    @abstractmethod
    def mean(self, state: Tensor) -> Tensor:
        """The mean of a layer's state over the tokens or positions of each row, (B, D)."""


@dataclass
class TextBatch(Batch):
    """A batch of token ids, padded on the right to its longest row.

    ids: (B, T) int64, from the model's own tokenizer. mask: (B, T) bool, True on tokens. segments: (B, T) int64, 1 on the second text of a
    pair.
    """

    ids: Tensor
    mask: Tensor
    segments: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def mean(self, state: Tensor) -> Tensor:
        """Over the tokens: (B, T, D) → (B, D)."""
        weights = (self.mask / self.mask.sum(dim=1, keepdim=True)).unsqueeze(-1)
        return (state * weights).sum(dim=1)


@dataclass
class ImageBatch(Batch):
    """A batch of images. pixels: (B, 3, H, W) float, normalised as the teacher expects."""

    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def mean(self, state: Tensor) -> Tensor:
        """Over the positions: (B, C, H, W) → (B, C)."""
        return state.mean(dim=(2, 3))


class DeviceRows(Protocol):
    """A split's rows on the device of a model. Row numbers are on that device too."""

    def batch(self, rows: Tensor, length: int | None = None) -> Batch:
        """See `Inputs`. With a length it waits for nothing on the device."""
        ...

    def token_index(self, rows: Tensor, length: int | None = None) -> tuple[Tensor, Tensor]:
        """See `Inputs`."""
        ...


class Inputs(Protocol):
    """A split's rows, encoded once. Batches are made from them."""

    def __len__(self) -> int:
        """The number of rows, N."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifies the rows and how they are encoded."""
        ...

    @property
    def lengths(self) -> Tensor | None:
        """The size of each row, (N,) int64, so that rows of similar size can share a batch; None if all have the same size."""
        ...

    @property
    def ids(self) -> Tensor:
        """The token ids of all rows, one row after the other, (tokens,) int32; empty if rows have no tokens."""
        ...

    @property
    def bytes(self) -> int:
        """The memory that all rows take on a device."""
        ...

    def to(self, device: torch.device) -> DeviceRows:
        """All rows on a device, for batches that are made there."""
        ...

    def batch(self, rows: Tensor, length: int | None = None) -> Batch:
        """Some rows as a batch. rows: (B,) int64. length: the number of tokens that they are padded to; None for that of the longest."""
        ...

    def token_index(self, rows: Tensor, length: int | None = None) -> tuple[Tensor, Tensor]:
        """The positions of some rows' tokens among all tokens. rows: (B,). length: T; None for that of the longest.

        Returns:
            index (B, T) int64, on padding the row's first position; mask (B, T) bool, True on tokens.

        Raises:
            TypeError: rows have no tokens.
        """
        ...

    def even_batches(self, rows: int, tokens: int) -> Iterator[Tensor]:
        """Every row once, in batches of at most this many rows and tokens. The largest come first, so memory runs out at once or never."""
        ...

    def median_row(self) -> Tensor:
        """The row of median size, as a batch of one row number (1,)."""
        ...

    def describe_row(self, row: int) -> str:
        """The size of a row, for people."""
        ...


@dataclass
class Outputs:
    """The result of a forward pass. Lists go from the input to the output, one entry for each tapped layer.

    logits: (B, C); C = 1 for regression.
    embedding: (B, D), the input of the classification head.
    states: text (B, T, D_l) for the embeddings (entry 0) and each layer; images (B, C_l, H_l, W_l) for each stage.
    sentences: text only, (B, D_l) per entry of `states`: the CLS state of a transformer, the pooled vector of a cnn or bilstm.
    means: (B, D_l) per entry of `states`, their mean over tokens or positions; only stored outputs have them, instead of `states`.
    texts: (B, 2, D_l) per entry of `states`, their mean over each text of a pair; only stored outputs have them, instead of `states`.
    queries, keys, values: transformers only, (B, heads, T, D_head) for each layer.

    In stored teacher outputs, an entry that was not asked for is an empty tensor.
    """

    logits: Tensor
    embedding: Tensor
    states: list[Tensor] = field(default_factory=list)
    sentences: list[Tensor] = field(default_factory=list)
    means: list[Tensor] = field(default_factory=list)
    texts: list[Tensor] = field(default_factory=list)
    queries: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)


class Model(Protocol):
    """A teacher or a student: an `nn.Module` with this forward."""

    def __call__(self, batch: Batch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """Run the model. `taps` ⊆ {"states", "attention"}: which lists of the outputs to fill."""
        ...


class StudentModule(nn.Module):
    """Base class of students and wrapped teachers. For type checkers, a call returns `Outputs`."""

    @property
    def attention_layers(self) -> int:
        """The number of layers whose queries, keys and values can be tapped."""
        return 0

    @property
    def large_matrices(self) -> bool:
        """Whether large matrix products take most of its time, as in transformers. Convolutions by channel and LSTMs are slower in bfloat16
        on a CPU.
        """
        return False

    @property
    def output_layer(self) -> Any:
        """The layer that gives the logits: linear or, in some image models, a 1 × 1 convolution."""
        raise NotImplementedError(f"{type(self).__name__} does not say which layer gives its logits")

    def __call__(self, batch: Batch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        return super().__call__(batch, taps=taps)


Normalisation = tuple[tuple[float, float, float], tuple[float, float, float]]
"""The mean and the standard deviation of an image's RGB channels, of pixels from 0 to 1: a model reads (pixel − mean) / std."""


@dataclass(frozen=True)
class StudentContext:
    """What a student is built for.

    num_outputs: width of the logits. vocab_size, pad_id, max_length: of the tokenizer that the student reads texts with. special: the ids
    of its special tokens, including [UNK] and padding. image_size, normalisation: of the images that it is given. teacher: folder of the
    fine-tuned teacher, for students that start from its weights. source: folder with the configuration and tokenizer of the pretrained
    model that the student is, if it is one.
    ends: the ids of the tokens before and after a text, if the teacher reads the two texts of a pair apart.
    target_mean, target_scale: of the scale on which it learns targets (Scaling).
    kept_pieces, pieces: how many pieces a trimmed vocabulary has, and the file that lists them.
    shapes_only: build on torch's meta device, so no weights are read.
    """

    task: str
    num_outputs: int
    vocab_size: int = 0
    pad_id: int = 0
    special: tuple[int, ...] = ()
    ends: tuple[int, int] | None = None
    target_mean: float = 0.0
    target_scale: float = 1.0
    max_length: int = 128
    image_size: int = 0
    normalisation: Normalisation | None = None
    kept_pieces: int = 0
    teacher: Path | None = None
    source: Path | None = None
    pieces: Path | None = None
    shapes_only: bool = False

    def __post_init__(self) -> None:
        for name in ("special", "ends"):  # JSON gives lists, which cannot be hashed
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
        if isinstance(self.normalisation, list):
            mean, std = self.normalisation
            object.__setattr__(self, "normalisation", (tuple(mean), tuple(std)))

    @property
    def pairs(self) -> bool:
        """Whether a row has two texts, which are compared."""
        return modality_of(self.task).texts > 1


def pick_device(device: str = "auto") -> torch.device:
    """The device of this name; `auto` is the GPU if there is one.

    Raises:
        UsageError: torch does not know the name, or there is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        picked = torch.device(device)
        torch.empty(0, device=picked)
    except (RuntimeError, AssertionError) as cause:
        raise UsageError(f"device {device!r} cannot be used: {str(cause).splitlines()[0]}; give cpu, cuda, cuda:0, … or auto") from None
    return picked


PRECISION_VARIABLE = "AUTODISTILL_PRECISION"
PRECISIONS = ("auto", "float32")


def precision() -> str:
    """How models multiply matrices: AUTODISTILL_PRECISION, by default `auto`, see `mixed_precision`.

    Raises:
        UsageError: the variable is set to something else.
    """
    asked = os.environ.get(PRECISION_VARIABLE) or "auto"
    if asked not in PRECISIONS:
        raise UsageError(f"{PRECISION_VARIABLE} is {asked!r}; allowed: {' or '.join(PRECISIONS)}")
    return asked


@cache
def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies matrices in bfloat16 itself (AMX, AVX-512 BF16). If it does not, float32 is faster.

    False if torch is too old to say.
    """
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def mixed_precision(model: StudentModule, device: torch.device) -> torch.autocast:
    """A context in which the model multiplies matrices in bfloat16 where that is faster: on a GPU, and on a CPU that can do it itself.

    Weights, sums and normalisations stay in float32 (Micikevicius et al. 2018). The outputs are for `full_precision`. With
    AUTODISTILL_PRECISION=float32 everything is in float32.
    """
    faster = precision() == "auto" and (device.type == "cuda" or (device.type == "cpu" and model.large_matrices and cpu_has_bfloat16()))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=faster)


Tensors = TypeVar("Tensors", bound=Batch | Outputs)


def each_tensor(tensors: Tensors, change: Callable[[Tensor], Tensor]) -> Tensors:
    """A batch or outputs with every tensor changed by a function."""
    changed: dict[str, Any] = {
        name: change(value) if isinstance(value, Tensor) else [change(item) for item in value] for name, value in vars(tensors).items()
    }
    return type(tensors)(**changed)


def to_device(tensors: Tensors, device: torch.device) -> Tensors:
    """A batch or outputs with every tensor on the device."""
    if device.type == "cpu":
        return tensors
    return each_tensor(tensors, lambda tensor: tensor.to(device, non_blocking=True))


def full_precision(outputs: Outputs) -> Outputs:
    """Outputs in float32 for objectives, because sums in bfloat16 lose too much precision."""
    return each_tensor(outputs, lambda tensor: tensor.float() if tensor.dtype == torch.bfloat16 else tensor)
