"""What the rows of a dataset are, and all that follows from it: one class for texts and one for images.

A task type begins with the `words` of its modality (task_types.py): `text-pair-regression` has Text(pair=True). Nothing else asks
which it is; it asks the modality, or what the modality has made (`Inputs`, `Batch`, `Side`, `Mix`). Those are the halves with torch, and
are imported where a method needs them, so that plans can be made without torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from autodistill.augment.mixup import Mix
    from autodistill.augment.views import Reader
    from autodistill.export.asking import RowReader
    from autodistill.features.seen import Seen
    from autodistill.models.base import ImageBatch, Outputs, StudentModule, TextBatch
    from autodistill.models.image import EncodedImages
    from autodistill.models.sides import Side
    from autodistill.models.text import EncodedText
    from autodistill.recipe import Component, Teacher
    from autodistill.tasks.base import Dataset, DatasetRef, Split
    from autodistill.tasks.columns import Columns
    from autodistill.tasks.rows import Rows
    from autodistill.tasks.splits import Part
    from autodistill.tasks.tables import Table
    from autodistill.tasks.unlabelled import UnlabelledRows
    from autodistill.teacher.plan import Taps


Inputs = TypeVar("Inputs")
"""Encoded rows of the modality's own: `models.base.Inputs`."""
Batch = TypeVar("Batch")
"""A batch of them: `models.base.Batch`."""


