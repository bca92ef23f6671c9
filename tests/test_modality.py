"""What a modality makes of rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autodistill.modality import Image, Text
from autodistill.models.image import EncodedImages
from autodistill.models.text import EncodedText
from autodistill.recipe import Teacher
from autodistill.tasks.base import Split

LABELS = np.arange(3)
LENGTHS = [4, 2, 3]
TEXTS = EncodedText(
    torch.arange(9, dtype=torch.int32), torch.zeros(9, dtype=torch.uint8), torch.tensor([0, 4, 6, 9]), 0, "made"
)  # fmt: skip
IMAGES = EncodedImages(np.zeros((3, 8, 8, 3), dtype=np.uint8))


def test_rows_are_given_as_people_give_them() -> None:
    places = np.array([2, 0])
    texts, others = ["a", "b", "c"], ["x", "y", "z"]
    assert Text().rows(Split(LABELS, texts), places) == ["c", "a"]
    assert Text(pair=True).rows(Split(LABELS, texts, others), places) == [("c", "z"), ("a", "x")]
    pixels = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    assert [image.tolist() for image in Image().rows(Split(LABELS, images=pixels), places)] == [pixels[2].tolist(), pixels[0].tolist()]


def test_equal_rows_have_equal_keys() -> None:
    assert Text().row_keys(Split(LABELS, ["a", "b", "a"])) == ["a", "b", "a"]
    assert Text(pair=True).row_keys(Split(LABELS, ["a", "b", "a"], ["x", "y", "z"])) == [("a", "x"), ("b", "y"), ("a", "z")]
    pixels = np.zeros((3, 4, 4, 3), dtype=np.uint8)
    pixels[1, 0, 0, 0] = 1
    first, second, third = Image().row_keys(Split(LABELS, images=pixels))
    assert first == third != second


def test_some_rows_of_a_split_keep_their_columns_together() -> None:
    taken = Split(LABELS, ["a", "b", "c"], ["x", "y", "z"]).take(np.array([2, 2, 1]))
    assert (taken.labels.tolist(), taken.texts, taken.text_pairs, taken.images) == ([2, 2, 1], ["c", "c", "b"], ["z", "z", "y"], None)


def test_texts_are_batched_by_length_and_images_as_they_come() -> None:
    assert TEXTS.lengths.tolist() == LENGTHS
    assert [rows.tolist() for rows in TEXTS.even_batches(rows=2, tokens=100)] == [[0, 2], [1]]
    assert [rows.tolist() for rows in TEXTS.even_batches(rows=9, tokens=6)] == [[0], [2, 1]]  # one of 4 tokens, two of at most 3
    assert TEXTS.median_row().tolist() == [2]
    assert TEXTS.describe_row(2) == "3 tokens"
    assert IMAGES.lengths is None
    assert [rows.tolist() for rows in IMAGES.even_batches(rows=2, tokens=1)] == [[0, 1], [2]]
    assert IMAGES.median_row().tolist() == [0]
    assert IMAGES.describe_row(0) == "8 × 8 pixels"


def test_tokens_of_rows_and_their_padding() -> None:
    index, mask = TEXTS.token_index(torch.tensor([1, 2]))
    assert mask.tolist() == [[True, True, False], [True, True, True]]
    assert TEXTS.ids[index][mask].tolist() == [4, 5, 6, 7, 8]
    assert len(IMAGES.ids) == 0
    with pytest.raises(TypeError, match="images have no tokens"):
        IMAGES.token_index(torch.tensor([0]))


def test_images_are_encoded_as_their_teacher_wants_them_and_need_no_tokenizer() -> None:
    teacher = Teacher(model="timm:vit_tiny_patch16_224")  # of mean and deviation 0.5, not ImageNet's
    encoded = Image().encode(Split(LABELS, images=IMAGES.images), teacher, None)
    assert encoded.mean == encoded.std == (0.5, 0.5, 0.5)
    assert Image().student_fields(encoded, None) == {"image_size": 8, "normalisation": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))}
    assert str(Image().source(teacher)) == "."
