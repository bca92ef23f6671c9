from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_teacher import image_dataset, save_tokenizer, texts

from autodistill.errors import DataError, ModelError
from autodistill.models.image import EncodedImages
from autodistill.models.text import encode_split, load_tokenizer
from autodistill.storage import new_tensors


@pytest.mark.parametrize("pairs", [False, True])
def test_batches_are_what_the_tokenizer_pads_itself(tmp_path: Path, pairs: bool) -> None:
    tokenizer = save_tokenizer(tmp_path / "tok")
    lines, _ = texts(50)
    others = lines[::-1] if pairs else None
    encoded = encode_split(lines, others, tokenizer, max_length=12)
    rows = torch.tensor([7, 3, 49, 0, 3])
    batch = encoded.batch(rows)
    expected = tokenizer(
        [lines[row] for row in rows],
        None if others is None else [others[row] for row in rows],
        truncation=True,
        max_length=12,
        padding=True,
        return_tensors="pt",
    )
    assert torch.equal(batch.ids, expected["input_ids"])
    assert torch.equal(batch.mask, expected["attention_mask"].bool())
    assert torch.equal(batch.segments, expected["token_type_ids"])
    assert batch.segments.any() == pairs
    assert encoded.lengths.max() == 12  # some were cut


def test_encoded_once_and_mapped_by_everyone(tmp_path: Path, isolated_cache: Path) -> None:
    tokenizer = save_tokenizer(tmp_path / "tok")
    lines, _ = texts(20)
    first = encode_split(lines, None, tokenizer, 16)
    files = sorted((isolated_cache / "encoded").rglob("*.safetensors"))
    stamp = files[0].stat().st_mtime_ns
    again = encode_split(lines, None, load_tokenizer(tmp_path / "tok"), 16)
    assert again.fingerprint == first.fingerprint
    assert files[0].stat().st_mtime_ns == stamp
    assert len({encode_split(*case, 16).fingerprint for case in [(lines[1:], None, tokenizer), (lines, lines, tokenizer)]}) == 2
    assert encode_split(lines, None, tokenizer, 8).fingerprint != first.fingerprint
    # The same characters cut into other rows are other texts.
    cuts = (["good film", "end"], ["good", "film end"])
    assert len({encode_split(cut, None, tokenizer, 8).fingerprint for cut in cuts}) == 2


def test_a_fingerprint_does_not_depend_on_what_the_tokenizer_did_before(tmp_path: Path) -> None:
    tokenizer = save_tokenizer(tmp_path / "tok")
    before = encode_split(["good film"], None, tokenizer, 8).fingerprint
    tokenizer(["a"], padding="max_length", max_length=32, truncation=True)
    assert encode_split(["good film"], None, tokenizer, 8).fingerprint == before


def test_pairs_must_be_as_many_as_texts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 texts have 1 pairs"):
        encode_split(["a", "b"], ["a"], save_tokenizer(tmp_path), 8)


def test_a_folder_without_tokenizer_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(tmp_path)


def test_reading_maps_the_file(tmp_path: Path) -> None:
    """Opening a large encoding takes no memory of its own for it."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    path = tmp_path / "big.safetensors"
    with new_tensors(path, {"ids": ("int32", (20_000_000,))}) as arrays:
        arrays["ids"][-1] = 7
    del arrays
    before = resident()
    ids = load_file(path)["ids"]
    assert int(ids[-1]) == 7
    assert resident() - before < 20_000_000  # of 80 MB


def test_images_are_normalised_channel_by_channel() -> None:
    images = image_dataset().train.images
    assert images is not None
    encoded = EncodedImages(images, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    pixels = encoded.batch(torch.tensor([5, 2])).pixels
    mean, std = np.array(encoded.mean)[:, None, None], np.array(encoded.std)[:, None, None]
    expected = (images[[5, 2]].transpose(0, 3, 1, 2) / 255 - mean) / std
    np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-5)
    assert EncodedImages(images).fingerprint != encoded.fingerprint
