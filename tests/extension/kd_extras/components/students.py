"""A student family: the mean of a text's word embeddings, and one linear layer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from autodistill.components import TEXT_CLASSIFICATION, component
from autodistill.models.base import Outputs, StudentContext, StudentModule, TextBatch
from autodistill.models.family import TorchTextFamily
from autodistill.models.vocabulary import word_embedding


class Bag(StudentModule):
    """states: the embeddings (B, T, E), also for its one layer; sentences: their means."""

    pairs = False

    def __init__(self, embedding: nn.Embedding, num_outputs: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.classifier = nn.Linear(embedding.embedding_dim, num_outputs)

    @property
    def output_layer(self) -> nn.Linear:
        return self.classifier

    def forward(self, batch: TextBatch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        words = self.embedding(batch.ids)
        mean = batch.mean(words)
        return (
            Outputs(self.classifier(mean), mean, [words, words], [mean, mean]) if "states" in taps else Outputs(self.classifier(mean), mean)
        )


@component("student", kind="bag", tasks=TEXT_CLASSIFICATION, title="bag of words", size=("embedding_size",))
class BagFamily(TorchTextFamily):
    """The mean of a text's word embeddings, and one linear layer.

    Source: Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification".
    """

    loader = "kd_extras.load_bag"

    def build(
        self,
        context: StudentContext,
        *,
        embedding_size: Annotated[int, Field(ge=4)] = 64,
        init: Literal["random", "teacher"] = "teacher",
    ) -> Bag:
        return Bag(word_embedding(context, embedding_size, init, "full"), context.num_outputs)

    def sizes(self, student: Bag) -> dict[str, Any]:
        return {"num_outputs": student.classifier.out_features}
