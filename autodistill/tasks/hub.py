"""Datasets of the Hugging Face hub, through the `datasets` library, copied once into the cache folder."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from autodistill.errors import DataError
from autodistill.tasks.catalog import MIRRORS, HubEntry
from autodistill.tasks.class_folders import UNLABELLED
from autodistill.tasks.files import open_path
from autodistill.tasks.kept import kept
from autodistill.tasks.source import Info, Source

TIMEOUT = 6.0
"""How many seconds the hub has to answer each of the first requests."""


def hub_entry(name: str) -> HubEntry | None:
    """The entry for `owner/name` or `owner/name:config`; None for a name that is no hub id."""
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?::([\w.-]+))?", name)
    return HubEntry(match[1], match[2], Info(name)) if match else None


def open_hub(entry: HubEntry) -> Source:
    """Open a dataset of the hub; from the cache folder if it was fetched before.

    Raises:
        DataError: there is no network, no answer in time or no such dataset, it is private or gated, or nothing in it can be read.
    """
    folder = kept(entry.info.name, lambda aside: _fetch(entry, aside))
    source = open_path(folder, own=False)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    notes = [f"from the hub: {_title(entry)}, revision {about['revision']}; kept in {folder}, delete that to fetch it again"]
    if about["not_used"]:
        notes.append(f"splits of the hub that are not used: {', '.join(about['not_used'])}")
    return replace(source, info=entry.info, notes=tuple(notes))


def _title(entry: HubEntry) -> str:
    return f"{entry.repo}, configuration {entry.config}" if entry.config else entry.repo


def _fetch(entry: HubEntry, folder: Path) -> None:
    """Download with `datasets` and write a parquet file for each of our splits."""
    with _explained(entry):
        import datasets
        from huggingface_hub import constants

        revision = None if constants.HF_HUB_OFFLINE else _probe(entry.repo)  # offline, `datasets` uses its own cache
        if not sys.stderr.isatty():
            datasets.disable_progress_bars()
        splits = datasets.load_dataset(entry.repo, entry.config, revision=revision)
        ours: dict[str, str] = {}
        for name in splits:
            split = UNLABELLED[0] if str(name) in UNLABELLED else entry.splits.get(str(name))
            if split is not None and split not in ours:
                ours[split] = str(name)
        if "train" not in ours:
            raise DataError(f"hub dataset {_title(entry)} has no train split; its splits are {', '.join(map(str, splits))}")
        for split, name in ours.items():
            table = splits[name]
            for column, feature in table.features.items():
                if isinstance(feature, datasets.Image):
                    table = table.cast_column(column, datasets.Image(decode=False))
            table.to_parquet(str(folder / f"{split}.parquet"))
        about = {"revision": revision or "of the datasets cache", "not_used": [str(name) for name in splits if name not in ours.values()]}
        (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _probe(repo: str) -> str | None:
    """The revision of a dataset, by two quick requests. If they go unanswered, `datasets` would repeat them for minutes.

    The second one asks for a byte of a file, because files may be on other hosts, and gated datasets only refuse there.
    """
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    info = HfApi().dataset_info(repo, timeout=TIMEOUT)
    names = sorted((item.rfilename for item in info.siblings or ()), key=lambda name: not name.endswith(".parquet"))
    if names:
        url = hf_hub_url(repo, names[0], repo_type="dataset", revision=info.sha)
        headers = build_hf_headers() | {"Range": "bytes=0-0"}
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as response:
            hf_raise_for_status(response)
    return info.sha


@contextlib.contextmanager
def _explained(entry: HubEntry) -> Iterator[None]:
    """Turn the exceptions of the hub's libraries into a message with a way out."""
    import httpx2
    from datasets.exceptions import DatasetsError
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    what = f"hub dataset {entry.repo} ({constants.ENDPOINT})"
    log_in = "log in (`hf auth login`, or set HF_TOKEN)"
    instead = f"a local copy works without the hub: put train.parquet and so on into a folder NAME and name its parent in {MIRRORS}"
    try:
        yield
    except GatedRepoError:
        message = f"{what} is gated: ask for access on its page, then {log_in}"
    except RepositoryNotFoundError:
        message = f"{what} does not exist or is private: check the spelling of the id; for a private one {log_in}"
    except httpx2.TimeoutException:
        message = f"{what} did not answer within {TIMEOUT:g} s: try again later; or {instead}"
    except HfHubHTTPError as cause:
        status = cause.response.status_code
        message = f"{what} answered with the error {status}: try again later; or {instead}"
        if status in (401, 403):
            message = f"{what} refuses access ({status}): with a token that may read it, {log_in}"
    except (OfflineModeIsEnabled, httpx2.TransportError, ConnectionError) as cause:
        message = f"{what} cannot be reached ({_first_line(cause)}): check the network; or {instead}"
        if constants.HF_HUB_OFFLINE:
            message = f"{what} is not in the cache of `datasets` and HF_HUB_OFFLINE forbids to fetch it: unset that; or {instead}"
    except (DatasetsError, ValueError, RuntimeError, FileNotFoundError) as cause:
        way_out = " (a configuration is named after a colon: owner/name:config)" if "onfig" in str(cause) else ""
        message = f"{what} cannot be read by `datasets`: {_first_line(cause)}{way_out}"
    else:
        return
    raise DataError(message)


def _first_line(cause: BaseException) -> str:
    return f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
