"""Datasets in files: one file, a folder of split files, or folders of images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autodistill.cache import MANIFEST
from autodistill.errors import DataError, listed
from autodistill.tasks.source import Info, Source, read_info
from autodistill.tasks.tables import SUFFIXES, Shards, Table, read_table
from autodistill.tasks.text_files import COMPRESSIONS, SAME, kind_of, read_text, stem_of

SPLITS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""The names that files and folders of a split may have."""
UNLABELLED = ("unlabelled", "unlabeled", "unsupervised", "unsup")
"""The names that a file or folder of rows without labels, beside train, may have."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff")
METADATA = "metadata"
"""The name, without suffix, of a table of a split's images."""
SYSTEM = ("__macosx", "thumbs.db", "desktop.ini", "thumbnails", "@eadir")
"""Files that systems and viewers leave in folders, in lower case. Names that begin with a dot are ignored too."""
_PATH = re.compile(rf"({'|'.join(map(re.escape, (*SUFFIXES, *SAME, *COMPRESSIONS, '.txt', '.xls', '.xlsx', '.arrow', '.zip')))})$")


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
    info = read_info(path / "dataset.json", path.name) if (path / "dataset.json").is_file() else Info(path.name)
    own = own and not info.about
    inside = [item for folder in (path, path / "data") if folder.is_dir() for item in sorted(folder.iterdir())]
    skipped = Skipped([item for item in inside if is_systems(item.name)])
    files = [item for item in inside if item.is_file() and item not in skipped.system and not item.name.startswith("_")
             and kind_of(item) in SUFFIXES and stem_of(item).lower() not in UNLABELLED]  # fmt: skip
    # a .json file may be anything; it is read as a table if it is named like a split
    files = [item for item in files if kind_of(item) != ".json" or _split_of(item)]
    if files:
        return Source(info, _by_split(path, files), own, skipped.notes(path), unlabelled=_unlabelled(path))
    tables, notes = _images(path, info, skipped)
    if tables:
        return Source(info, tables, own, (*notes, *skipped.notes(path)), unlabelled=_unlabelled(path))
    raise DataError(
        f"folder {path} holds no dataset; allowed: train/validation/test files ({', '.join(SUFFIXES)}), one such file, a folder of images "
        f"for each class ({path.name}/CLASS/*.png, or {path.name}/train/CLASS/*.png and so on), or a table of images (file,label)."
        f"{_instead(path, skipped)}"
    )


def _instead(path: Path, skipped: Skipped) -> str:
    """What a folder that holds no dataset has instead, if this can be told."""
    if skipped.outside:
        return f" Its {len(skipped.outside):,} images are in no folder of a class, and no table names them."
    if any(kind_of(file) == ".txt" for file in skipped.unread):
        return " It has text files in folders: write them into one table, a row for each file, with the columns text and label."
    return ""


def is_systems(name: str) -> bool:
    """Whether a file or folder with this name belongs to the system, an editor or a viewer, not to a dataset."""
    return name.startswith(".") or name.lower() in SYSTEM


@dataclass
class Skipped:
    """What lies in a dataset's folder and is no part of it.

    system: of systems and viewers. unread: files among the images that are no images of a kind that is read. outside: images that are in
    no folder of a class. empty: folders of classes without images.
    """

    system: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    outside: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)

    def notes(self, path: Path) -> tuple[str, ...]:
        """A note for each kind that there is. path: the dataset's folder."""
        kinds = {
            "ignored, as files of the system or of a viewer": [item for item in self.system if item.name != MANIFEST],
            f"files not used, which are no images ({', '.join(IMAGE_SUFFIXES)})": self.unread,
            "images not used, which are in no folder of a class": self.outside,
            "folders not used, which hold no images": self.empty,
        }
        names = {what: [str(item.relative_to(path)) for item in dict.fromkeys(items)] for what, items in kinds.items()}
        return tuple(f"{what}: {listed(items)}" for what, items in names.items() if items)


def _split_of(file: Path) -> str | None:
    return SPLITS.get(re.split(r"[-_.]", stem_of(file).lower())[0])


def _unlabelled(path: Path) -> tuple[str, ...]:
    """The files and folders with rows without labels in a dataset's folder."""
    places = [item for folder in (path, path / "data") if folder.is_dir() for item in sorted(folder.iterdir())]
    return tuple(str(item.absolute()) for item in places if stem_of(item).lower() in UNLABELLED and (item.is_dir() or holds_rows(item)))


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


