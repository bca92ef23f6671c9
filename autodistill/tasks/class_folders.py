"""Datasets with a file for each row, an image or a text, in a folder for each class: CLASS/1.png, or train/CLASS/1.txt and so on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autodistill.cache import MANIFEST
from autodistill.errors import DataError, listed
from autodistill.tasks.source import Info
from autodistill.tasks.tables import SUFFIXES, Table, read_table
from autodistill.tasks.text_files import kind_of, read_text, stem_of

SPLITS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""The names that files and folders of a split may have."""
UNLABELLED = ("unlabelled", "unlabeled", "unsupervised", "unsup")
"""The names that a file or folder of rows without labels, beside train or in it, may have."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff")
METADATA = "metadata"
"""The name, without suffix, of a table of a split's images."""
SYSTEM = ("__macosx", "thumbs.db", "desktop.ini", "thumbnails", "@eadir")
"""Files that systems and viewers leave in folders, in lower case. Names that begin with a dot are ignored too."""
_NUMBERED = re.compile(r"\.(\d+|[0-9a-f]{16,})$")
"""A suffix that counts files, and says nothing of their kind."""
_SHOWN = 3


class _FileEach(Table):
    """Rows of a file each, in a folder; a row's place is its file. values: of the column. columns: further ones."""

    def __init__(self, path: Path, files: Sequence[Path], column: str, values: list[str], **columns: list[str]) -> None:
        super().__init__(str(path), {column: values, **columns}, folder=path)
        self._path, self._files = path, files

    def place(self, row: int) -> str:
        return str(self._files[row].relative_to(self._path))


class ImageFiles(_FileEach):
    """Images in a folder. columns: further ones, of a value for each file."""

    def __init__(self, path: Path, files: Sequence[Path], **columns: list[str]) -> None:
        super().__init__(path, files, "image", [str(file.relative_to(path)) for file in files], **columns)


class TextFiles(_FileEach):
    """Texts in a folder. columns: further ones, of a value for each file.

    Raises:
        DataError: a file cannot be read as text.
    """

    is_file_each = True

    def __init__(self, path: Path, files: Sequence[Path], **columns: list[str]) -> None:
        texts: list[str] = []
        unread: list[DataError] = []
        for file in files:
            try:
                texts.append(read_text(file))
            except DataError as cause:
                unread.append(cause)
        if unread:
            told = "; ".join(map(str, unread[:_SHOWN]))
            raise DataError(f"{len(unread):,} of the {len(files):,} text files in {path} cannot be read: {told}")
        super().__init__(path, files, "text", texts, **columns)


@dataclass(frozen=True)
class RowFiles:
    """A kind of file that is a row. what: several, for people. names: of such files, for people. holds_row: by a file's name."""

    what: str
    names: str
    holds_row: Callable[[Path], bool]
    table: type[ImageFiles] | type[TextFiles]


def is_systems(name: str) -> bool:
    """Whether a file or folder with this name belongs to the system, an editor or a viewer, not to a dataset."""
    return name.startswith(".") or name.lower() in SYSTEM


def ends_like_image(file: Path) -> bool:
    """Whether a file has the name of an image that we read."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not is_systems(file.name)


def _ends_like_text(file: Path) -> bool:
    """Whether a file has the name of one that may hold a text. Collections of posts and mails often have numbers as names or suffixes
    (51121, 1., mail.3), and digests as suffixes (00001.7c53336b37003a9286aba55d2945844c).
    """
    return (kind_of(file) in (".txt", "", ".") or _NUMBERED.search(file.name) is not None) and not is_systems(file.name)


IMAGES = RowFiles("images", ", ".join(IMAGE_SUFFIXES), ends_like_image, ImageFiles)
TEXTS = RowFiles("texts", ".txt, a number, or no suffix", _ends_like_text, TextFiles)


@dataclass
class Skipped:
    """What lies in a dataset's folder and is no part of it.

    kind: of the dataset's rows. system: files of systems and viewers. unread: files among the rows that are of no kind that is read.
    outside: rows that are in no folder of a class. empty: folders of classes without rows.
    """

    kind: RowFiles = IMAGES
    system: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    outside: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)

    def notes(self, path: Path) -> tuple[str, ...]:
        """A note for each kind that there is. path: the dataset's folder."""
        what = self.kind.what
        kinds = {
            "ignored, as files of the system or of a viewer": [item for item in self.system if item.name != MANIFEST],
            f"files not used, which are no {what} ({self.kind.names})": self.unread,
            f"{what} not used, which are in no folder of a class": self.outside,
            f"folders not used, which hold no {what}": self.empty,
        }
        names = {told: [str(item.relative_to(path)) for item in dict.fromkeys(items)] for told, items in kinds.items()}
        return tuple(f"{told}: {listed(items)}" for told, items in names.items() if items)


