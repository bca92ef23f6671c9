"""A text file for each row, in a folder for each class: the same rows as scikit-learn's load_files reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_files

from autodistill.errors import DataError
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef, Split

OPENINGS = ("a fine film", "two dull hours", "warm and funny", "not worth it")


def write_files(folder: Path, split: str = "", count: int = 40, suffix: str = ".txt", blank_line: bool = False) -> Path:
    """count files of some lines, half of them in pos and half in neg."""
    for row in range(count):
        file = folder / split / ("neg", "pos")[row % 2] / f"{row}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{OPENINGS[row % 4]}, {split or 'file'} {row}", *([""] if blank_line else []), "und schöne Bilder"]
        file.write_text("\n".join(lines), encoding="utf-8")
    return folder


def load(path: Path, **settings: Any) -> Dataset:
    return load_dataset(DatasetRef(str(path), **settings), with_test=True)


def rows_of(split: Split | None, classes: tuple[str, ...]) -> set[tuple[str, str]]:
    assert split is not None
    return {(text, classes[int(label)]) for text, label in zip(split.texts, split.labels, strict=True)}


def rows_by_sklearn(folder: Path) -> set[tuple[str, str]]:
    read = load_files(str(folder), encoding="utf-8", categories=["neg", "pos"])
    return {(text, read.target_names[label]) for text, label in zip(read.data, read.target, strict=True)}


@pytest.mark.parametrize("suffix", [".txt", "", ".", ".3", ".7c53336b37003a9286aba55d2945844c"])
def test_one_folder_of_classes(tmp_path: Path, suffix: str) -> None:
    write_files(tmp_path, suffix=suffix, blank_line=True)
    dataset = load(tmp_path)
    assert (dataset.task, dataset.classes) == ("text-classification", ("neg", "pos"))
    splits = (dataset.train, dataset.validation, dataset.open_test())
    assert set().union(*(rows_of(split, dataset.classes) for split in splits)) == rows_by_sklearn(tmp_path)
    assert sum(map(len, splits)) == 40


def test_splits_with_texts_without_labels_in_train(tmp_path: Path) -> None:
    """The form of the archive of IMDb's reviews, in which train/unsup holds the reviews without labels."""
    write_files(write_files(tmp_path, "train"), "test", count=20)
    (tmp_path / "train" / "unsup").mkdir()
    for row in range(12):
        (tmp_path / "train" / "unsup" / f"{row}_0.txt").write_text(f"another film {row}\n\nin two paragraphs")
    (tmp_path / "train" / "urls_pos.txt").write_text("http://films.org/1")
    (tmp_path / "README").write_text("What this is")
    dataset = load(tmp_path)
    assert rows_of(dataset.open_test(), dataset.classes) == rows_by_sklearn(tmp_path / "test")
    train = rows_of(dataset.train, dataset.classes) | rows_of(dataset.validation, dataset.classes)
    assert train == rows_by_sklearn(tmp_path / "train")
    assert sorted(dataset.unlabelled.texts) == sorted(f"another film {row}\n\nin two paragraphs" for row in range(12))
    assert "texts not used, which are in no folder of a class: train/urls_pos.txt" in dataset.notes
    assert len(load(tmp_path, limit_train=20, unlabelled=("rest",)).unlabelled) == 12 + len(dataset.train) - 20


def test_a_folder_of_texts_that_is_named(tmp_path: Path) -> None:
    write_files(tmp_path / "films")
    more = write_files(tmp_path / "more", "all", count=6)
    lines = tmp_path / "lines.txt"
    lines.write_text("a line is a text\nand so is this one\n")
    dataset = load(tmp_path / "films", unlabelled=(str(more), str(lines)))
    assert {"a line is a text", "and so is this one"} < set(dataset.unlabelled.texts)
    assert len(dataset.unlabelled) == 6 + 2


def test_a_bad_text_is_named_by_its_file(tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "pos" / "5.txt").write_text(" \n")
    with pytest.raises(DataError, match=r"1 row with an empty text: pos/5\.txt"):
        load(tmp_path)


def test_splits_are_read_by_themselves(tmp_path: Path) -> None:
    """Other files in one split say nothing of the texts in another."""
    for split, count in {"train": 60, "validation": 20, "test": 10}.items():
        write_files(tmp_path, split, count=count)
    for row in range(50):
        (tmp_path / "train" / "pos" / f"{row}.ann").write_text("T1 word")
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.open_test())) == (60, 20, 10)


@pytest.mark.parametrize("suffix", [".txt", ""])
def test_embeddings_of_whole_files(tmp_path: Path, suffix: str) -> None:
    write_files(tmp_path, "train", suffix=suffix)
    (tmp_path / "train" / "unsup").mkdir()
    for row in range(12):
        (tmp_path / "train" / "unsup" / f"{row}{suffix}").write_text(f"another film {row}\nin two lines")
    assert len(load(tmp_path, task="embedding").unlabelled) == 12


