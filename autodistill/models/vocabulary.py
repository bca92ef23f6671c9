"""A student's vocabulary: all of the teacher's pieces, or only those that occur in the training rows.

A trimmed student still reads the teacher's token ids. A table, saved with its weights, maps each of them to one of its embeddings. So the
tokenizer, the stored teacher outputs and their alignment token by token stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from autodistill.cache import ensure
from autodistill.errors import RecipeError
from autodistill.models.base import StudentContext
from autodistill.models.teacher_weights import TeacherWeights, reduced_words, teacher_folder
from autodistill.models.text import EncodedText
from autodistill.storage import cache_folder, digest, file_fingerprint, new_tensors

Vocabulary = Literal["full", "trimmed"]
EMBEDDING_STD = 0.1
"""The standard deviation of a word embedding's entries at the start; small, so that training can move them."""
_ROWS_AT_ONCE = 2048


class TrimmedEmbedding(nn.Embedding):
    """Word embeddings for some of the teacher's pieces. Reads the teacher's ids.

    rows: (vocab_size,) int32, the index of the embedding for each of the teacher's pieces; row 0 is padding's.
    """

    rows: Tensor

    def __init__(self, weight: Tensor, rows: Tensor) -> None:
        super().__init__(weight.shape[0], weight.shape[1], padding_idx=0, _weight=weight)
        self.register_buffer("rows", rows)

    def forward(self, input: Tensor) -> Tensor:
        """The teacher's ids (…) int64 → (…, width)."""
        return super().forward(self.rows[input])

    def expanded(self) -> nn.Embedding:
        """The same function as a plain table with a row for each of the teacher's pieces, for formats that need one."""
        return nn.Embedding.from_pretrained(self.weight.detach()[self.rows], freeze=False, padding_idx=None)


def keep_pieces(train: EncodedText, tokenizer: Any) -> tuple[int, Path]:
    """Which pieces a trimmed vocabulary has: the special tokens, padding first, and those of the training rows.

    Returns:
        how many, and the file that lists them.
    """
    special = list(dict.fromkeys([train.pad_id, *tokenizer.all_special_ids]))
    unknown = special.index(tokenizer.unk_token_id) if tokenizer.unk_token_id in special else 0
    path = cache_folder() / "pieces" / f"{digest('pieces-1', train.fingerprint, str(special), str(unknown))}.safetensors"

    def write() -> None:
        used = train.ids.unique().long()
        pieces = used[~torch.isin(used, torch.tensor(special))]
        shapes = {"special": ("int64", (len(special),)), "pieces": ("int64", (len(pieces),)), "unknown": ("int64", (1,))}
        with new_tensors(path, shapes) as arrays:
            arrays["special"][:], arrays["pieces"][:], arrays["unknown"][:] = special, pieces.numpy(), unknown

    ensure(path, write)
    stored = load_file(path)
    return len(stored["special"]) + len(stored["pieces"]), path


def vocabulary_size(context: StudentContext, vocabulary: Vocabulary) -> int:
    """Rows of the word embeddings.

    Raises:
        RecipeError: `trimmed`, but there are no training rows.
    """
    if vocabulary == "full":
        return context.vocab_size
    if not context.kept_pieces:
        raise RecipeError("student.vocabulary is 'trimmed', but there are no training rows to trim it to; use vocabulary: full")
    return context.kept_pieces


def padding_row(context: StudentContext, vocabulary: Vocabulary) -> int:
    """The row of padding's embedding."""
    return context.pad_id if vocabulary == "full" else 0


def taken_pieces(context: StudentContext, vocabulary: Vocabulary) -> Tensor:
    """The teacher's id of each embedding, (size,) int64; only for a student that is built for training."""
    if vocabulary == "full" or context.pieces is None:
        return torch.arange(context.vocab_size)
    stored = load_file(context.pieces)
    return torch.cat([stored["special"], stored["pieces"]])


def trimmed_embedding(table: nn.Embedding, context: StudentContext) -> TrimmedEmbedding:
    """Make a table of the kept pieces, (kept_pieces, width), read the teacher's ids."""
    has_pieces = context.pieces is not None and not context.shapes_only
    rows = piece_rows(context) if has_pieces else torch.zeros(context.vocab_size, dtype=torch.int32)  # zeros until weights are loaded
    return TrimmedEmbedding(table.weight.detach(), rows)


def word_embedding(context: StudentContext, width: int, init: str, vocabulary: Vocabulary) -> nn.Embedding:
    """Word embeddings (pieces, width), random or the teacher's in reduced form."""
    start = None
    if init == "teacher" and not context.shapes_only:
        start = reduced_words(teacher_folder(context.teacher), context.vocab_size, width, EMBEDDING_STD)
    return embedding_from(start, context, width, vocabulary)


def embedding_from(start: Tensor | None, context: StudentContext, width: int, vocabulary: Vocabulary) -> nn.Embedding:
    """Word embeddings (pieces, width) that start from a vector for each of the teacher's pieces (vocab_size, width); None: random."""
    size = vocabulary_size(context, vocabulary)
    padding = padding_row(context, vocabulary)
    if start is not None:
        embedding = nn.Embedding.from_pretrained(start[taken_pieces(context, vocabulary)], freeze=False, padding_idx=padding)
    else:
        embedding = nn.Embedding(size, width, padding_idx=padding)
        nn.init.normal_(embedding.weight, std=EMBEDDING_STD)
    return trimmed_embedding(embedding, context) if vocabulary == "trimmed" else embedding


def piece_rows(context: StudentContext) -> Tensor:
    """The index of the embedding for each of the teacher's pieces, (vocab_size,) int32.

    A kept piece has its own embedding. Any other piece shares that of the nearest kept piece in the teacher's word embeddings (cosine,
    centred): training has seen this neighbour, but not [UNK], which no training row holds. If the teacher's embeddings cannot be read, the
    piece shares [UNK]'s. Cached, because it is the same for all trials.
    """
    kept, teacher = context.pieces, context.teacher
    assert kept is not None
    assert teacher is not None
    key = digest("piece-rows-1", kept.stem, file_fingerprint(teacher / "model.safetensors"))
    path = cache_folder() / "pieces" / f"{key}.safetensors"

    def write() -> None:
        rows = _nearest(kept, teacher, context.vocab_size)
        with new_tensors(path, {"rows": ("int32", (context.vocab_size,))}) as arrays:
            arrays["rows"][:] = rows.numpy()

    ensure(path, write)
    return load_file(path)["rows"]


def _nearest(file: Path, teacher: Path, vocab_size: int) -> Tensor:
    stored = load_file(file)
    special, pieces, unknown = stored["special"], stored["pieces"], int(stored["unknown"])
    rows = torch.full((vocab_size,), unknown)
    try:
        words = TeacherWeights(teacher).words(vocab_size)
    except RecipeError:
        words = None
    if words is not None and len(pieces):
        words = nn.functional.normalize(words - words.mean(dim=0), dim=1)
        kept = words[pieces]
        nearest = [(part @ kept.T).argmax(dim=1) for part in words.split(_ROWS_AT_ONCE)]
        rows = torch.cat(nearest) + len(special)
    own = torch.cat([special, pieces])
    rows[own] = torch.arange(len(own))
    return rows