class Modality(ABC, Generic[Inputs, Batch]):
    """What the rows are."""

    name: ClassVar[str]
    """Also the name of the search space that is shipped for it."""
    token_forms: ClassVar[tuple[str, ...]]
    """The forms in which an objective can read a layer's states (`tokens` of a recipe): pooled ones, the usual one first, then `tokens`."""
    mixings: ClassVar[tuple[str, ...]]
    """The ways in which rows can be mixed (`augmentation.mixing` of a recipe)."""
    poolings: ClassVar[tuple[str, ...]]
    """The poolings of an encoder's last states that a teacher can have (`teacher.pooling` of a recipe), beside the model's own."""
    pipeline_tag: ClassVar[str]
    """What the Hugging Face hub calls a model that reads such rows."""

    @property
    def words(self) -> str:
        """How the task type begins."""
        return self.name

    @property
    def texts(self) -> int:
        """How many texts a row has."""
        return 0

    @property
    def pooled_forms(self) -> tuple[str, ...]:
        """The forms of a layer's states that are one vector a row."""
        return self.token_forms[:-1]

    # the shape of a model's outputs

    @abstractmethod
    def layers(self, entries: int) -> int:
        """The number of layers of a model whose `Outputs.states` has so many entries."""

    @abstractmethod
    def entry(self, layer: int) -> int:
        """The entry of `Outputs.states` that is a layer's; layers are numbered from 1."""

    @property
    @abstractmethod
    def whole_form(self) -> str:
        """The kind of stored teacher outputs that holds states position by position."""

    @abstractmethod
    def whole_states(self, entries: tuple[int, ...]) -> Taps:
        """The taps that ask for these entries of a teacher's `states`, position by position."""

    @abstractmethod
    def state_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What of the shape (B, …) of a batch's state is the same for all rows."""

    @abstractmethod
    def side(self, outputs: Outputs, batch: Batch) -> Side:
        """A model's outputs on a batch, as objectives read them."""

    # reading

    @abstractmethod
    def read(self, tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], wanted: Sequence[str], name: str) -> Rows:
        """The rows of a dataset's splits. wanted: those that are read in full; name: the dataset's, for errors.

        Raises:
            DataError: a row cannot be read.
        """

    @abstractmethod
    def read_unlabelled(
        self, places: Sequence[str], tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], ref: DatasetRef,
        image_size: int | None, name: str, output_names: Sequence[str],
    ) -> UnlabelledRows:  # fmt: skip
        """The rows without labels. places: files, folders, and `rest`; outputs: the names of a model's outputs; the others are those of the
        labelled rows.

        Raises:
            DataError: a row cannot be read.
        """

    @abstractmethod
    def source(self, teacher: Teacher) -> Path:
        """The folder that a teacher's rows are read with before it is fine-tuned; an empty path where nothing is needed to read them.

        Raises:
            ModelError: it cannot be fetched.
        """

    @abstractmethod
    def open_tokenizer(self, folder: Path) -> Any:
        """The tokenizer in a teacher's folder; None where rows have no tokens.

        Raises:
            ModelError: there is none, and rows have tokens.
        """

    @abstractmethod
    def weights_fingerprint(self, teacher: Teacher) -> str:
        """Names the weights that a teacher's training starts from.

        Raises:
            ModelError: they cannot be fetched.
        """

    @abstractmethod
    def build_teacher(self, dataset: Dataset, teacher: Teacher) -> StudentModule:
        """The module to train, with a head for the dataset. Of pooling `auto` where the model's files say nothing, the first of `poolings`.

        Raises:
            ModelError: the model cannot be fetched or does not fit.
        """

    @abstractmethod
    def encode(self, split: Split, teacher: Teacher, tokenizer: Any) -> Inputs:
        """A split as its teacher and its students read it.

        Raises:
            DataError: a row cannot be read.
            RunError: the cache cannot be written.
        """

    @abstractmethod
    def rereader(self, ours: tuple[Teacher, Path], theirs: tuple[Teacher, Path]) -> Callable[[Batch], Batch]:
        """From batches as one teacher reads them to the same rows as another one reads them. Each is a teacher and its folder.

        Raises:
            ModelError: rows have tokens, and a folder has no tokenizer.
        """

    @abstractmethod
    def student_fields(self, train: Inputs, tokenizer: Any) -> dict[str, Any]:
        """Those fields of a StudentContext that depend on how rows are read."""

    @abstractmethod
    def rows(self, split: Split, places: np.ndarray) -> list[Any]:
        """Some rows of a split as people give them: texts, tuples of two texts, or images (H, W, 3) uint8."""

    @abstractmethod
    def row_keys(self, split: Split) -> list[Hashable]:
        """What tells rows apart, one a row: two rows with equal keys are the same, letter by letter or pixel by pixel."""

    # an exported student

    @property
    @abstractmethod
    def example(self) -> str:
        """A row as it is given to `autodistill predict` on a command line."""

    @abstractmethod
    def row_reader(self, folder: Path, about: Mapping[str, Any]) -> RowReader:
        """How an exported student reads rows. folder: where its files are; about: its student.json."""

    # augmentation

    @abstractmethod
    def view(self, split: Split, original: Inputs, reader: Reader, augmentation: Component, copy: int, seed: int) -> Inputs:
        """A split as an augmentation shows it. Equal arguments give equal rows; copy 0 is the original.

        Raises:
            DataError, ModelError: what the augmentation needs is not at hand.
        """

    def reread_view(
        self, split: Split, view: Inputs, reader: Reader, tokenizer: Any, augmentation: Component, copy: int, seed: int
    ) -> Inputs:
        """A view that is not the original, as a student with another tokenizer than its teacher's reads it. view: as the teacher reads it.

        Raises:
            DataError, ModelError: what the augmentation needs is not at hand.
        """
        return view

    @abstractmethod
    def training_batch(self, inputs: Inputs, rows: Tensor, rng: np.random.Generator) -> Batch:
        """Rows (B,) as a teacher reads them in its training: images are flipped and cropped at random."""

    @abstractmethod
    def mix(self, batch: Batch, mixing: str, concentration: float, rng: np.random.Generator) -> Mix:
        """Draw how a batch is mixed. mixing: one of `mixings`; concentration: both parameters of the Beta distribution of the share."""

    # dataset features

    @property
    @abstractmethod
    def flags(self) -> dict[str, float]:
        """The dataset features that say what the rows are."""

    @abstractmethod
    def plain_features(self, fit: Split) -> Callable[[Split], Any]:
        """What can be seen of rows without an encoder, for a linear model: features (N, D) of any split, dense or sparse; D may be 0.

        fit: the rows from which is learned what there is to be seen.
        """

    @abstractmethod
    def look(self, fit: Split, held: Split, encoder: str) -> Seen:
        """What can be seen of two samples of rows without their labels. encoder: the frozen text encoder.

        Raises:
            ModelError: the encoder cannot be fetched.
        """