@pytest.mark.parametrize("parts", [("news-train", "news-test"), ("wrap",), ("enron1", "enron2")])
def test_folders_one_level_too_deep_are_asked_about(tmp_path: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        write_files(tmp_path, part)
        if part.startswith("enron"):
            (tmp_path / part / "Summary.txt").write_text("Two folders")
    with pytest.raises(DataError, match=r"which hold folders \(neg, pos, …\): are those the classes\?"):
        load(tmp_path)


def test_some_images_among_texts_and_texts_among_images(tmp_path: Path) -> None:
    from PIL import Image

    write_files(tmp_path)
    Image.new("RGB", (32, 32)).save(tmp_path / "pos" / "logo.png")
    dataset = load(tmp_path)
    assert dataset.task == "text-classification"
    assert any(note.startswith("files not used, which are no texts") and "logo.png" in note for note in dataset.notes)
    for row in range(40):  # each text is now the caption of an image
        Image.new("RGB", (32, 32), (row, 0, 0)).save(tmp_path / ("neg", "pos")[row % 2] / f"{row}.png")
    assert load(tmp_path).task == "image-classification"


def test_links_pipes_and_empty_folders_are_no_texts(tmp_path: Path) -> None:
    write_files(tmp_path / "films", "train")
    (tmp_path / "films" / "train" / "pos" / "more").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "films" / "train" / "neg" / "pipe")
    (tmp_path / "films" / "train" / "unsup").mkdir()
    dataset = load(tmp_path / "films")
    assert dataset.unlabelled is None
    assert "folders not used, which hold no texts: train/unsup" in dataset.notes
    (tmp_path / "films" / "train" / "unsup.txt").write_text("a line is a text\nand so is this one\n")
    dataset = load(tmp_path / "films")
    assert len(dataset.unlabelled) == 2
    assert not any("in no folder of a class" in note for note in dataset.notes)


def test_tables_beside_texts(tmp_path: Path) -> None:
    write_files(tmp_path / "films")
    more = write_files(tmp_path / "more", "all", count=6)
    (more / "crawl.csv").write_text("text\na row of its own\nand another\n")
    with pytest.raises(DataError, match=r"holds tables \(crawl\.csv\) beside texts of a file each"):
        load(tmp_path / "films", unlabelled=(str(more),))
    for file in (more / "all").rglob("*.txt"):
        file.unlink()
    (more / "README").write_text("What this is")
    assert len(load(tmp_path / "films", unlabelled=(str(more),)).unlabelled) == 2
    rows = [f"{('neg', 'pos')[row % 2]}/{row}.txt,{row % 2}" for row in range(40)]
    (tmp_path / "films" / "index.csv").write_text("\n".join(["file,label", *rows]))
    with pytest.raises(DataError, match=r"column 'file' holds the paths of text files, such as 'neg/0\.txt'"):
        load(tmp_path / "films")


def test_images_stay_images_where_other_files_prevail(tmp_path: Path) -> None:
    """The notes are then those of images."""
    from PIL import Image

    write_files(tmp_path, count=60)
    for row in range(100):
        (tmp_path / "pos" / f"{row}.html").write_text("<p>words</p>")
    for row in range(20):
        Image.new("RGB", (32, 32), (row, 0, 0)).save(tmp_path / ("neg", "pos")[row % 2] / f"{row}.png")
    dataset = load(tmp_path)
    assert dataset.task == "image-classification"
    assert [note for note in dataset.notes if note.startswith("files not used, which are no images")]


def test_texts_in_no_folder_are_without_labels(tmp_path: Path) -> None:
    folder = tmp_path / "mails"
    folder.mkdir()
    for row in range(40):
        (folder / f"{row}.txt").write_text(f"a mail {row}\nin two lines")
    (folder / "list.pdf").write_bytes(b"%PDF")
    with pytest.raises(
        DataError, match=r"mails holds 40 text files, and no folder of a class: put them into a folder for each class \(mails/CL"
    ):
        load(folder)
    data = load(folder, task="embedding")
    texts = [text for split in (data.train, data.validation, data.open_test()) for text in split.texts or []]
    assert sorted(texts) == sorted(f"a mail {row}\nin two lines" for row in range(40))
    assert any("list.pdf" in note for note in data.notes)
    program = tmp_path / "program"
    program.mkdir()
    for number in range(12):
        (program / f"{number}.py").write_text("x = 1")
        (program / f"{number}.txt").write_text("a note")
    (program / "README.md").write_text("a program")
    with pytest.raises(DataError, match="holds no dataset"):
        load(program)
