"""Datasets that lie in files: one file, a folder of split files, or folders of images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from autodistill.errors import DataError
from autodistill.tasks.source import Info, Source, read_info
from autodistill.tasks.tables import SUFFIXES, Shards, Table, read_table

SPLITS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What files and folders of a split may be called."""
UNLABELLED = ("unlabelled", "unlabeled")
"""What a file or folder of rows without labels may be called, beside train."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def looks_like_path(name: str) -> bool:
    """Whether a name can only be meant as a path, be it there or not."""
    return name.startswith((".", "~", "/")) or bool(re.search(r"\.(csv|tsv|jsonl|json|parquet|txt|xlsx?|arrow|zip|gz)$", name.lower()))


def open_path(path: Path, *, own: bool = True) -> Source:
    """Open a file or folder; `own` is False for what was not made by the user, see `Source`.

    Raises:
        DataError: there is nothing that can be read as a dataset.
    """
    path = path.resolve() if not path.name else path  # "." has a name too
    if path.is_file():
        table = read_table(path)
        return Source(Info(path.stem), {"all": table}, own)
    info = read_info(path / "dataset.json", path.name) if (path / "dataset.json").is_file() else Info(path.name)
    own = own and not info.about
    files = sorted(item for folder in (path, path / "data") if folder.is_dir() for item in folder.iterdir()
                   if item.is_file() and item.suffix.lower() in SUFFIXES and not item.name.startswith((".", "_"))
                   and item.stem.lower() not in UNLABELLED)  # fmt: skip
    if files:
        return Source(info, _by_split(path, files), own, unlabelled=_unlabelled(path))
    tables = _images(path)
    if tables:
        return Source(info, tables, own, unlabelled=_unlabelled(path))
    raise DataError(
        f"folder {path} holds no dataset; allowed: train/validation/test files ({', '.join(SUFFIXES)}), one such file, "
        f"or a folder of images for each class ({path.name}/CLASS/*.png, or {path.name}/train/CLASS/*.png and so on)"
    )


def _unlabelled(path: Path) -> tuple[str, ...]:
    """The files and folders of a dataset's folder that hold rows without labels."""
    kinds = (*SUFFIXES, ".txt")
    places = [item for folder in (path, path / "data") if folder.is_dir() for item in sorted(folder.iterdir())]
    return tuple(
        str(item.absolute()) for item in places if item.stem.lower() in UNLABELLED and (item.is_dir() or item.suffix.lower() in kinds)
    )


def read_texts(path: Path) -> list[str]:
    """The lines of a txt file.

    Raises:
        DataError: it is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as cause:
        raise DataError(f"{path} is not UTF-8 text (byte {cause.start}); save it with the encoding UTF-8") from None


def _by_split(path: Path, files: Sequence[Path]) -> dict[str, Table]:
    by_split: dict[str, list[Path]] = {}
    for file in files:
        split = SPLITS.get(re.split(r"[-_.]", file.stem.lower())[0])
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
        if len({(file.parent, file.suffix.lower()) for file in paths}) > 1 or (
            len(paths) > 1 and any(file.stem.lower() in SPLITS for file in paths)
        ):
            raise DataError(
                f"folder {path} has more than one {split} split: {', '.join(str(file.relative_to(path)) for file in paths)}; keep one"
            )
    tables = {split: [read_table(file) for file in paths] for split, paths in by_split.items()}
    return {split: parts[0] if len(parts) == 1 else Shards(parts) for split, parts in tables.items()}


def _images(path: Path) -> dict[str, Table]:
    folders = sorted(
        item for item in path.iterdir() if item.is_dir() and not item.name.startswith(".") and item.name.lower() not in UNLABELLED
    )
    splits: dict[str, Path] = {}
    for folder in folders:
        split = SPLITS.get(folder.name.lower())
        if split and split in splits:
            raise DataError(f"folder {path} has more than one {split} split: {splits[split].name}, {folder.name}; keep one")
        if split:
            splits[split] = folder
    if "train" in splits:
        tables = {split: table for split, folder in splits.items() if (table := _class_folders(folder))}
        if "train" not in tables:
            raise DataError(f"folder {splits['train']} holds no images in class folders ({', '.join(IMAGE_SUFFIXES)})")
        return tables
    table = _class_folders(path)
    return {"all": table} if table else {}


def _class_folders(path: Path) -> Table | None:
    files = sorted(file for folder in path.iterdir()
                   if folder.is_dir() and not folder.name.startswith(".") and folder.name.lower() not in UNLABELLED
                   for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."))  # fmt: skip
    if not files:
        return None
    return ImageFolder(path, files)


class ImageFolder(Table):
    """Images in a folder for each class; a row's place is its file."""

    def __init__(self, path: Path, files: list[Path]) -> None:
        labels = [file.relative_to(path).parts[0] for file in files]
        super().__init__(str(path), {"image": [str(file) for file in files], "label": labels}, folder=path)
        self._files = files

    def place(self, row: int) -> str:
        return str(self._files[row].relative_to(self.name))
