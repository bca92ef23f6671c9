"""What a student is given to read, and its answers, on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from world import LABELS, ImageWorld, World

import autodistill
from autodistill.cli.main import main
from autodistill.train.assignment import Assignment
from autodistill.train.trial import run_trial


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cnn that has learned its task, distilled by the command."""
    place = tmp_path_factory.mktemp("student")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTODISTILL_CACHE", str(place / "cache"))
        world = World(place)
        recipe = world.recipe("cnn", epochs=10, objective={"hard_label_weight": 1.0})
        (place / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
        words = ["distill", str(place / "recipe.yaml"), "--dataset", world.data, "--out", str(place / "out"), "--seeds", "1"]
        assert main(words) == 0
    return place / "out"


def test_the_command_says_what_the_facts_say(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads((folder / "distillation.json").read_text(encoding="utf-8"))
    assert facts["command"].startswith("autodistill distill ")
    assert facts["no_kd"] is None  # the recipe has no teacher to do without
    words = ["distill", str(folder / "recipe.yaml"), "--dataset", facts["given"]["name"], "--out", str(folder)]
    assert main(words) == 2
    assert "exists; give another --out" in capsys.readouterr().err


def test_texts_and_files_are_labelled(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = sorted(LABELS, key=LABELS.index)
    assert main(["predict", str(folder), "a great film", "an awful film"]) == 0
    out = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in out] == [good, bad]
    assert all(0.5 <= float(line[1]) <= 1 for line in out)
    assert [line[2] for line in out] == ["a great film", "an awful film"]

    assert main(["predict", str(folder), "a great film", "--json"]) == 0
    (prediction,) = json.loads(capsys.readouterr().out)
    assert prediction["label"] == good
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)

    frame = pd.DataFrame({"body": ["fine fine", "poor plot", "lovely"], "id": [1, 2, 3]})
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "rows.txt").write_text("fine fine\n\npoor plot\nlovely\n")
    for name, more in (("rows.parquet", []), ("rows.csv", ["--text-column", "body"]), ("rows.txt", [])):
        target = tmp_path / f"{name}.jsonl"
        assert main(["predict", str(folder), str(tmp_path / name), "--out", str(target), *more]) == 0
        written = pd.read_json(target, lines=True)
        assert list(written["label"]) == [good, bad, good]
        assert list(written["text"]) == ["fine fine", "poor plot", "lovely"]
    csv = tmp_path / "out.csv"
    assert main(["predict", str(folder), 'good, "really" good', "--out", str(csv)]) == 0
    assert list(pd.read_csv(csv)["text"]) == ['good, "really" good']


def test_a_folder_of_an_older_version_opens(folder: Path, tmp_path: Path) -> None:
    older = shutil.copytree(folder, tmp_path / "older")
    config = json.loads((older / "config.json").read_text(encoding="utf-8"))
    config["model"]["outputs"] = config["model"].pop("num_outputs")
    (older / "config.json").write_text(json.dumps(config), encoding="utf-8")
    expected = autodistill.load_student(folder).predict_proba(["a great film"])
    np.testing.assert_array_equal(autodistill.load_student(older).predict_proba(["a great film"]), expected)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["nowhere.csv"], "there is no file nowhere.csv"),
        (["nowhere.csv", "a text"], "give a single file"),
        ([str(Path(__file__).parent)], "holds 0 text files (.txt, a number, or no suffix) and"),
        (["/"], "/ is the root of all folders; give a folder with a text file for each row"),
        (["a text", "./"], "./ is a folder, but there are 2 inputs; give a single file or folder, or texts"),
        ([" "], "a text is empty"),
        (["a text", "--out", "answers.docx"], "allowed: .csv, .tsv, .jsonl, .parquet"),
        (["a text", "--out", "no/such/folder/a.csv"], "there is no folder"),
    ],
)
def test_what_cannot_be_read_is_refused(folder: Path, inputs: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(folder), *inputs]) == 2
    assert message in capsys.readouterr().err


