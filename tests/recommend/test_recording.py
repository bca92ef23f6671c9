"""From a study's folder to an entry of the library."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import failed, make_study, record

from autodistill import recording
from autodistill.cli.main import main
from autodistill.errors import DataError, StudyError
from autodistill.recommender.library import load
from autodistill.space import Space
from autodistill.study import Study
from autodistill.study_folder import write_about
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "dataset_features", lambda dataset: {"log_rows": 1.12345678})


def a_study(tmp_path: Path, records: list, unlabelled: tuple[str, ...] = ()) -> Study:
    """The study of a file, as a search leaves it. unlabelled: files of rows without labels."""
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\n" + "".join(f"it is {word} {number},{word}\n" for number in range(20) for word in ("good", "bad")))
    data = load_dataset(DatasetRef(str(path), unlabelled=unlabelled))
    study = make_study(tmp_path / "studies", records)
    facts = {
        "name": data.name,
        "fingerprint": data.rows_fingerprint,
        "task": data.task,
        "metric": data.metric,
        "train_rows": len(data.train),
    }
    settings = {**study.about["settings"], "dataset": str(path), "unlabelled": list(unlabelled)}
    teachers = [{"model": "big", "score": 0.9, "folder": "/home/ana/cache", "untaught": "/home/ana/cache/2"}]
    write_about(study.folder, study.about | {"dataset": facts, "settings": settings, "teachers": teachers, "sessions": []})
    return Study.open(study.folder)


def test_what_a_recipe_did_is_kept_and_what_befell_the_machine_is_not(tmp_path: Path) -> None:
    recipe = Space.load("text", "text-classification").baselines()["plain_kd"].model_dump()
    trials = [record(0, "no_kd", 0.7, recipe=recipe), record(1, score=0.8, recipe=recipe), failed(2, recipe=recipe)]
    trials += [failed(3, "interrupted: killed"), failed(4, "RunError: /home/ana/s cannot be written: No space left on device")]
    study = a_study(tmp_path, trials)
    entry = load(recording.add_study(study.folder, name="mine", group="house", library=tmp_path / "library"))
    assert [kept.trial for kept in entry.records] == [0, 1, 2]
    assert (entry.name, entry.group, entry.task, entry.teacher_score) == ("mine", "house", "text-classification", 0.9)
    assert entry.features == {"log_rows": 1.123457}
    assert "/home/ana" not in (tmp_path / "library" / "mine" / "study.yaml").read_text()


def test_data_that_changed_since_is_told(tmp_path: Path) -> None:
    study = a_study(tmp_path, [record(0)])
    with (tmp_path / "reviews.csv").open("a") as file:
        file.write("one more,good\n")
    with pytest.raises(DataError, match="has changed since the study 's' was made"):
        recording.add_study(study.folder, library=tmp_path / "library")


def test_unlabelled_rows_count_as_data(tmp_path: Path) -> None:
    rows = tmp_path / "more.txt"
    rows.write_text("it is fine\nit is fair\n")
    recipe = Space.load("text", "text-classification").baselines()["plain_kd_all"].model_dump()
    study = a_study(tmp_path, [record(0, recipe=recipe)], (str(rows),))
    assert recording.add_study(study.folder, library=tmp_path / "library").is_dir()
    rows.write_text("it is fine\nit is fair\nit is foul\n")
    with pytest.raises(DataError, match="has changed since the study 's' was made"):
        recording.add_study(study.folder, library=tmp_path / "library")


def test_a_study_without_a_complete_trial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has no complete trial"):
        recording.add_study(a_study(tmp_path, [failed(0)]).folder, library=tmp_path / "library")


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "..", ""])
def test_a_name_that_would_leave_the_library_is_refused(tmp_path: Path, name: str) -> None:
    study = a_study(tmp_path, [record(0)])
    if name:
        with pytest.raises(StudyError, match="it should be a folder's name.*--name"):
            recording.add_study(study.folder, name=name, library=tmp_path / "library")
    write_about(study.folder, study.about | {"study": name or "../../evil"})
    try:
        Study.open(study.folder)
    except StudyError:
        return  # refused before that
    with pytest.raises(StudyError, match="it should be a folder's name.*--name"):
        recording.add_study(study.folder, library=tmp_path / "library")
    assert not (tmp_path / "library").exists()


def test_the_command_says_whether_it_is_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Space.load("text", "text-classification").defaults().model_dump()
    folder = str(a_study(tmp_path, [record(0, recipe=recipe)]).folder)
    monkeypatch.setenv("AUTODISTILL_LIBRARY", str(tmp_path / "library"))
    for more, message in [
        ([], "learn from them from now on"),
        (["--library", str(tmp_path / "library")], "learn from them from now on"),
        (["--library", str(tmp_path / "elsewhere")], f"learn from them with AUTODISTILL_LIBRARY={tmp_path / 'elsewhere'}"),
    ]:
        assert main(["studies", "add", folder, *more]) == 0
        assert message in capsys.readouterr().out
