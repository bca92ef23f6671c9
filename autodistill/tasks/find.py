"""Finds a dataset by name: as a path, in a local mirror, in the catalog, on the hub; or explains where it looked."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

from autodistill.errors import DataError
from autodistill.storage import user_path
from autodistill.tasks.catalog import HUB, MIRRORS, OFFLINE, catalog, mirror_folders
from autodistill.tasks.files import looks_like_path, open_path
from autodistill.tasks.source import Source, renamed


def find(name: str) -> Source:
    """Open a dataset by name: path, mirrors, catalog, hub.

    Raises:
        DataError: it is not found (the message says where we looked), or cannot be read.
    """
    if not name.strip():
        raise DataError("the dataset's name is empty; give a path, or a name that `autodistill datasets` lists")
    path = user_path(name, DataError)
    if path.exists():
        return _path(path, name)
    if looks_like_path(name):
        raise DataError(f"there is no file or folder {name}" + ("" if path.is_absolute() else f" (looked in {Path.cwd()})"))
    for folder in mirror_folders():
        if (folder / name).is_dir():
            place = None if folder.is_absolute() else str((folder / name).absolute())
            return replace(renamed(open_path(folder / name), name), place=place)
    if name in OFFLINE:
        from autodistill.tasks.offline import OPENERS

        return renamed(OPENERS[name](), name)
    from autodistill.tasks.hub import hub_entry, open_hub

    entry = HUB.get(name) or hub_entry(name)
    if entry is None:
        raise DataError(_nowhere(name))
    try:
        return open_hub(entry)
    except DataError as cause:
        raise DataError(f"dataset {name!r}: {_looked(name)}; {cause}") from None


def _path(path: Path, name: str) -> Source:
    in_catalog = name in {entry.name for entry in catalog()}
    try:
        source = replace(open_path(path), place=str(path.absolute()))
    except DataError as cause:
        if in_catalog:
            raise DataError(
                f"{str(cause).removesuffix('.')}. ({name} was taken as the path {path.absolute()}, which comes before the dataset of "
                "that name)"
            ) from None
        raise
    note = f"{name} is the path {path.absolute()} here, not the dataset of that name in `autodistill datasets`"
    return replace(source, notes=(*source.notes, note)) if in_catalog else source


def _looked(name: str) -> str:
    """The places that were tried before the hub."""
    folders = ", ".join(map(str, mirror_folders())) or "not set"
    return f"there is no path {name} in {Path.cwd()}; no folder {name} in {MIRRORS} ({folders})"


def _nowhere(name: str) -> str:
    names = [entry.name for entry in catalog()]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return (
        f"there is no dataset {name!r}. Tried: {_looked(name)}; the catalog ({', '.join(names)}); "
        f"the hub (its ids look like owner/name or owner/name:config).{guess}"
    )
