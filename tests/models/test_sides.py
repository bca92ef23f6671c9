"""Sides: a model's outputs as objectives read them, against loops over rows and positions."""

from __future__ import annotations

import pytest
import torch

from autodistill.modality import Image, Text
from autodistill.models.base import ImageBatch, Outputs, TextBatch

MASK = torch.tensor([[True, True, True], [True, False, False]])
TEXTS = TextBatch(torch.ones(2, 3, dtype=torch.int64), MASK, torch.zeros(2, 3, dtype=torch.int64))


def _texts() -> Outputs:
    states = [torch.randn(2, 3, 4) for _ in range(3)]
    return Outputs(torch.randn(2, 2), torch.randn(2, 4), states, [state[:, 0] for state in states])


def test_a_texts_layers_come_after_its_embeddings() -> None:
    outputs = _texts()
    side = Text().side(outputs, TEXTS)
    assert side.layers == Text().layers(3) == 2
    assert torch.equal(side.state(2, "tokens"), outputs.states[2])
    assert torch.equal(side.state(1, "cls"), outputs.states[1][:, 0])
    torch.testing.assert_close(side.state(1, "mean"), torch.stack([outputs.states[1][0].mean(0), outputs.states[1][1, 0]]))
    with pytest.raises(TypeError, match="no feature maps"):
        side.maps(1)


def test_stored_means_stand_for_the_states() -> None:
    outputs = _texts()
    outputs.means, outputs.states = [torch.randn(2, 4) for _ in range(3)], []
    assert torch.equal(Text().side(outputs, TEXTS).state(1, "mean"), outputs.means[1])
    maps = Outputs(torch.randn(2, 2), torch.randn(2, 4), means=[torch.randn(2, 4), torch.randn(2, 8)])
    side = Image().side(maps, ImageBatch(torch.zeros(2, 3, 8, 8)))
    assert side.layers == Image().layers(2) == 2
    assert torch.equal(side.state(2, "mean"), maps.means[1])


def test_the_texts_of_a_pair_have_a_mean_each() -> None:
    mask = torch.tensor([[True] * 5, [True, True, True, False, False], [True, True, False, False, False]])
    segments = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    outputs = Outputs(torch.randn(3, 2), torch.randn(3, 4), [torch.randn(3, 5, 4) for _ in range(2)])
    side = Text(pair=True).side(outputs, TextBatch(torch.ones(3, 5, dtype=torch.int64), mask, segments))
    read = outputs.states[1]
    wanted = [
        [read[0, :3].mean(0), read[0, 3:].mean(0)],
        [read[1, 0], read[1, 1:3].mean(0)],
        [read[2, :2].mean(0), torch.zeros(4)],  # a tokenizer that does not mark the second text
    ]
    found = side.state(1, "texts")
    torch.testing.assert_close(found, torch.stack([torch.stack(row) for row in wanted]))
    torch.testing.assert_close(side.take(torch.tensor([1])).state(1, "texts"), found[1:2])
    outputs.texts = [torch.randn(3, 2, 4) for _ in range(2)]
    assert torch.equal(side.state(1, "texts"), outputs.texts[1])  # stored


def test_texts_are_compared_token_by_token() -> None:
    student, teacher = Text().side(_texts(), TEXTS), Text().side(_texts(), TEXTS)
    assert torch.equal(student.state_beside(1, "tokens", teacher, 2), student.state(1, "tokens"))
    assert torch.equal(student.mask_beside(1, teacher, 2), MASK)


def test_images_are_compared_on_the_smaller_grid() -> None:
    batch = ImageBatch(torch.zeros(2, 3, 8, 8))
    student = Image().side(Outputs(torch.randn(2, 2), torch.randn(2, 4), [torch.randn(2, 5, 4, 4)]), batch)
    teacher = Image().side(Outputs(torch.randn(2, 2), torch.randn(2, 4), [torch.randn(2, 7, 2, 2)]), batch)
    shrunk = student.state_beside(1, "tokens", teacher, 1)
    assert shrunk.shape == (2, 4, 5)
    for place, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        block = student.maps(1)[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        torch.testing.assert_close(shrunk[:, place], block.mean(dim=(2, 3)))
    assert torch.equal(teacher.state_beside(1, "tokens", student, 1), teacher.maps(1).flatten(2).transpose(1, 2))
    assert student.mask_beside(1, teacher, 1).shape == (2, 4)
    assert student.mask_beside(1, teacher, 1).all()
    torch.testing.assert_close(student.state_beside(1, "mean", teacher, 1), student.maps(1).mean(dim=(2, 3)))