def test_in_a_folder_each_file_is_a_text(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = sorted(LABELS, key=LABELS.index)
    mails = tmp_path / "mails"
    (mails / "old").mkdir(parents=True)
    (mails / "1.txt").write_text("fine fine\n\nlovely\n")
    (mails / "old" / "00002.7c53336b37003a9286aba55d2945844c").write_text("poor\nplot\n")
    (mails / "a.pdf").write_bytes(b"%PDF")
    files, read = [mails / "1.txt", mails / "old" / "00002.7c53336b37003a9286aba55d2945844c"], ["fine fine\n\nlovely\n", "poor\nplot\n"]
    assert main(["predict", str(folder), str(mails)]) == 0
    assert [line.split("\t")[::2] for line in capsys.readouterr().out.splitlines()] == [[good, str(files[0])], [bad, str(files[1])]]
    assert "files not used, which are no texts (.txt, a number, or no suffix): a.pdf" in caplog.text
    assert main(["predict", str(folder), str(mails), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(item["file"], item["input"]) for item in told] == list(zip(map(str, files), read, strict=True))
    assert main(["predict", str(folder), str(mails), "--out", str(tmp_path / "out.csv")]) == 0
    written = pd.read_csv(tmp_path / "out.csv")
    assert list(written) == ["file", "text", "label", "probability"]
    assert list(written["file"]) == list(map(str, files))
    assert list(written["text"]) == read
    one_by_one = autodistill.load_student(folder).predict_proba(read).max(axis=1)
    np.testing.assert_allclose(written["probability"], one_by_one, atol=1e-6)
    (mails / "2.txt").write_text(" \n")
    assert main(["predict", str(folder), str(mails)]) == 2
    assert "2.txt holds no text; fill it in or remove it" in capsys.readouterr().err
    (tmp_path / "nothing").mkdir()
    assert main(["predict", str(folder), str(tmp_path / "nothing")]) == 2
    assert f"there is nothing to predict: {tmp_path / 'nothing'} has no rows" in capsys.readouterr().err


def test_a_files_empty_text_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text('text\ngood\n""\n')
    assert main(["predict", str(folder), str(tmp_path / "rows.csv")]) == 2
    assert "row 2 (line 3)" in capsys.readouterr().err


@pytest.mark.slow
def test_pairs_are_taken_two_by_two_and_a_searchs_student_is_opened_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path, "text-pair-regression")
    done = world.distill(world.recipe("bilstm", epochs=3))
    assert main(["predict", str(done.folder), "good film", "bad film", "sad", "great"]) == 0
    shown = [float(line.split("\t")[0]) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(shown, done.open().logits([("good film", "bad film"), ("sad", "great")])[:, 0], atol=1e-3)
    assert main(["predict", str(done.folder), "good film"]) == 2
    assert "give an even number" in capsys.readouterr().err

    # What a search keeps has the scale of its targets beside the weights: it answers in the data's units too.
    from autodistill.tasks.base import DatasetRef

    (teacher,) = (facts.parent for facts in (tmp_path / "cache" / "teachers").glob("*/teacher.json"))  # not the model before its training
    best = tmp_path / "best"
    recipe = world.recipe("bilstm", epochs=3)
    run_trial(Assignment(recipe, DatasetRef(world.data), 0, 3, str(teacher), student_folder=str(best)), lambda point: None)
    pairs: list[object] = [("good film", "bad film"), ("sad", "great")]
    np.testing.assert_allclose(autodistill.load_student(best).logits(pairs), done.open().logits(pairs), atol=1e-2)  # type: ignore[arg-type]


@pytest.mark.slow
def test_images_are_labelled(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    world = ImageWorld(tmp_path, 28)
    done = world.distill(world.recipe())
    pictures = [str(path) for path in world.pictures(2)]
    assert main(["predict", str(done.folder), *pictures, "--json"]) == 0
    predictions = json.loads(capsys.readouterr().out)
    assert [item["input"] for item in predictions] == pictures
    assert {item["label"] for item in predictions} <= set(LABELS)
    folder, table = tmp_path / "asked", tmp_path / "asked" / "names.csv"
    folder.mkdir()
    copies = [folder / f"{number}.png" for number in range(len(pictures))]
    for picture, copy in zip(pictures, copies, strict=True):
        shutil.copy(picture, copy)
    table.write_text("file,note\n" + "".join(f"{copy.name},seen\n" for copy in copies))
    for asked in (folder, table):
        assert main(["predict", str(done.folder), str(asked), "--json"]) == 0
        answers = [item | {"input": str(copy)} for item, copy in zip(predictions, copies, strict=True)]
        assert json.loads(capsys.readouterr().out) == answers
    (folder / "cut.png").write_bytes(copies[0].read_bytes()[:80])
    assert main(["predict", str(done.folder), str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answers
    assert f"{folder}: 1 of 3 images cannot be decoded ({folder / 'cut.png'}: " in caplog.text
    (tmp_path / "bad").mkdir()
    shutil.move(folder / "cut.png", tmp_path / "bad")
    assert main(["predict", str(done.folder), str(tmp_path / "bad")]) == 2
    assert "1 of 1 images cannot be decoded" in capsys.readouterr().err
    table.write_text("image,note\n,seen\n")
    assert main(["predict", str(done.folder), str(table)]) == 2
    assert "row 1 (line 2): no path of an image" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(done.folder), str(tmp_path / "empty")]) == 2
    assert "holds no images" in capsys.readouterr().err
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert main(["predict", str(done.folder), str(tmp_path / "broken.png")]) == 2
    assert "broken.png" in capsys.readouterr().err
    assert main(["predict", str(done.folder), "a text"]) == 2
    assert "there is no image a text" in capsys.readouterr().err
