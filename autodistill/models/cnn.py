"""The cnn student: convolutions over word embeddings, pooled over the text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autodistill.components import FOLDER, TEXT, component
from autodistill.models.base import Outputs, StudentContext, StudentModule, TextBatch
from autodistill.models.family import TorchTextFamily
from autodistill.models.pooling import PAIR_PARTS, pooled
from autodistill.models.vocabulary import word_embedding


class ResidualConvolution(nn.Module):
    """Adds to each word what a convolution makes of it and of two others, `apart` words before and after it: x + GELU(conv(norm(x)))."""

    def __init__(self, width: int, apart: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = nn.Conv1d(width, width, 3, padding=apart, dilation=apart)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """The words (B, T, E), zeros on padding, and the mask (B, T, 1) → (B, T, E), zeros on padding."""
        around = self.convolution((self.norm(words) * mask).transpose(1, 2)).transpose(1, 2)
        return (words + F.gelu(around)) * mask


class Cnn(StudentModule):
    """states: the embeddings (B, T, E), and the rectified features of every position (B, T, F); sentences: made of them by `pooled`."""

    def __init__(
        self, embedding: nn.Embedding, channels: int, kernels: tuple[int, ...], blocks: int, dropout: float, num_outputs: int, pairs: bool
    ) -> None:
        super().__init__()
        self.pairs = pairs
        self.embedding = embedding
        self.blocks = nn.ModuleList(ResidualConvolution(embedding.embedding_dim, 2**place) for place in range(blocks))
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding.embedding_dim, channels, size, padding=size // 2) for size in kernels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels * len(kernels) * (PAIR_PARTS if pairs else 1), num_outputs)

    @property
    def output_layer(self) -> nn.Linear:
        """The classifier."""
        return self.classifier

    def forward(self, batch: TextBatch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """See `Model`."""
        mask = batch.mask.unsqueeze(-1)
        words = read = self.embedding(batch.ids) * mask  # zeros on padding, as convolutions pad beyond the end
        for block in self.blocks:
            read = block(read, mask)
        across = read.transpose(1, 2)
        length = batch.ids.shape[1]  # an even kernel gives one position more
        features = torch.cat([layer(across)[..., :length] for layer in self.convolutions], dim=1).relu().transpose(1, 2)
        sentence = pooled(features, batch, self.pairs)
        embedding = self.dropout(sentence)
        states = [words, features] if "states" in taps else []
        sentences = [pooled(words, batch, self.pairs), sentence] if "states" in taps else []
        return Outputs(self.classifier(embedding), embedding, states, sentences)


@component("student", kind="cnn", tasks=TEXT, title="CNN", size=("channels",), teacher_width="embedding_size")
class CnnFamily(TorchTextFamily):
    """Convolutions of a few widths over word embeddings, the maximum of each feature over the text, and one linear layer.

    channels: features of each kernel width. blocks: residual convolutions over the words, one after the other, before these; each reaches
    twice as far as the one before. init `teacher`: the embeddings are the teacher's, reduced to their first singular directions.
    vocabulary `trimmed`: only pieces that occur in the training rows (vocabulary.py). The two texts of a pair are pooled separately, and
    then compared (pooling.py). Source: Kim 2014, "Convolutional Neural Networks for Sentence Classification"; the residual convolutions
    are dilated as in van den Oord et al. 2016, "WaveNet", and ordered as in pre-activation transformers.
    """

    loader = "autodistill.models.loaders.cnn"

    def build(
        self,
        context: StudentContext,
        *,
        embedding_size: Annotated[int, Field(ge=4, le=4096)] = 128,
        channels: Annotated[int, Field(ge=4, le=4096)] = 128,
        kernels: Literal["3", "2-3-4", "3-4-5"] = "2-3-4",
        blocks: Annotated[int, Field(ge=0, le=8)] = 0,
        dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.3,
        init: Literal["random", "teacher"] | FOLDER = "teacher",
        vocabulary: Literal["full", "trimmed"] = "full",
    ) -> Cnn:
        """A student of the family.

        Raises:
            RecipeError: init does not work with this teacher.
        """
        embedding = word_embedding(context, embedding_size, init, vocabulary)
        widths = tuple(int(size) for size in kernels.split("-"))
        return Cnn(embedding, channels, widths, blocks, dropout, context.num_outputs, context.pairs)

    def sizes(self, student: Cnn) -> dict[str, Any]:
        """Channels, kernels, residual convolutions and number of outputs."""
        layers: Any = student.convolutions
        kernels = [layer.kernel_size[0] for layer in layers]
        own = {"channels": layers[0].out_channels, "kernels": kernels, "num_outputs": student.classifier.out_features}
        return own | ({"blocks": len(student.blocks)} if len(student.blocks) else {})