@dataclass(frozen=True)
class Text(Modality["EncodedText", "TextBatch"]):
    """Texts, or pairs of texts. Models give states (B, T, D), those of the embeddings before the layers'."""

    name = "text"
    token_forms = ("cls", "mean", "tokens")
    mixings = ("mixup",)
    pipeline_tag = "text-classification"
    poolings = ("mean", "cls")
    whole_form = "tokens"

    pair: bool = False

    @property
    def texts(self) -> int:
        return 2 if self.pair else 1

    @property
    def words(self) -> str:
        return "text-pair" if self.pair else "text"

    def layers(self, entries: int) -> int:
        """All entries but the embeddings."""
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

        return TextSide(outputs, batch.mask)

    def read(self, tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], wanted: Sequence[str], name: str) -> Rows:
        from autodistill.tasks.rows import read_texts

        return read_texts(tables, columns, parts, wanted)

    def read_unlabelled(
        self, places: Sequence[str], tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], ref: DatasetRef,
        image_size: int | None, name: str, output_names: Sequence[str],
    ) -> UnlabelledRows:  # fmt: skip
        from autodistill.tasks.unlabelled import unlabelled_texts

        return unlabelled_texts(places, tables, columns, parts, ref, output_names)

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
        """See `teacher.text.build`; a finished student as it is."""
        from autodistill.assistant import find_assistant
        from autodistill.models.saved import load_saved_student
        from autodistill.teacher.text import build

        assistant = find_assistant(teacher.model)
        if assistant is None:
            return build(dataset.target, teacher)
        assistant.check(teacher, dataset.rows_fingerprint, dataset.name)
        return load_saved_student(assistant.folder).model

    def encode(self, split: Split, teacher: Teacher, tokenizer: Any) -> EncodedText:
        """Token ids, cut to the teacher's max_length."""
        from autodistill.models.text import encode_split

        assert split.texts is not None
        return encode_split(split.texts, split.text_pairs, tokenizer, teacher.max_length)

    def rereader(self, ours: tuple[Teacher, Path], theirs: tuple[Teacher, Path]) -> Callable[[TextBatch], TextBatch]:
        """See `models.reread.reread_texts`."""
        from autodistill.models.reread import reread_texts

        (_, folder), (teacher, other) = ours, theirs
        return reread_texts(self.open_tokenizer(folder), self.open_tokenizer(other), pair=self.pair, max_length=teacher.max_length)

    def student_fields(self, train: EncodedText, tokenizer: Any) -> dict[str, Any]:
        """The size of the vocabulary, its special tokens, and its pieces that the training rows hold."""
        from autodistill.models.vocabulary import keep_pieces

        kept, pieces = keep_pieces(train, tokenizer)
        special = tuple(tokenizer.all_special_ids)
        return {"vocab_size": len(tokenizer), "pad_id": train.pad_id, "special": special, "kept_pieces": kept, "pieces": pieces}

    def rows(self, split: Split, places: np.ndarray) -> list[Any]:
        """Texts, or tuples of two."""
        columns = [split.texts, split.text_pairs] if self.pair else [split.texts]
        picked = [[column[place] for place in places] for column in columns if column is not None]
        return list(zip(*picked, strict=True)) if self.pair else picked[0]

    def row_keys(self, split: Split) -> list[Hashable]:
        """The texts themselves."""
        return self.rows(split, np.arange(len(split)))

    @property
    def example(self) -> str:
        return '"a text" "the other"' if self.pair else '"a text"'

    def row_reader(self, folder: Path, about: Mapping[str, Any]) -> RowReader:
        """By the tokenizer.json beside the student."""
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
        """The rows as they are."""
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


