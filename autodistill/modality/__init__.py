"""What the rows of a dataset are, and everything that depends on it: one class for texts and one for images.

A task type begins with the `words` of its modality (task_types.py): `text-pair-regression` has Text(pair=True). No other code asks which
modality it has. It asks the modality, or the objects that it makes (`Inputs`, `Batch`, `Side`, `Mix`). These need torch and are imported
inside the methods that use them, so that plans can be made without torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from autodistill.modality.base import Modality
from autodistill.modality.image import Image
from autodistill.modality.text import Text

__all__ = ["Image", "Modality", "Text", "modality_of_columns"]


def modality_of_columns(texts: Sequence[str]) -> Modality:
    """The modality of rows with these columns of texts (one or two), or of images if there are none."""
    return Text(pair=len(texts) == 2) if texts else Image()