def in_class_folders(path: Path, info: Info, skipped: Skipped) -> tuple[dict[str, Table], list[str]]:
    """The splits of a folder with a file for each row, and notes. No splits if there are no such files.

    skipped: of which kind the rows are; what is not used is added to it.

    Raises:
        DataError: two folders are the same split, folders may be splits or classes, the classes may be one level deeper, or a text cannot
            be read.
    """
    folders = _folders(path)
    splits: dict[str, Path] = {}
    for folder in folders:
        split = SPLITS.get(folder.name.lower())
        if split and split in splits and _folders(folder):
            raise DataError(f"folder {path} has more than one {split} split: {splits[split].name}, {folder.name}; keep one")
        if split:
            splits[split] = folder
    if "train" not in splits or _are_classes(path, info, folders, splits, skipped.kind):
        table = _of_classes(path, skipped)
        return ({"all": table} if table else {}), []
    files = {split: file for split, folder in splits.items() if (file := _metadata_file(folder))}
    tables = {split: read_table(file) for split, file in files.items()}
    tables |= {split: table for split, folder in splits.items() if split not in tables and (table := _of_classes(folder, skipped))}
    if "train" not in tables:
        return {}, []
    unused = [folder.name for folder in folders if folder not in [splits[split] for split in tables]]
    return tables, [f"folders not used, which hold no split with class folders: {', '.join(unused)}"] if unused else []


def train_folder(path: Path) -> Path | None:
    """The folder of the training split, if there is one."""
    return next((folder for folder in _folders(path) if SPLITS.get(folder.name.lower()) == "train"), None)


def holds_any(folder: Path, kind: RowFiles) -> bool:
    """Whether a folder, or one inside it, holds a row, or a table of rows."""
    skipped = Skipped(kind)
    return next(files_in(folder, skipped), None) is not None or any(kind_of(item) in SUFFIXES for item in skipped.unread)


def files_in(folder: Path, skipped: Skipped) -> Iterator[Path]:
    """The rows' files in a folder and in the folders inside it. skipped: of which kind; other files are added to it."""
    for item in sorted(folder.iterdir()):
        if is_systems(item.name):
            skipped.system.append(item)
        elif item.is_dir() and not item.is_symlink():  # a link may lead back to a folder above
            yield from files_in(item, skipped)
        elif skipped.kind.holds_row(item) and (item.is_file() or not item.exists()):  # no pipe; a broken link is told when it is read
            yield item
        else:
            skipped.unread.append(item)


def _are_classes(path: Path, info: Info, folders: Sequence[Path], splits: dict[str, Path], kind: RowFiles) -> bool:
    """Whether folders named like splits are classes: they hold rows, not folders, and there are other classes beside them.

    Raises:
        DataError: they may be splits or classes.
    """
    if any(_folders(folder) or _metadata_file(folder) for folder in splits.values()):
        return False
    if not any(kind.holds_row(file) for folder in splits.values() for file in folder.iterdir()):
        return False
    if len(folders) > len(splits) or set(info.classes or ()) == {folder.name for folder in folders}:
        return True
    names = ", ".join(folder.name for folder in splits.values())
    raise DataError(
        f"folder {path} has the folders {names}, which hold {kind.what} and no folders of classes: are they splits or classes? "
        f"If they are splits, put the {kind.what} into a folder for each class ({path.name}/train/CLASS/…); if they are classes, name them "
        f'in {path / "dataset.json"}: {{"classes": {json.dumps([folder.name for folder in folders])}}}'
    )


def _check_level(path: Path, by_folder: Mapping[Path, Sequence[Path]]) -> None:
    """Refuse folders that hold folders of classes in place of texts, as those of an archive's parts do.

    Raises:
        DataError: no text lies in a folder itself, or all hold the same folders.
    """
    inside = {folder: {item.name for item in _folders(folder)} for folder in by_folder}
    shared = set.intersection(*inside.values()) if inside else set()
    is_deeper = all(file.parent != folder for folder, files in by_folder.items() for file in files)
    if by_folder and (is_deeper or len(shared) > 1):
        names = ", ".join(sorted(set().union(*inside.values()))[:_SHOWN])
        folders = listed([folder.name for folder in by_folder])
        raise DataError(
            f"folder {path} has the folders {folders}, which hold folders ({names}, …): are those the classes? Give the path of a folder "
            f"that holds them, or put all texts into a folder for each class ({path.name}/CLASS/…), splits into train, validation and test "
            f"({path.name}/train/CLASS/…)"
        )


def _folders(path: Path) -> list[Path]:
    """The folders in a folder that may belong to a dataset."""
    return sorted(item for item in path.iterdir() if item.is_dir() and not is_systems(item.name) and item.name.lower() not in UNLABELLED)


def _metadata_file(path: Path) -> Path | None:
    """The table of the images in a split's folder, as `datasets` names it; None if there is none."""
    return next((file for suffix in SUFFIXES if (file := path / f"{METADATA}{suffix}").is_file()), None)


def _of_classes(path: Path, skipped: Skipped) -> Table | None:
    """The rows in a folder for each class. skipped: of which kind they are; what is not used is added to it.

    Raises:
        DataError: the folders of classes may be one level deeper.
    """
    kind, unread_before = skipped.kind, len(skipped.unread)
    inside = sorted(path.iterdir())
    skipped.system += [item for item in inside if is_systems(item.name)]
    skipped.outside += [item for item in inside if item.is_file() and kind.holds_row(item) and stem_of(item).lower() not in UNLABELLED]
    by_folder = {folder: list(files_in(folder, skipped)) for folder in _folders(path)}
    skipped.empty += [folder for folder, files in by_folder.items() if not files]
    rows = sorted(file for files in by_folder.values() for file in files)
    if kind is TEXTS:
        if len(skipped.unread) - unread_before > len(rows):  # programs and sites have a few texts in their folders too
            return None
        _check_level(path, {folder: files for folder, files in by_folder.items() if files})
    labels = [file.relative_to(path).parts[0] for file in rows]
    return kind.table(path, rows, label=labels) if rows else None
