"""`Modality`: the questions to which texts and images have different answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from autodistill.augment.mixup import Mix
    from autodistill.augment.views import Reader
    from autodistill.export.asking import RowReader
    from autodistill.features.seen import Seen
    from autodistill.models.base import Outputs, StudentModule
    from autodistill.models.sides import Side
    from autodistill.models.text import TokenSample
    from autodistill.recipe import Component, Teacher
    from autodistill.tasks.base import Dataset, DatasetRef, Split
    from autodistill.tasks.columns import Columns
    from autodistill.tasks.rows import Rows
    from autodistill.tasks.splits import Part
    from autodistill.tasks.tables import Table
    from autodistill.tasks.unlabelled import Row, UnlabelledRows
    from autodistill.teacher.plan import Taps


Inputs = TypeVar("Inputs")
"""The modality's encoded rows: `models.base.Inputs`."""
Batch = TypeVar("Batch")
"""A batch of these rows: `models.base.Batch`."""


class Modality(ABC, Generic[Inputs, Batch]):
    """What the rows are."""

    name: ClassVar[str]
    """Also the name of its shipped search space."""
    mixings: ClassVar[tuple[str, ...]]
    """The ways in which rows can be mixed (`augmentation.mixing` of a recipe)."""
    poolings: ClassVar[tuple[str, ...]]
    """The poolings of an encoder's last states that a teacher can have (`teacher.pooling` of a recipe), beside the model's own."""
    plain_name: ClassVar[str]
    """What a linear model of `plain_features` is called."""
    pipeline_tag: ClassVar[str]
    """The Hugging Face hub's tag for a model that reads such rows."""

    @property
    def words(self) -> str:
        """The first words of the task type."""
        return self.name

    @property
    def texts(self) -> int:
        """The number of texts in a row; 0 for images."""
        return 0

    @property
    @abstractmethod
    def token_forms(self) -> tuple[str, ...]:
        """The forms in which an objective can read a layer's states (`tokens` of a recipe): pooled ones, the usual first, then `tokens`."""

    @property
    def pooled_forms(self) -> tuple[str, ...]:
        """The forms of a layer's states with one vector for each row, or for each text of a pair."""
        return self.token_forms[:-1]

    @property
    def allowed_poolings(self) -> tuple[str, ...]:
        """All values of `teacher.pooling` for such rows."""
        return ("auto", "model", *self.poolings)

    def reads_apart(self, teacher: Teacher) -> bool:
        """Whether a row is two texts that the teacher's encoder can also read one by one (`models.pooled.APART`).

        Raises:
            ModelError: the teacher's tokenizer cannot be fetched.
        """
        return False

    # the shape of a model's outputs

    @abstractmethod
    def layers(self, entries: int) -> int:
        """The number of layers of a model whose `Outputs.states` has this many entries."""

    @abstractmethod
    def entry(self, layer: int) -> int:
        """The entry of `Outputs.states` for a layer; layers are numbered from 1."""

    @property
    @abstractmethod
    def whole_form(self) -> str:
        """The kind of stored teacher outputs that holds states position by position."""

    @abstractmethod
    def whole_states(self, entries: tuple[int, ...]) -> Taps:
        """The taps that ask for these entries of a teacher's `states`, position by position."""

    @abstractmethod
    def state_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The part of a batch state's shape (B, …) that is the same for all rows."""

    @abstractmethod
    def side(self, outputs: Outputs, batch: Batch) -> Side:
        """A model's outputs on a batch, as objectives read them."""

    # reading

    @abstractmethod
    def read(self, tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part], wanted: Sequence[str], name: str) -> Rows:
        """The rows of a dataset's splits. wanted: the splits that are read in full; name: of the dataset, for errors.

        Raises:
            DataError: a row cannot be read.
        """

    @abstractmethod
    def read_unlabelled(
        self, places: Sequence[str], tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part],
        keys: Mapping[str, Sequence[Any]], ref: DatasetRef, image_size: int | None, output_names: Sequence[str],
    ) -> UnlabelledRows:  # fmt: skip
        """The rows without labels. places: files, folders, and `rest`; keys: of the labelled rows, as `read` gives them; output_names: of a
        model; the others are those of the labelled rows.

        Raises:
            DataError: a row cannot be read.
        """

    @abstractmethod
    def source(self, teacher: Teacher) -> Path:
        """The folder with which a teacher's rows are read before it is fine-tuned; an empty path if no files are needed.

        Raises:
            ModelError: it cannot be fetched.
        """

    @abstractmethod
    def open_tokenizer(self, folder: Path) -> Any:
        """The tokenizer in a teacher's folder; None if rows have no tokens.

        Raises:
            ModelError: there is none, and rows have tokens.
        """

    @abstractmethod
    def weights_fingerprint(self, teacher: Teacher) -> str:
        """Identifies the weights that a teacher's training starts from.

        Raises:
            ModelError: they cannot be fetched.
        """

    @abstractmethod
    def build_teacher(self, dataset: Dataset, teacher: Teacher) -> StudentModule:
        """The module to train, with a head for the dataset. For pooling `auto`, if the model's files say nothing, the first of `poolings`.

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

    def token_sample(self, split: Split, tokenizer: Any) -> TokenSample | None:
        """How a tokenizer reads a sample of the rows; None if rows have no tokens."""
        return None

    @abstractmethod
    def read_rows(self, rows: Sequence[Any], teacher: Teacher, tokenizer: Any) -> Batch:
        """Rows as `rows` gives them, as one batch that a teacher reads; nothing is kept of them in the cache."""

    @abstractmethod
    def rereader(self, ours: tuple[Teacher, Path], theirs: tuple[Teacher, Path]) -> Callable[[Batch], Batch]:
        """A function from batches as one teacher reads them to the same rows as another reads them. Each is a teacher and its folder.

        Raises:
            ModelError: rows have tokens, and a folder has no tokenizer.
        """

    @abstractmethod
    def student_fields(self, train: Inputs, tokenizer: Any) -> dict[str, Any]:
        """Those fields of a StudentContext that depend on how rows are read."""

    @abstractmethod
    def rows(self, split: Split, places: np.ndarray) -> list[Any]:
        """Some rows of a split, in the form in which people give them: texts, tuples of two texts, or images (H, W, 3) uint8."""

    @abstractmethod
    def row_keys(self, split: Split) -> list[Row]:
        """A key for each row: two rows with equal keys are the same, letter by letter or pixel by pixel."""

    # an exported student

    @property
    @abstractmethod
    def example(self) -> str:
        """A row in the form for `autodistill predict` on a command line."""

    @abstractmethod
    def row_reader(self, folder: Path, about: Mapping[str, Any]) -> RowReader:
        """How an exported student reads rows. folder: where its files are; about: its student.json."""

    # augmentation

    @abstractmethod
    def view(self, split: Split, original: Inputs, reader: Reader, augmentation: Component, copy: int, seed: int) -> Inputs:
        """A split as changed by an augmentation. Equal arguments give equal rows; copy 0 is the original.

        Raises:
            DataError, ModelError: what the augmentation needs is not at hand.
        """

    def reread_view(
        self, split: Split, view: Inputs, reader: Reader, tokenizer: Any, augmentation: Component, copy: int, seed: int
    ) -> Inputs:
        """A view other than the original, as read by a student with another tokenizer than its teacher's. view: as the teacher reads it.

        Raises:
            DataError, ModelError: what the augmentation needs is not at hand.
        """
        return view

    @abstractmethod
    def training_batch(self, inputs: Inputs, rows: Tensor, rng: np.random.Generator) -> Batch:
        """Rows (B,) as a teacher reads them in its training: images are flipped and cropped at random."""

    @abstractmethod
    def mix(self, batch: Batch, mixing: str, concentration: float, rng: np.random.Generator) -> Mix:
        """Draw a mix for a batch. mixing: one of `mixings`; concentration: both parameters of the Beta distribution of the share."""

    # dataset features

    @property
    @abstractmethod
    def flags(self) -> dict[str, float]:
        """The dataset features that say what the rows are."""

    @abstractmethod
    def plain_features(self, fit: Split) -> Callable[[Split], Any]:
        """Features without an encoder, for a linear model: a function from any split to features (N, D), dense or sparse; D may be 0.

        fit: the rows from which is learned what there is to be seen.
        """

    @abstractmethod
    def look(self, fit: Split, held: Split, encoder: str) -> Seen:
        """Describe two samples of rows without their labels. encoder: the frozen text encoder.

        Raises:
            ModelError: the encoder cannot be fetched.
        """