@dataclass(frozen=True)
class Image(Modality["EncodedImages", "ImageBatch"]):
    """Square images. Models give feature maps (B, C, H, W), one for each stage."""

    name = "image"
    token_forms = ("mean", "tokens")
    mixings = ("mixup", "cutmix")
    pipeline_tag = "image-classification"
    poolings = ()
    whole_form = "maps"

    def layers(self, entries: int) -> int:
        """Every entry is a stage's."""
        return entries

    def entry(self, layer: int) -> int:
        return layer - 1

    def whole_states(self, entries: tuple[int, ...]) -> Taps:
        """Feature maps."""
        from autodistill.teacher.plan import Taps

        return Taps(maps=entries)

    def state_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) of (B, C, H, W)."""
        return shape[1:]

    def side(self, outputs: Outputs, batch: ImageBatch) -> Side:
        from autodistill.models.sides import ImageSide

        return ImageSide(outputs)

    def read(self, tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], wanted: Sequence[str], name: str) -> Rows:
        from autodistill.tasks.rows import read_images

        return read_images(tables, columns, {split: parts[split] for split in wanted}, name)

    def read_unlabelled(
        self, places: Sequence[str], tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], ref: DatasetRef,
        image_size: int | None, name: str, output_names: Sequence[str],
    ) -> UnlabelledRows:  # fmt: skip
        from autodistill.tasks.unlabelled import unlabelled_images

        assert columns.image is not None
        assert image_size is not None
        return unlabelled_images(places, tables, columns.image, parts, ref, image_size, name)

    def source(self, teacher: Teacher) -> Path:
        """Images are read without files of the teacher's."""
        return Path()

    def open_tokenizer(self, folder: Path) -> Any:
        """None."""
        return None

    def weights_fingerprint(self, teacher: Teacher) -> str:
        from autodistill.teacher.image import weights_fingerprint

        return weights_fingerprint(teacher)

    def build_teacher(self, dataset: Dataset, teacher: Teacher) -> StudentModule:
        """See `teacher.image.build`."""
        from autodistill.teacher.image import build

        assert dataset.image_size is not None
        return build(dataset.num_outputs, dataset.image_size, teacher)

    def encode(self, split: Split, teacher: Teacher, tokenizer: Any) -> EncodedImages:
        """Pixels, normalised as the teacher's timm model wants them."""
        from autodistill.models.image import EncodedImages
        from autodistill.models.timm import normalisation

        assert split.images is not None
        return EncodedImages(split.images, *normalisation(teacher.model.removeprefix("timm:")))

    def rereader(self, ours: tuple[Teacher, Path], theirs: tuple[Teacher, Path]) -> Callable[[ImageBatch], ImageBatch]:
        """See `models.reread.renormalise`."""
        from autodistill.models.reread import renormalise
        from autodistill.models.timm import normalisation
        from autodistill.teacher.image import timm_name

        return renormalise(*(normalisation(timm_name(teacher)) for teacher, _ in (ours, theirs)))

    def student_fields(self, train: EncodedImages, tokenizer: Any) -> dict[str, Any]:
        """The side of the images in pixels."""
        return {"image_size": train.image_size}

    def rows(self, split: Split, places: np.ndarray) -> list[Any]:
        """Pixels, (H, W, 3) uint8 each."""
        assert split.images is not None
        return [split.images[place] for place in places]

    def row_keys(self, split: Split) -> list[Hashable]:
        """Digests of the pixels."""
        from autodistill.storage import digest

        return [digest(np.ascontiguousarray(image).tobytes()) for image in self.rows(split, np.arange(len(split)))]

    @property
    def example(self) -> str:
        return "image.png"

    def row_reader(self, folder: Path, about: Mapping[str, Any]) -> RowReader:
        """Of the size, mean and standard deviation in student.json."""
        from autodistill.export.asking import ImageReader

        return ImageReader(about["image_size"], about["mean"], about["std"])

    def view(self, split: Split, original: EncodedImages, reader: Reader, augmentation: Component, copy: int, seed: int) -> EncodedImages:
        """See `augment.views.image_view`."""
        from autodistill.augment.views import image_view

        return image_view(original, augmentation, copy, seed)

    def training_batch(self, inputs: EncodedImages, rows: Tensor, rng: np.random.Generator) -> ImageBatch:
        """The rows flipped and cropped at random."""
        from autodistill.augment.image import flip_crop
        from autodistill.models.image import normalise

        return normalise(flip_crop(inputs.images[rows.numpy()], rng), inputs.mean, inputs.std)

    def mix(self, batch: ImageBatch, mixing: str, concentration: float, rng: np.random.Generator) -> Mix:
        """See `augment.mixup.ImageMix`."""
        from autodistill.augment.mixup import ImageMix

        return ImageMix.of(batch, mixing, concentration, rng)

    @property
    def flags(self) -> dict[str, float]:
        return {"is_image": 1.0, "is_pair": 0.0}

    def plain_features(self, fit: Split) -> Callable[[Split], Any]:
        """Histograms of oriented gradients, and mean colours."""
        from autodistill.features.seen import outlines

        return outlines

    def look(self, fit: Split, held: Split, encoder: str) -> Seen:
        """Size and contrast, histograms of oriented gradients, pixels."""
        from autodistill.features.seen import see_images

        return see_images(fit, held)


def modality_of_columns(texts: Sequence[str]) -> Modality:
    """The modality of rows with these columns of texts, one or two; without any they are images."""
    return Text(pair=len(texts) == 2) if texts else Image()
