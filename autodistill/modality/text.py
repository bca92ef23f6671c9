"""`Text`: rows that are texts, or pairs of texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autodistill.modality.base import Modality

if TYPE_CHECKING:
    from torch import Tensor

    from autodistill.augment.mixup import Mix
    from autodistill.augment.views import Reader
    from autodistill.export.asking import RowReader
    from autodistill.features.seen import Seen
    from autodistill.models.base import Outputs, StudentModule, TextBatch
    from autodistill.models.sides import Side
    from autodistill.models.text import EncodedText, TokenSample
    from autodistill.recipe import Component, Teacher
    from autodistill.tasks.base import Dataset, DatasetRef, Split
    from autodistill.tasks.columns import Columns
    from autodistill.tasks.rows import Rows
    from autodistill.tasks.splits import Part
    from autodistill.tasks.tables import Table
    from autodistill.tasks.unlabelled import Row, UnlabelledRows
    from autodistill.teacher.plan import Taps


SAMPLE = 2000
"""How many rows are read to learn how long texts are, and whether a tokenizer knows them."""


@dataclass(frozen=True)
class Text(Modality["EncodedText", "TextBatch"]):
    """Texts, or pairs of texts. Models output states (B, T, D): first those of the embeddings, then those of each layer."""

    name = "text"
    mixings = ("mixup",)
    pipeline_tag = "text-classification"
    poolings = ("mean", "cls")
    plain_name = "TF-IDF, linear"
    whole_form = "tokens"

    pair: bool = False

    @property
    def token_forms(self) -> tuple[str, ...]:
        return ("cls", "mean", "texts", "tokens") if self.pair else ("cls", "mean", "tokens")

    @property
    def texts(self) -> int:
        return 2 if self.pair else 1

    @property
    def words(self) -> str:
        return "text-pair" if self.pair else "text"

    @property
    def allowed_poolings(self) -> tuple[str, ...]:
        return (*super().allowed_poolings, "apart") if self.pair else super().allowed_poolings

    def reads_apart(self, teacher: Teacher) -> bool:
        from autodistill.assistant import find_assistant
        from autodistill.teacher.text import ends_of

        return self.pair and find_assistant(teacher.model) is None and ends_of(self.open_tokenizer(self.source(teacher))) is not None

    def layers(self, entries: int) -> int:
        """All entries except the embeddings."""
        return entries - 1

    def entry(self, layer: int) -> int:
        """Entry 0 is the embeddings."""
        return layer

    def whole_states(self, entries: tuple[int, ...]) -> Taps:
        """Token by token."""
        from autodistill.teacher.plan import Taps

        return Taps(tokens=entries)

    def state_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The width: (D,) of (B, T, D)."""
        return (shape[-1],)

    def side(self, outputs: Outputs, batch: TextBatch) -> Side:
        from autodistill.models.sides import TextSide

        return TextSide(outputs, batch.mask, batch.segments)

    def read(self, tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], wanted: Sequence[str], name: str) -> Rows:
        from autodistill.tasks.rows import read_texts

        return read_texts(tables, columns, parts, wanted)

    def read_unlabelled(
        self, places: Sequence[str], tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part],
        keys: Mapping[str, Sequence[Any]], ref: DatasetRef, image_size: int | None, output_names: Sequence[str],
    ) -> UnlabelledRows:  # fmt: skip
        from autodistill.tasks.unlabelled import unlabelled_texts

        return unlabelled_texts(places, tables, columns, parts, keys, ref, output_names)

    def source(self, teacher: Teacher) -> Path:
        """The folder of the tokenizer and the configuration."""
        from autodistill.assistant import find_assistant
        from autodistill.models.sources import source_folder

        assistant = find_assistant(teacher.model)
        return source_folder(teacher.model, weights=teacher.init == "pretrained") if assistant is None else assistant.folder

    def open_tokenizer(self, folder: Path) -> Any:
        """A fast tokenizer of transformers."""
        from autodistill.models.text import load_tokenizer

        return load_tokenizer(folder)

    def weights_fingerprint(self, teacher: Teacher) -> str:
        from autodistill.assistant import STUDENT_WEIGHTS, find_assistant
        from autodistill.storage import digest, file_fingerprint
        from autodistill.teacher.text import weights_fingerprint

        assistant = find_assistant(teacher.model)
        if assistant is None:
            return weights_fingerprint(teacher)
        return digest("assistant", *(file_fingerprint(assistant.folder / name) for name in (STUDENT_WEIGHTS, "recipe.yaml")))

    def build_teacher(self, dataset: Dataset, teacher: Teacher) -> StudentModule:
        """See `teacher.text.build`; a finished student is used as it is. For targets without labels: `teacher.embedding.build`."""
        from autodistill.assistant import find_assistant
        from autodistill.models.saved import load_saved_student
        from autodistill.teacher import embedding
        from autodistill.teacher.text import build

        assistant = find_assistant(teacher.model)
        if not dataset.target.has_labels:
            return embedding.build(teacher)
        if assistant is None:
            return build(dataset.target, teacher)
        assistant.check(teacher, dataset.rows_fingerprint, dataset.name)
        return load_saved_student(assistant.folder).model

    def encode(self, split: Split, teacher: Teacher, tokenizer: Any) -> EncodedText:
        """Token ids, cut to the teacher's max_length."""
        from autodistill.models.text import encode_split

        assert split.texts is not None
        return encode_split(split.texts, split.text_pairs, tokenizer, teacher.max_length)

    def token_sample(self, split: Split, tokenizer: Any) -> TokenSample:
        """Of at most `SAMPLE` rows, which are spread evenly."""
        from autodistill.models.text import sample_tokens

        return sample_tokens(self.rows(split, np.arange(0, len(split), math.ceil(len(split) / SAMPLE))), tokenizer)

    def read_rows(self, rows: Sequence[Any], teacher: Teacher, tokenizer: Any) -> TextBatch:
        from autodistill.models.text import read_texts

        texts, pairs = zip(*rows, strict=True) if self.pair else (rows, None)
        return read_texts(texts, pairs, tokenizer, teacher.max_length)

    def rereader(self, ours: tuple[Teacher, Path], theirs: tuple[Teacher, Path]) -> Callable[[TextBatch], TextBatch]:
        """See `models.reread.reread_texts`."""
        from autodistill.models.reread import reread_texts

        (_, folder), (teacher, other) = ours, theirs
        return reread_texts(self.open_tokenizer(folder), self.open_tokenizer(other), pair=self.pair, max_length=teacher.max_length)

    def student_fields(self, train: EncodedText, tokenizer: Any) -> dict[str, Any]:
        """The size of the vocabulary, its special tokens, and those of its pieces that occur in the training rows."""
        from autodistill.models.vocabulary import keep_pieces

        kept, pieces = keep_pieces(train, tokenizer)
        special = tuple(tokenizer.all_special_ids)
        return {"vocab_size": len(tokenizer), "pad_id": train.pad_id, "special": special, "kept_pieces": kept, "pieces": pieces}

    def rows(self, split: Split, places: np.ndarray) -> list[Any]:
        """Texts, or tuples of two."""
        columns = [split.texts, split.text_pairs] if self.pair else [split.texts]
        picked = [[column[place] for place in places] for column in columns if column is not None]
        return list(zip(*picked, strict=True)) if self.pair else picked[0]

    def row_keys(self, split: Split) -> list[Row]:
        """The texts themselves."""
        return self.rows(split, np.arange(len(split)))

    @property
    def example(self) -> str:
        return '"a text" "the other"' if self.pair else '"a text"'

    def row_reader(self, folder: Path, about: Mapping[str, Any]) -> RowReader:
        """A reader with the tokenizer.json in the student's folder."""
        from autodistill.export.asking import TextReader

        return TextReader(folder, self.texts)

    def view(self, split: Split, original: EncodedText, reader: Reader, augmentation: Component, copy: int, seed: int) -> EncodedText:
        """See `augment.views.text_view`."""
        from autodistill.augment.views import text_view

        return text_view(split, original, reader, augmentation, copy, seed)

    def reread_view(
        self, split: Split, view: EncodedText, reader: Reader, tokenizer: Any, augmentation: Component, copy: int, seed: int
    ) -> EncodedText:
        """See `augment.views.reread_text_view`."""
        from autodistill.augment.views import reread_text_view

        return reread_text_view(split, view, reader, tokenizer, augmentation, copy, seed)

    def training_batch(self, inputs: EncodedText, rows: Tensor, rng: np.random.Generator) -> TextBatch:
        """The rows, unchanged."""
        return inputs.batch(rows)

    def mix(self, batch: TextBatch, mixing: str, concentration: float, rng: np.random.Generator) -> Mix:
        """See `augment.mixup.TextMix`."""
        from autodistill.augment.mixup import TextMix

        return TextMix.draw(concentration, len(batch), rng)

    @property
    def flags(self) -> dict[str, float]:
        return {"is_image": 0.0, "is_pair": float(self.pair)}

    def plain_features(self, fit: Split) -> Callable[[Split], Any]:
        """TF-IDF of words."""
        from autodistill.features.seen import words_of

        return words_of(fit)

    def look(self, fit: Split, held: Split, encoder: str) -> Seen:
        """Lengths and words, embeddings of a frozen encoder, TF-IDF."""
        from autodistill.features.seen import see_texts

        return see_texts(fit, held, encoder)
