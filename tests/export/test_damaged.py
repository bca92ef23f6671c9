"""Students whose files are damaged, and what cannot be a student: each is one sentence, never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from damage import DAMAGE, FAMILIES, distilled_student

from autodistill.cli.main import main
from autodistill.errors import AutodistillError, DataError, ModelError, RecipeError, UsageError
from autodistill.export.asking import check_out
from autodistill.export.push import push_to_hub
from autodistill.export.student import load_student


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: distilled_student(tmp_path_factory.mktemp(family), family) for family in FAMILIES}


@pytest.fixture(scope="module")
def best(students: dict[str, Path]) -> Path:
    return students["cnn"].parent / "study" / "best"


def copied(folder: Path, place: Path) -> Path:
    return Path(shutil.copytree(folder, place / "copy"))


def one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) in (1, 2)
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    line = printed.strip().splitlines()[-1]
    assert line.startswith("autodistill: ")
    assert printed.count("autodistill: ") == 1
    return line


@pytest.mark.parametrize("how", ["cut", "emptied", "removed", "a folder"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_damaged_file_of_a_student_is_named(students: dict[str, Path], family: str, how: str, tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json", "student.json", "config.json"):
        folder = copied(students[family], tmp_path)
        DAMAGE[how](folder / name)
        with pytest.raises((ModelError, UsageError)) as caught:
            load_student(folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["student.safetensors", "saved.json", "recipe.yaml", "tokenizer.json"])
def test_a_damaged_file_of_a_searchs_student_is_named(best: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_student(best).predict("a good film") in ("good", "bad")
    folder = copied(best, tmp_path)
    DAMAGE["cut"](folder / name)
    with pytest.raises(AutodistillError) as caught:
        load_student(folder)
    assert str(folder) in str(caught.value)
    if name == "student.safetensors":
        assert str(folder) in one_line(["predict", str(folder), "a good film"], capsys)


def test_a_file_for_onnxruntime_that_is_none_is_named(students: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(students["cnn"], tmp_path)
    about = json.loads((folder / "student.json").read_text(encoding="utf-8"))
    (folder / "student.json").write_text(json.dumps(about | {"format": "onnx"}), encoding="utf-8")
    (folder / "model.onnx").write_bytes(b"\x08\x0a\x12")
    with pytest.raises(ModelError, match=r"cannot be opened \(.*; its files are damaged"):
        load_student(folder)
    for damaged in ("[]", '{"schema": "one"}', '{"schema": 1}', '{"schema": 1, "format": "torch", "family": "no", "task": 3}'):
        (folder / "student.json").write_text(damaged, encoding="utf-8")
        with pytest.raises((ModelError, RecipeError), match="cannot be opened|the student's family is 'no'"):
            load_student(folder)


def test_only_what_distill_wrote_is_exported(
    students: dict[str, Path], best: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "holds a search's student" in one_line(["export", str(best)], capsys)
    folder = copied(students["static"], tmp_path)
    for name, words in (("distillation.json", "names the rows that check an export"), ("model.safetensors", "cannot be opened")):
        DAMAGE["cut"](folder / name)
        assert words in one_line(["export", str(folder), "--format", "numpy", "--json"], capsys)


def test_a_damaged_student_is_not_uploaded(students: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(students["cnn"], tmp_path)
    DAMAGE["cut"](folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged .*, so nothing is uploaded"):
        push_to_hub(folder, "me/small")


def test_bytes_that_are_no_text_are_refused(students: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = str(students["cnn"])
    assert "row 2 has bytes that are no text" in one_line(["predict", student, "a film", "caf\udce9"], capsys)
    (tmp_path / "rows.txt").write_bytes(b"a film\n\xff\xfe\x00\x81\n")
    assert "rows.txt" in one_line(["predict", student, str(tmp_path / "rows.txt")], capsys)
    for row in (b"a film", None, 3, float("nan"), ["a", b"b"]):
        with pytest.raises(DataError, match="row 1 is"):
            load_student(student).predict([row])


def test_what_cannot_be_written_to_is_refused(students: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "answers.csv").mkdir()
    (tmp_path / "file").write_text("")
    for name, words in (
        ("answers.csv", "is a folder; give a file in it"),
        (f"{'n' * 300}.csv", "cannot be opened as a file or folder: File name too long"),
        ("file/answers.csv", "there is no folder"),
    ):
        with pytest.raises(UsageError, match=words):
            check_out(tmp_path / name)
    for words in (["predict", "n" * 300, "a film"], ["export", "n" * 300], ["push", "n" * 300, "me/small"]):
        assert "File name too long" in one_line(words, capsys)
