"""`Image`: rows that are square images."""

from __future__ import annotations

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
    from autodistill.models.base import ImageBatch, Outputs, StudentModule
    from autodistill.models.image import EncodedImages
    from autodistill.models.sides import Side
    from autodistill.recipe import Component, Teacher
    from autodistill.tasks.base import Dataset, DatasetRef, Split
    from autodistill.tasks.columns import Columns
    from autodistill.tasks.rows import Rows
    from autodistill.tasks.splits import Part
    from autodistill.tasks.tables import Table
    from autodistill.tasks.unlabelled import Row, UnlabelledRows
    from autodistill.teacher.plan import Taps


@dataclass(frozen=True)
class Image(Modality["EncodedImages", "ImageBatch"]):
    """Square images. Models output feature maps (B, C, H, W), one for each stage."""

    name = "image"
    mixings = ("mixup", "cutmix")
    pipeline_tag = "image-classification"
    poolings = ()
    plain_name = "gradients and colours, linear"
    whole_form = "maps"

    @property
    def token_forms(self) -> tuple[str, ...]:
        return ("mean", "tokens")

    def layers(self, entries: int) -> int:
        """Every entry is a stage."""
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
        self, places: Sequence[str], tables: Mapping[str, Table], columns: Columns, parts: Mapping[str, Part],
        keys: Mapping[str, Sequence[Any]], ref: DatasetRef, image_size: int | None, output_names: Sequence[str],
    ) -> UnlabelledRows:  # fmt: skip
        from autodistill.tasks.unlabelled import unlabelled_images

        assert columns.image is not None
        assert image_size is not None
        return unlabelled_images(places, tables, columns.image, parts, keys, ref, image_size, output_names)

    def source(self, teacher: Teacher) -> Path:
        """An empty path: images are read without files of the teacher."""
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
        """Pixels, normalised as the teacher's timm model expects."""
        from autodistill.models.image import EncodedImages
        from autodistill.models.timm import normalisation

        assert split.images is not None
        return EncodedImages(split.images, *normalisation(teacher.model.removeprefix("timm:")))

    def read_rows(self, rows: Sequence[Any], teacher: Teacher, tokenizer: Any) -> ImageBatch:
        from autodistill.models.image import normalise
        from autodistill.models.timm import normalisation

        return normalise(np.stack(rows), *normalisation(teacher.model.removeprefix("timm:")))

    def rereader(self, ours: tuple[Teacher, Path], theirs: tuple[Teacher, Path]) -> Callable[[ImageBatch], ImageBatch]:
        """See `models.reread.renormalise`."""
        from autodistill.models.reread import renormalise
        from autodistill.models.timm import normalisation
        from autodistill.teacher.image import timm_name

        return renormalise(*(normalisation(timm_name(teacher)) for teacher, _ in (ours, theirs)))

    def student_fields(self, train: EncodedImages, tokenizer: Any) -> dict[str, Any]:
        """The side of the images in pixels, and how they are normalised."""
        return {"image_size": train.image_size, "normalisation": (train.mean, train.std)}

    def rows(self, split: Split, places: np.ndarray) -> list[Any]:
        """Pixels, (H, W, 3) uint8 each."""
        assert split.images is not None
        return [split.images[place] for place in places]

    def row_keys(self, split: Split) -> list[Row]:
        """Digests of the pixels, as `tasks.images.decode` makes them."""
        from autodistill.tasks.images import pixel_digest

        return [pixel_digest(image) for image in self.rows(split, np.arange(len(split)))]

    @property
    def example(self) -> str:
        return "image.png"

    def row_reader(self, folder: Path, about: Mapping[str, Any]) -> RowReader:
        """A reader with the size, mean and standard deviation in student.json."""
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
