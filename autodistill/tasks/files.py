"""Datasets in files: one file, a folder of split files, or folders with a file for each row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from autodistill.errors import DataError
from autodistill.tasks.class_folders import (
    IMAGES,
    SPLITS,
    TEXTS,
    UNLABELLED,
    Skipped,
    TextFiles,
    holds_any,
    in_class_folders,
    is_systems,
    train_folder,
)
from autodistill.tasks.source import Info, Source, read_info
from autodistill.tasks.tables import SUFFIXES, Shards, Table, read_table
from autodistill.tasks.text_files import COMPRESSIONS, SAME, kind_of, read_text, stem_of

_PATH = re.compile(rf"({'|'.join(map(re.escape, (*SUFFIXES, *SAME, *COMPRESSIONS, '.txt', '.xls', '.xlsx', '.arrow', '.zip')))})$")

_INFO = "dataset.json"
"""The name of a file that describes the dataset in its folder."""
_FEWEST_TEXTS = 10
"""A folder with fewer texts, in no folder of a class, holds no dataset: programs and sites have a few texts in their folders too."""
_FEW_IMAGES = 2
"""Folders with more than this many texts for each image hold texts; those with fewer hold images, of which a text beside each may tell."""


def holds_rows(path: Path) -> bool:
    """Whether a file of this name is a table or a txt file, which can be read."""
    return kind_of(path) in (*SUFFIXES, ".txt")


def looks_like_path(name: str) -> bool:
    """Whether a name can only be a path, even if it does not exist."""
    return name.startswith((".", "~", "/")) or _PATH.search(name.lower()) is not None


def open_path(path: Path, *, own: bool = True) -> Source:
    """Open a file or folder. own: False for files that are not the user's, see `Source`.

    Raises:
        DataError: there is nothing there that can be read as a dataset.
    """
    path = path.resolve() if not path.name else path  # so that "." has a name too
    if path.is_file():
        return Source(Info(stem_of(path)), {"all": _lines(path) if kind_of(path) == ".txt" else read_table(path)}, own)
    if not path.is_dir():
        raise DataError(f"{path} is neither a file nor a folder; give the path of a dataset")
    if path == path.parent:
        raise DataError(f"{path} is the root of all folders; give the path of a dataset")
    try:
        return _open_folder(path, own)
    except OSError as cause:
        raise DataError(f"folder {path} cannot be read: {cause.filename or path}: {cause.strerror or cause}") from None


def _open_folder(path: Path, own: bool) -> Source:
    info = read_info(path / _INFO, path.name) if (path / _INFO).is_file() else Info(path.name)
    own = own and not info.about
    inside = [item for folder in (path, path / "data") if folder.is_dir() for item in sorted(folder.iterdir())]
    system = [item for item in inside if is_systems(item.name)]
    files = [item for item in inside if item.is_file() and item not in system and not item.name.startswith("_")
             and kind_of(item) in SUFFIXES and stem_of(item).lower() not in UNLABELLED]  # fmt: skip
    # a .json file may be anything; it is read as a table if it is named like a split
    files = [item for item in files if kind_of(item) != ".json" or _split_of(item)]
    if files:
        return Source(info, _by_split(path, files), own, Skipped(system=system).notes(path), unlabelled=_unlabelled(path))
    skipped = Skipped(IMAGES, list(system))
    tables, notes = in_class_folders(path, info, skipped)
    loose = len(skipped.outside)
    texts = sum(map(TEXTS.holds_row, skipped.unread))
    if texts > _FEW_IMAGES * sum(table.rows for table in tables.values()):  # some images among texts, not a text beside each image
        skipped_by_texts = Skipped(TEXTS, list(system))
        of_texts = in_class_folders(path, info, skipped_by_texts)
        if of_texts[0]:
            skipped, (tables, notes) = skipped_by_texts, of_texts
    if not tables:
        skipped_by_texts = Skipped(TEXTS, list(system))
        beside = [item for item in inside if item.parent == path and item.is_file() and not is_systems(item.name) and item.name != _INFO]
        loose_texts = [item for item in beside if TEXTS.holds_row(item)]
        if len(loose_texts) >= max(_FEWEST_TEXTS, len(beside) / 2):
            skipped_by_texts.unread += [item for item in beside if not TEXTS.holds_row(item)]
            skipped, tables = skipped_by_texts, {"all": TextFiles(path, loose_texts)}
    if tables:
        unlabelled = _unlabelled(path, skipped)  # before the notes, of which it makes one
        return Source(info, tables, own, (*notes, *skipped.notes(path)), unlabelled=unlabelled)
    raise DataError(
        f"folder {path} holds no dataset; allowed: train/validation/test files ({', '.join(SUFFIXES)}), one such file, a folder of images "
        f"or of text files for each class ({path.name}/CLASS/*.png, or {path.name}/train/CLASS/*.txt and so on), or a table of images "
        f"(file,label)." + (f" Its {loose:,} images are in no folder of a class, and no table names them." if loose else "")
    )


def _split_of(file: Path) -> str | None:
    return SPLITS.get(re.split(r"[-_.]", stem_of(file).lower())[0])


def _unlabelled(path: Path, skipped: Skipped | None = None) -> tuple[str, ...]:
    """The files and folders with rows without labels in a dataset's folder, beside train or in it.

    skipped: where the rows are files of their own, of which kind; folders without any are added to it.
    """
    folders = [folder for folder in (path, path / "data", train_folder(path)) if folder is not None and folder.is_dir()]
    places = [item for folder in folders for item in sorted(folder.iterdir())]
    places = [item for item in places if stem_of(item).lower() in UNLABELLED and (item.is_dir() or holds_rows(item))]
    if skipped is not None:
        empty = [item for item in places if item.is_dir() and not holds_any(item, skipped.kind)]
        skipped.empty += empty
        places = [item for item in places if item not in empty]
    return tuple(str(item.absolute()) for item in places)


def read_texts(path: Path) -> list[str]:
    """The lines of a txt file.

    Raises:
        DataError: it cannot be read as text.
    """
    return read_text(path).splitlines()


def _lines(path: Path) -> Table:
    """A txt file as a table: each line that is not blank is a text."""
    lines = [(number, line) for number, line in enumerate(read_texts(path), 1) if line.strip()]
    return Table(str(path), {"text": [line for _, line in lines]}, lines=[number for number, _ in lines], typed=False)


def _by_split(path: Path, files: Sequence[Path]) -> dict[str, Table]:
    by_split: dict[str, list[Path]] = {}
    for file in files:
        split = _split_of(file)
        if split:
            by_split.setdefault(split, []).append(file)
    if not by_split:
        if len(files) > 1:
            raise DataError(
                f"folder {path} holds several files and none is named for a split ({', '.join(file.name for file in files[:6])}); "
                "name them train, validation and test, or give the path of one of them"
            )
        return {"all": read_table(files[0])}
    if "train" not in by_split:
        raise DataError(
            f"folder {path} has {', '.join(file.name for file in files[:6])} but no train file; name one train{files[0].suffix}"
        )
    for split, paths in by_split.items():
        if len({(file.parent, kind_of(file)) for file in paths}) > 1 or (
            len(paths) > 1 and any(stem_of(file).lower() in SPLITS for file in paths)
        ):
            raise DataError(
                f"folder {path} has more than one {split} split: {', '.join(str(file.relative_to(path)) for file in paths)}; keep one"
            )
    tables = {split: [read_table(file) for file in paths] for split, paths in by_split.items()}
    return {split: parts[0] if len(parts) == 1 else Shards(parts) for split, parts in tables.items()}