def _images(path: Path, info: Info, skipped: Skipped) -> tuple[dict[str, Table], list[str]]:
    """The splits of a folder of images, and notes. skipped: what is not used is added to it."""
    folders = _folders(path)
    splits: dict[str, Path] = {}
    for folder in folders:
        split = SPLITS.get(folder.name.lower())
        if split and split in splits and _folders(folder):
            raise DataError(f"folder {path} has more than one {split} split: {splits[split].name}, {folder.name}; keep one")
        if split:
            splits[split] = folder
    if "train" not in splits or _are_classes(path, info, folders, splits):
        table = _class_folders(path, skipped)
        return ({"all": table} if table else {}), []
    files = {split: file for split, folder in splits.items() if (file := _metadata_file(folder))}
    tables = {split: read_table(file) for split, file in files.items()}
    tables |= {split: table for split, folder in splits.items() if split not in tables and (table := _class_folders(folder, skipped))}
    if "train" not in tables:
        raise DataError(
            f"folder {splits['train']} holds no images in class folders ({', '.join(IMAGE_SUFFIXES)}), and no table of them "
            f"({METADATA}.csv with the columns file_name and label).{_instead(path, skipped)}"
        )
    unused = [folder.name for folder in folders if folder not in [splits[split] for split in tables]]
    return tables, [f"folders not used, which hold no split with class folders: {', '.join(unused)}"] if unused else []


def _are_classes(path: Path, info: Info, folders: Sequence[Path], splits: dict[str, Path]) -> bool:
    """Whether folders named like splits are classes: they hold images, not folders, and there are other classes beside them.

    Raises:
        DataError: they may be splits or classes.
    """
    if any(_folders(folder) or _metadata_file(folder) for folder in splits.values()) or not any(map(_has_images, splits.values())):
        return False
    if len(folders) > len(splits) or set(info.classes or ()) == {folder.name for folder in folders}:
        return True
    names = ", ".join(folder.name for folder in splits.values())
    raise DataError(
        f"folder {path} has the folders {names}, which hold images and no folders of classes: are they splits or classes? "
        f"If they are splits, put the images into a folder for each class ({path.name}/train/CLASS/*.png); if they are classes, name them "
        f'in {path / "dataset.json"}: {{"classes": {json.dumps([folder.name for folder in folders])}}}'
    )


def _folders(path: Path) -> list[Path]:
    """The folders in a folder that may belong to a dataset."""
    return sorted(item for item in path.iterdir() if item.is_dir() and not is_systems(item.name) and item.name.lower() not in UNLABELLED)


def _has_images(path: Path) -> bool:
    return any(ends_like_image(item) for item in path.iterdir())


def ends_like_image(file: Path) -> bool:
    """Whether a file has the name of an image that we read."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not is_systems(file.name)


def _metadata_file(path: Path) -> Path | None:
    """The table of the images in a split's folder, as `datasets` names it; None if there is none."""
    return next((file for suffix in SUFFIXES if (file := path / f"{METADATA}{suffix}").is_file()), None)


def _class_folders(path: Path, skipped: Skipped) -> Table | None:
    """The images in a folder for each class. skipped: what is not used is added to it."""
    skipped.system += [item for item in sorted(path.iterdir()) if is_systems(item.name)]
    skipped.outside += [item for item in sorted(path.iterdir()) if item.is_file() and ends_like_image(item)]
    by_folder = {folder: list(images_in(folder, skipped)) for folder in _folders(path)}
    skipped.empty += [folder for folder, images in by_folder.items() if not images]
    files = sorted(file for images in by_folder.values() for file in images)
    labels = [file.relative_to(path).parts[0] for file in files]
    return ImageFiles(path, files, label=labels) if files else None


def images_in(folder: Path, skipped: Skipped) -> Iterator[Path]:
    """The images in a folder and in the folders inside it. skipped: other files are added to it."""
    for item in sorted(folder.iterdir()):
        if is_systems(item.name):
            skipped.system.append(item)
        elif item.is_dir() and not item.is_symlink():  # a link may lead back to a folder above
            yield from images_in(item, skipped)
        elif ends_like_image(item):
            yield item
        else:
            skipped.unread.append(item)


class ImageFiles(Table):
    """Images in a folder; a row's place is its file. columns: further ones, of a value for each file."""

    def __init__(self, path: Path, files: Sequence[Path], **columns: list[str]) -> None:
        images = [str(file.relative_to(path)) for file in files]
        super().__init__(str(path), {"image": images, **columns}, folder=path)
        self._images = images

    def place(self, row: int) -> str:
        return self._images[row]
