"""The bilstm student: word embeddings read in both directions, pooled over the text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from autodistill.components import TEXT, component
from autodistill.models.base import Outputs, StudentContext, StudentModule, TextBatch
from autodistill.models.family import TorchTextFamily
from autodistill.models.pooling import PAIR_PARTS, apart, pooled, together
from autodistill.models.vocabulary import word_embedding


class BiLstm(StudentModule):
    """states: the embeddings (B, T, E), and each layer's (B, T, 2 · hidden_size); sentences: the vectors that `pooled` makes of them."""

    def __init__(self, embedding: nn.Embedding, hidden_size: int, layers: int, dropout: float, num_outputs: int, pairs: bool) -> None:
        super().__init__()
        self.pairs = pairs
        self.embedding = embedding
        widths = [embedding.embedding_dim] + [2 * hidden_size] * (layers - 1)
        self.layers = nn.ModuleList(nn.LSTM(width, hidden_size, batch_first=True, bidirectional=True) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * hidden_size * (PAIR_PARTS if pairs else 1), num_outputs)

    @property
    def output_layer(self) -> nn.Linear:
        """The classifier."""
        return self.classifier

    def forward(self, batch: TextBatch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """See `Model`."""
        words = self.embedding(batch.ids) * batch.mask.unsqueeze(-1)
        first, mask = apart(words, batch) if self.pairs else (words, batch.mask)
        outs = [first]
        lengths = mask.sum(dim=1).clamp(min=1).cpu()  # packing keeps the padding out of the backward direction
        for layer in self.layers:
            packed = pack_padded_sequence(self.dropout(outs[-1]), lengths, batch_first=True, enforce_sorted=False)
            outs.append(pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=batch.ids.shape[1])[0])
        states = [together(state, batch) for state in outs] if self.pairs else outs
        embedding = self.dropout(pooled(states[-1], batch, self.pairs))
        logits = self.classifier(embedding)
        if "states" not in taps:
            return Outputs(logits, embedding)
        return Outputs(logits, embedding, states, [pooled(state, batch, self.pairs) for state in states])


@component("student", kind="bilstm", tasks=TEXT, title="BiLSTM", size=("layers", "hidden_size"), teacher_width="embedding_size")
class BiLstmFamily(TorchTextFamily):
    """A bidirectional LSTM over word embeddings, the maximum of each feature over the text, and one linear layer.

    hidden_size: of each direction. init `teacher`: the embeddings are the teacher's, reduced to their first singular directions.
    vocabulary `trimmed`: only pieces that occur in the training rows (vocabulary.py). The two texts of a pair are read and pooled
    separately, and then compared (pooling.py).
    Sources: Hochreiter and Schmidhuber 1997 (the LSTM); Conneau et al. 2017 (pooling by maxima); Tang et al. 2019, "Distilling
    Task-Specific Knowledge from BERT into Simple Neural Networks" (as a student of BERT).
    """

    loader = "autodistill.models.loaders.bilstm"

    def build(
        self,
        context: StudentContext,
        *,
        embedding_size: Annotated[int, Field(ge=4, le=4096)] = 128,
        hidden_size: Annotated[int, Field(ge=4, le=4096)] = 128,
        layers: Annotated[int, Field(ge=1, le=8)] = 1,
        dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2,
        init: Literal["random", "teacher"] = "teacher",
        vocabulary: Literal["full", "trimmed"] = "full",
    ) -> BiLstm:
        """A student of the family.

        Raises:
            RecipeError: init does not work with this teacher.
        """
        embedding = word_embedding(context, embedding_size, init, vocabulary)
        return BiLstm(embedding, hidden_size, layers, dropout, context.num_outputs, context.pairs)

    def sizes(self, student: BiLstm) -> dict[str, Any]:
        """Width, layers and number of outputs."""
        layers: Any = student.layers
        return {"hidden_size": layers[0].hidden_size, "layers": len(layers), "num_outputs": student.classifier.out_features}

    def weight_name(self, name: str) -> str:
        """load.py has an LSTM for each direction."""
        back = name.endswith("_reverse")
        return name.replace("layers.", "backwards." if back else "forwards.", 1).removesuffix("_reverse")
