"""Frozen features of texts and images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_teacher import save_bert
from transformers import AutoModel, AutoTokenizer

from autodistill.features import frozen
from autodistill.features.frozen import Encoder, combined, gradients, shrunk


def test_texts_are_embedded_by_the_mean_of_their_last_states(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "bert")
    texts = ["the good film", "a bad plot the end", "the good film", "music"]
    embedded = Encoder(str(folder)).embed(texts)
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for text, row in zip(texts, embedded, strict=True):
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)


def test_pieces_are_counted_without_special_tokens(tmp_path: Path) -> None:
    assert Encoder(str(save_bert(tmp_path / "bert"))).pieces(["the good film", "", "films"]).tolist() == [3, 0, 2]


def test_long_texts_are_cut_so_that_the_measurement_stays_short(monkeypatch: pytest.MonkeyPatch) -> None:
    assert frozen._cut(np.array([10, 20, 500]), 128) == 128
    lengths = np.full(3000, 400)
    assert frozen._cut(lengths, 128) == frozen.TOKENS // 3000
    assert frozen._cut(np.full(100_000, 400), 128) == 16
    assert frozen._cut(lengths, 12) == 12


def test_combined() -> None:
    a, b = np.array([[1.0, -2.0]]), np.array([[3.0, 1.0]])
    assert combined(a, b).tolist() == [[1, -2, 3, 1, 2, 3, 3, -2]]


def test_images_are_shrunk_by_means() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    small = shrunk(images, 32)
    assert small.shape == (2, 32, 32, 3)
    np.testing.assert_allclose(small[1, 3, 5], images[1, 6:8, 10:12].reshape(4, 3).mean(0) / 255, rtol=1e-5)
    assert shrunk(images[:, :16, :16], 32).shape == (2, 16, 16, 3)


@pytest.mark.parametrize(("edge", "orientations"), [("vertical", {0}), ("horizontal", {4, 5})])
def test_an_edge_has_its_orientation(edge: str, orientations: set[int]) -> None:
    image = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    if edge == "vertical":
        image[:, :, 14:] = 200
    else:
        image[:, 14:] = 200
    blocks = gradients(image)[0, : 7 * 7 * 4 * 9].reshape(7, 7, 4, 9)
    assert set(np.unique(np.nonzero(blocks)[3])) == orientations
    assert np.linalg.norm(blocks.reshape(49, 36), axis=1).max() <= 1
    np.testing.assert_allclose(gradients(255 - image)[0, : 49 * 36], blocks.ravel(), atol=1e-6)  # unsigned: light on dark is dark on light


def test_mean_colours_close_the_row() -> None:
    image = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    image[0, :16, :16] = (255, 51, 0)
    colours = gradients(image)[0, -48:].reshape(4, 4, 3)
    np.testing.assert_allclose(colours[0, 0], [1, 0.2, 0], atol=1e-6)
    assert colours.sum() == pytest.approx(1.2)
