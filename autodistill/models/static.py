"""The static student: a gated sum of the vectors of word pieces, made by a transformer, and a small head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor, nn

from autodistill.components import FOLDER, TEXT, component
from autodistill.errors import RecipeError
from autodistill.models.base import Outputs, StudentContext, StudentModule, TextBatch
from autodistill.models.family import SavedStudent, TextFamily
from autodistill.models.form import TrainingForm, TrialReads
from autodistill.models.piece_vectors import encoder_pieces
from autodistill.models.pooled import NORMALIZE, VECTORS_USAGE, listed_modules, write_dense
from autodistill.models.pooling import PAIR_PARTS, compared
from autodistill.models.sides import masked_mean, text_means
from autodistill.models.teacher_weights import reduced_words, teacher_folder
from autodistill.models.used_rows import UsedRows
from autodistill.models.vectors import keep_cosines
from autodistill.models.vocabulary import EMBEDDING_STD, TrimmedEmbedding, embedding_from
from autodistill.models.writing import WEIGHTS, write_json, write_loader, write_weights
from autodistill.recipe.parts import Component
from autodistill.task_types import target_of

HASH = (1_640_531_527, 1_093_470_553, 805_459_861)
PRIME = 2**31 - 1
"""An n-gram of the ids a, b (, c) has the bucket (a · HASH[0] + b · HASH[1] (+ c · HASH[2])) mod PRIME mod buckets."""


class Static(StudentModule):
    """A text's vector is the sum of its pieces' vectors, each times its gate, scaled to length √E. One or two linear layers read it.

    table: a row for each piece, then one for each bucket of n-grams. Its last column holds the gates before the sigmoid. Without that
    column (gates False), the gates are already multiplied in. special: ids of tokens that do not count.

    states: the vectors of the tokens (B, T, E); and the same times their gates, zeros on special tokens (B, T, E). sentences: the mean of
    the first, and the text's vector.
    """

    special: Tensor

    def __init__(
        self,
        table: nn.Embedding,
        vocab_size: int,
        special: tuple[int, ...],
        ngrams: int,
        hidden_size: int,
        dropout: float,
        num_outputs: int,
        pairs: bool,
        gates: bool = True,
    ) -> None:
        super().__init__()
        self.vocab_size, self.ngrams, self.pairs, self.gates = vocab_size, ngrams, pairs, gates
        self.buckets = len(table.rows if isinstance(table, TrimmedEmbedding) else table.weight) - vocab_size
        self.embedding = table
        self.register_buffer("special", torch.tensor(special, dtype=torch.int64), persistent=False)
        width = (table.embedding_dim - gates) * (PAIR_PARTS if pairs else 1)
        self.hidden = nn.Linear(width, hidden_size) if hidden_size else None
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden_size or width, num_outputs)

    @property
    def output_layer(self) -> nn.Linear:
        """The classifier."""
        return self.classifier

    def forward(self, batch: TextBatch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """See `Model`."""
        length = batch.ids.shape[1]
        ids, counted, segments = self._with_ngrams(batch.ids, self._counted(batch), batch.segments)
        words = self.embedding(ids)
        vectors = words[..., :-1] if self.gates else words
        gated = (vectors * words[..., -1:].sigmoid() if self.gates else vectors) * counted.unsqueeze(-1)
        sentence = self._sentence(gated, segments)
        embedding = self.dropout(sentence if self.hidden is None else self.hidden(sentence).relu())
        logits = self.classifier(embedding)
        if "states" not in taps:
            return Outputs(logits, embedding)
        first = vectors[:, :length] * batch.mask.unsqueeze(-1)
        return Outputs(logits, embedding, [first, gated[:, :length]], [self._mean(first, batch), sentence])

    def ngram_rows(self, ids: Tensor, size: int) -> Tensor:
        """The table's rows of the n-grams of `size` pieces: ids (…, T) int64 → (…, T − size + 1), by their first piece."""
        length = max(ids.shape[-1] - size + 1, 0)
        mixed = torch.stack([ids[..., place : place + length] * HASH[place] for place in range(size)]).sum(dim=0)
        return mixed % PRIME % self.buckets + self.vocab_size

    def _counted(self, batch: TextBatch) -> Tensor:
        """Which tokens are pieces of the text, (B, T) bool."""
        return batch.mask & ~(batch.ids.unsqueeze(-1) == self.special).any(dim=-1)

    def _with_ngrams(self, ids: Tensor, counted: Tensor, segments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The tokens' ids, which of them count, and their segments, each followed by those of the n-grams. No n-gram spans two texts."""
        rows, counts, parts = [ids], [counted], [segments]
        for size in range(2, self.ngrams + 1):
            rows.append(self.ngram_rows(ids, size))
            length = rows[-1].shape[1]
            counts.append(torch.stack([counted[:, place : place + length] for place in range(size)]).all(dim=0))
            parts.append(segments[:, :length])
        return torch.cat(rows, dim=1), torch.cat(counts, dim=1), torch.cat(parts, dim=1)

    def _sentence(self, gated: Tensor, segments: Tensor) -> Tensor:
        """The text's vector: (B, T, E) → (B, E), or (B, 4 E) for pairs."""
        if not self.pairs:
            return scaled(gated.sum(dim=1))
        second = (segments == 1).unsqueeze(-1)
        return compared(scaled((gated * ~second).sum(dim=1)), scaled((gated * second).sum(dim=1)))

    def _mean(self, vectors: Tensor, batch: TextBatch) -> Tensor:
        """The mean of the tokens' vectors: (B, E), or (B, 4 E) for pairs."""
        if not self.pairs:
            return masked_mean(vectors, batch.mask)
        one, other = text_means(vectors, batch.mask, batch.segments).unbind(dim=1)
        return compared(one, other)


def scaled(vectors: Tensor) -> Tensor:
    """The vectors scaled to length √E, so that their entries are about 1; zeros stay zeros. (B, E) → (B, E)."""
    return F.normalize(vectors, dim=1) * vectors.shape[1] ** 0.5


@component("student", kind="static", tasks=TEXT, title="static", size=("embedding_size", "hidden_size"), teacher_width="embedding_size")
class StaticFamily(TextFamily):
    """Vectors of word pieces, made by a transformer, with a learned gate each; their sum, scaled to one length; one or two linear layers.

    No piece sees another, so a text costs one look-up for each piece.

    init `teacher`: the vectors are the outputs of the teacher's encoder for each piece alone (piece_vectors.py); `input_embeddings`: the
    teacher's input embeddings, reduced to their first singular directions. hidden_size: of a layer with a rectifier between vector and
    output; 0 for none. ngrams: 2 adds a vector for every two consecutive pieces, 3 also for every three; they share `buckets` rows by a
    hash of their ids. vocabulary `trimmed`: only pieces that occur in the training rows (vocabulary.py). The two texts of a pair are read
    separately, and then compared (pooling.py).

    For sentence embeddings, a student that starts from its teacher and has no hidden layer starts with the cosines of its pieces' sums: its
    output layer is orthogonal. It has no n-grams, which sentence-transformers does not read.

    Sources: Tulkens and van Dongen 2024, "Model2Vec", https://github.com/MinishLab/model2vec (the start, the gates and the scaling);
    Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification" (hashed n-grams, there of words).
    """

    library = "model2vec"
    numpy_loader = "autodistill.models.loaders.static"
    free_at_start = ("dropout", "vocabulary", "ngrams", "buckets")

    def build(
        self,
        context: StudentContext,
        *,
        embedding_size: Annotated[int, Field(ge=4, le=4096)] = 128,
        hidden_size: Annotated[int, Field(ge=0, le=4096)] = 256,
        ngrams: Annotated[int, Field(ge=1, le=3)] = 1,
        buckets: Annotated[int, Field(ge=16, le=1_000_000)] = 16_384,
        dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.3,
        init: Literal["random", "input_embeddings", "teacher"] | FOLDER = "teacher",
        vocabulary: Literal["full", "trimmed"] = "full",
    ) -> Static:
        """A student of the family.

        Raises:
            RecipeError: init does not work with this teacher, or the vectors of sentence embeddings are to have n-grams.
        """
        are_vectors = target_of(context.task).are_vectors
        if are_vectors and ngrams > 1:
            raise RecipeError(f"student.ngrams is {ngrams}, and the students of {context.task} have no n-grams; set it to 1")
        start = None
        if init != "random" and not context.shapes_only:
            read = encoder_pieces if init == "teacher" else reduced_words
            start = read(teacher_folder(context.teacher), context.vocab_size, embedding_size, EMBEDDING_STD)
        pieces = embedding_from(start, context, embedding_size, vocabulary)
        table = _completed(pieces, buckets if ngrams > 1 else 0)
        # The mask already leaves out padding. In mixed rows its place holds the partner's words, so padding is not special.
        special = tuple(token for token in context.special if token != context.pad_id)
        student = Static(table, context.vocab_size, special, ngrams, hidden_size, dropout, context.num_outputs, context.pairs)
        if are_vectors and start is not None and not hidden_size:
            keep_cosines(student.classifier, (context.num_outputs / embedding_size) ** 0.5)
        return student

    def word_table(self, student: Static) -> nn.Embedding:
        """The table."""
        return student.embedding

    def for_vectors(self, part: Component) -> Component:
        """Without n-grams."""
        return super().for_vectors(part).model_copy(update={"ngrams": 1})

    def weights_at_start(self, student: Static, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The vectors and gates. N-grams start as zeros; of pairs the hidden layer starts at random, as it reads both texts."""
        kept = super().weights_at_start(student, weights)
        return {name: value for name, value in kept.items() if not (student.pairs and name.startswith("hidden."))}

    def training_form(self, student: Static, reads: TrialReads) -> TrainingForm:
        """As in other families; n-grams have rows too."""
        table = student.embedding
        if student.ngrams == 1 or reads.ids is None or isinstance(table, TrimmedEmbedding):
            return super().training_form(student, reads)
        sizes = range(2, student.ngrams + 1)
        rows = [student.ngram_rows(part.long(), size) for part in reads.ids for size in sizes]
        return UsedRows(student, table, [*reads.ids, *rows], reads.pad_id)

    def write(self, folder: Path, saved: SavedStudent, names: dict[int, str]) -> dict[str, Any]:
        """In the format of model2vec, with the head beside the embeddings (docs/static.md)."""
        student: Any = saved.model
        are_vectors = target_of(saved.recipe.task).are_vectors
        context, table = saved.facts["context"], student.embedding
        embeddings = table.weight[:, :-1] * table.weight[:, -1:].sigmoid()
        pieces, special = len(embeddings) - student.buckets, student.special
        weights = {"embeddings": embeddings[:pieces].clone(), "ngrams": embeddings[pieces:].clone()}
        if isinstance(table, TrimmedEmbedding):  # the last row belongs to all special tokens
            weights["embeddings"] = torch.cat([weights["embeddings"], torch.zeros(1, embeddings.shape[1])])
            weights["mapping"] = table.rows[: student.vocab_size].long()
            weights["mapping"][special] = pieces
        else:
            weights["embeddings"][special] = 0.0
        if not student.buckets:
            del weights["ngrams"]
        head = {name: value for name, value in student.state_dict().items() if not name.startswith("embedding.")}
        write_weights(folder, weights | head)
        tokenizer_adds = _special_tokens_added(saved.tokenizer)
        config = {
            "model_type": "model2vec",
            "architectures": ["StaticModel"],
            "hidden_dim": embeddings.shape[1],
            "normalize": True,
            "max_length": context["max_length"] - tokenizer_adds,
            "architecture": saved.recipe.student.name,
            "ngrams": student.ngrams,
            "special": special.tolist(),
            "pairs": student.pairs,
            "id2label": names,
            **({"unit_length": True} if are_vectors else {}),
        }
        write_json(folder / "config.json", config)
        modules = listed_modules(_MODULES | (_write_layers(folder, student) if are_vectors else {}))
        (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
        if "mapping" in weights:  # older versions warn, because they do not read it
            write_json(folder / "config_sentence_transformers.json", {"__version__": {"sentence_transformers": "6.2.0"}})
        inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if student.pairs else [])]
        self.write_tokenizer(folder, saved, inputs)
        write_loader(folder, self.numpy_loader)
        return {"format": "model2vec", "inputs": inputs, "max_length": context["max_length"]}

    def open(self, folder: Path, about: dict[str, Any]) -> nn.Module:
        """As a torch module (load.py needs no torch)."""
        weights = load_file(folder / WEIGHTS)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        rows = weights.pop("mapping", torch.arange(len(weights["embeddings"])))
        embeddings, ngrams = weights.pop("embeddings"), weights.pop("ngrams", torch.zeros(0, config["hidden_dim"]))
        every = torch.cat([rows, torch.arange(len(ngrams)) + len(embeddings)])
        table = TrimmedEmbedding(torch.cat([embeddings, ngrams]), every)
        hidden = len(weights["hidden.weight"]) if "hidden.weight" in weights else 0
        num_outputs, pairs = len(weights["classifier.weight"]), config["pairs"]
        student = Static(table, len(rows), tuple(config["special"]), config["ngrams"], hidden, 0.0, num_outputs, pairs, gates=False)
        student.load_state_dict(weights | {f"embedding.{name}": value for name, value in table.state_dict().items()})
        return _Logits(student, config.get("unit_length", False)).eval()

    def usage(self, about: dict[str, Any], pairs: bool) -> str:
        """With load.py; the embeddings also with model2vec. Sentence embeddings with sentence-transformers."""
        if "width" in about:
            return VECTORS_USAGE
        rows = '[("a text", "the other")]' if pairs else '["a text"]'
        return (
            "from load import encode, load  # load.py in this folder; needs numpy, safetensors and tokenizers\n\n"
            f"model, tokenizer = load(FOLDER)\nlogits = model(*encode(tokenizer, {rows}))\n"
        )

    def written_note(self, params: int) -> str:
        """The gates."""
        return f"The gates are multiplied into the vectors, so it is written with {params:,} parameters in all."


_MODULES = {".": "StaticEmbedding", f"1_{NORMALIZE}": NORMALIZE}
"""The modules that sentence-transformers makes of the folder, and where their files are."""


def _write_layers(folder: Path, student: Static) -> dict[str, str]:
    """Write the linear layers for sentence-transformers, and return the modules that follow the text's vector at length 1."""
    layers: list[tuple[Any, str]] = [(student.classifier, "linear.Identity")]
    layers = layers if student.hidden is None else [(student.hidden, "activation.ReLU"), *layers]
    modules = {}
    for number, (layer, activation) in enumerate(layers, 2):
        weight = layer.weight * layer.in_features**0.5 if number == 2 else layer.weight  # the student's vector has length √E
        write_dense(folder / f"{number}_Dense", weight, layer.bias, activation)
        modules[f"{number}_Dense"] = "Dense"
    return modules | {f"{len(layers) + 2}_{NORMALIZE}": NORMALIZE}


def _completed(pieces: nn.Embedding, buckets: int) -> nn.Embedding:
    """The table of pieces, plus rows for n-grams, which start as zeros, and a column of gates, which start at one half."""
    weight = F.pad(pieces.weight.detach(), (0, 1, 0, buckets))
    if isinstance(pieces, TrimmedEmbedding):
        more = torch.arange(len(pieces.weight), len(weight), dtype=pieces.rows.dtype)
        return TrimmedEmbedding(weight, torch.cat([pieces.rows, more]))
    return nn.Embedding.from_pretrained(weight, freeze=False, padding_idx=pieces.padding_idx)


def _special_tokens_added(tokenizer: Path | None) -> int:
    from tokenizers import Tokenizer

    assert tokenizer is not None
    return int(Tokenizer.from_file(str(tokenizer / "tokenizer.json")).num_special_tokens_to_add(is_pair=False))


class _Logits(nn.Module):
    """A student from the tokenizer's outputs to its logits alone. unit_length: at length 1."""

    def __init__(self, student: Static, unit_length: bool) -> None:
        super().__init__()
        self.student, self.unit_length = student, unit_length

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, T) int64 each → logits (B, C)."""
        segments = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        logits = self.student(TextBatch(input_ids, attention_mask.bool(), segments)).logits
        return F.normalize(logits, dim=1) if self.unit_length else logits
