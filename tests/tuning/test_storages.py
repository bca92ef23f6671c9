"""The storages that a search writes: Optuna's own tests of a storage, and what Optuna reads of what was written."""

from __future__ import annotations

import math
import pickle
import resource
import shutil
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial, TrialState

from autodistill.errors import StudyError
from autodistill.optuna_storage.mirror import Mirror
from autodistill.optuna_storage.open import SavedStorage, close_storage, open_storage, open_to_search
from autodistill.records import Point
from autodistill.tuning.sampler import Halving, enter_rung

KINDS = ("journal", "database")


def url(folder: Path, kind: str) -> str:
    return str(folder / "optuna.journal") if kind == "journal" else f"sqlite:///{folder / 'optuna.db'}"


def optunas_own(place: str) -> BaseStorage:
    """The storage as somebody opens it who has Optuna alone."""
    return RDBStorage(place, skip_compatibility_check=True) if "://" in place else JournalStorage(JournalFileBackend(place))


def stored(place: str, name: str = "s") -> list[FrozenTrial]:
    return optuna.load_study(study_name=name, storage=optunas_own(place)).get_trials()


def plain(trial: FrozenTrial) -> dict[str, object]:
    """A trial without its id; whether it has times, not which: a database sets those of a change itself, when it is saved."""
    steps = {step: str(float(value)) for step, value in trial.intermediate_values.items()}  # NaN is not equal to itself
    values = trial.values and [float(value) for value in trial.values]
    params = {name: repr(value) if isinstance(value, str | None) else repr(float(value)) for name, value in trial.params.items()}
    times = {"start": trial.datetime_start is not None, "end": trial.datetime_complete is not None}
    attributes = repr(sorted(trial.user_attrs.items())), repr(sorted(trial.system_attrs.items()))
    return {"number": trial.number, "state": trial.state, "values": values, "steps": steps, "params": params} | {
        "times": times, "distributions": trial.distributions, "attributes": attributes,
    }  # fmt: skip


def assert_same(first: list[FrozenTrial], second: list[FrozenTrial]) -> None:
    assert [plain(trial) for trial in first] == [plain(trial) for trial in second]


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """A file with Optuna's tables, which take half a second to make."""
    folder = tmp_path_factory.mktemp("empty")
    close_storage(open_storage(url(folder, "database")))
    return folder / "optuna.db"


@pytest.fixture(params=[(kind, often) for kind in KINDS for often in (False, True)], ids=lambda case: f"{case[0]}-{case[1]}")
def storage(request, tmp_path, empty_database):
    """One of the two, saved once at the end or after each change; at the end Optuna reads the same from its place."""
    kind, often = request.param
    place = url(tmp_path, kind)
    if kind == "database":
        shutil.copy(empty_database, tmp_path)
    storage = open_to_search(place, "s")
    if often:
        changes = [f"set_trial_{name}" for name in ("param", "user_attr", "system_attr", "intermediate_value", "state_values")]
        for name in ("create_new_trial", *changes):
            setattr(storage, name, saving(storage, name))
    yield storage
    storage.save()
    there = optunas_own(place)
    held = {study.study_name: study for study in there.get_all_studies()}
    assert set(held) == {study.study_name for study in storage.get_all_studies()}
    for study in storage.get_all_studies():
        same = held[study.study_name]
        assert repr((study.directions, study.user_attrs, study.system_attrs)) == repr((same.directions, same.user_attrs, same.system_attrs))
        assert_same(storage.get_all_trials(study._study_id), there.get_all_trials(same._study_id))
    close_storage(storage)


def saving(storage: SavedStorage, name: str):
    change = getattr(storage, name)

    def change_and_save(*args, **more):
        result = change(*args, **more)
        storage.save()
        return result

    return change_and_save


class TestAsOptunaTestsStorages(StorageTestCase):
    """With the fixture above, which compares what is stored too."""

    def test_pickle_storage(self, storage):  # as Optuna's, but for the methods that the fixture has replaced
        study = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE])
        storage.set_study_system_attr(study, "key", "pickle")
        for name in list(vars(storage)):
            if callable(vars(storage)[name]):
                delattr(storage, name)
        assert pickle.loads(pickle.dumps(storage)).get_study_system_attrs(study) == {"key": "pickle"}


def create(place: str) -> tuple[optuna.Study, SavedStorage]:
    storage = open_to_search(place, "s")
    return optuna.create_study(study_name="s", storage=storage, direction="maximize", load_if_exists=True), storage


def fill(study: optuna.Study) -> None:
    """Trials of every kind and state, with parameters, attributes and values of every kind."""
    study.enqueue_trial({"rate": 0.5, "kind": "kl"}, user_attrs={"proposal": {"role": "defaults", "recipe": {"layers": [1, 2]}}})
    study.enqueue_trial({}, user_attrs={"proposal": {"role": "no_kd"}})
    for number in range(7):
        trial = study.ask()
        trial.suggest_float("rate", 1e-4, 1.0, log=True)
        trial.suggest_int("layers", 2, 4)
        if trial.suggest_categorical("kind", ["kl", "mse", None]) == "kl":
            trial.suggest_float("temperature", 1.0, 8.0, step=0.5)
        trial.set_user_attr("proposal", {"role": "search", "text": "π 'quoted' \\"})
        trial.set_constraint("max_params", number - 3.0)
        for step, score in enumerate((0.5, math.inf, math.nan, 0.7), 1):
            trial.report(score, step)
        trial.set_user_attr("outcome", {"reason": None, "curve": [0.1, 1e-300]})
        if number < 5:
            state = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)[number % 3]
            study.tell(trial, 0.1 * number if state == TrialState.COMPLETE else None, state)


@pytest.mark.parametrize("kind", KINDS)
def test_optuna_reads_what_was_saved_and_a_second_session_goes_on(tmp_path, kind):
    place = url(tmp_path, kind)
    study, storage = create(place)
    fill(study)
    study.set_user_attr("note", "for people")
    storage.save()
    assert_same(study.get_trials(), stored(place))
    assert {trial.state for trial in stored(place)} == set(TrialState) - {TrialState.WAITING}
    read = optuna.load_study(study_name="s", storage=optunas_own(place))
    assert read.user_attrs == {"note": "for people"}
    assert (read.best_trial.number, read.direction.name) == (study.best_trial.number, "MAXIMIZE")

    again, saved = create(place)
    assert_same(again.get_trials(), stored(place))
    again.tell(5, 0.9)
    again.enqueue_trial({"rate": 0.25})
    assert len(stored(place)) == 7
    saved.save()
    assert_same(again.get_trials(), stored(place))
    assert [trial.state for trial in stored(place)[5:]] == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING]


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_of_optunas_own_goes_on(tmp_path, kind):
    place = url(tmp_path, kind)
    fill(optuna.create_study(study_name="s", storage=optunas_own(place), direction="maximize"))
    before = stored(place)
    study, storage = create(place)
    assert_same(study.get_trials(), before)
    storage.save()
    assert_same(stored(place), before)


def test_two_studies_of_one_database_do_not_mix(tmp_path):
    place = url(tmp_path, "database")
    other = optuna.create_study(study_name="other", storage=optunas_own(place))
    other.tell(other.ask(), 1.0)
    study, storage = create(place)
    study.tell(study.ask(), 2.0)
    other.tell(other.ask(), 3.0)
    study.tell(study.ask(), 4.0)
    storage.save()
    assert_same(study.get_trials(), stored(place))
    assert [trial.value for trial in stored(place, "other")] == [1.0, 3.0]


def test_a_database_that_fails_is_written_to_again_from_where_it_failed(tmp_path, monkeypatch):
    place = url(tmp_path, "database")
    study, storage = create(place)
    first = study.ask()
    storage.save()
    first.report(0.5, 1)
    second = study.ask()
    second.set_user_attr("proposal", {"role": "search"})
    second.set_user_attr("bad", object())  # JSON cannot say it
    with pytest.raises(TypeError):
        storage.save()
    assert [trial.intermediate_values for trial in stored(place)] == [{1: 0.5}]
    second.set_user_attr("bad", 1)
    storage.save()
    assert_same(study.get_trials(), stored(place))


def test_what_a_full_disk_took_of_a_journal_is_written_again(tmp_path):
    place = url(tmp_path, "journal")
    study, storage = create(place)
    study.tell(study.ask(), 1.0)
    storage.save()
    before, size = stored(place), Path(place).stat().st_size
    trial = study.ask()
    trial.set_user_attr("proposal", {"text": "x" * 2000})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, limits[1]))  # some of it fits
    try:
        with pytest.raises(OSError, match="File too large"):
            storage.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_same(stored(place), before)
    storage.save()
    assert_same(study.get_trials(), stored(place))


def test_the_start_of_a_line_at_a_journals_end_is_dropped(tmp_path):
    place = Path(url(tmp_path, "journal"))
    study, storage = create(str(place))
    study.tell(study.ask(), 1.0)
    storage.save()
    before = stored(str(place))
    with place.open("ab") as file:
        file.write(b'{"op_code": 4, "stu')
    study, storage = create(str(place))
    study.tell(study.ask(), 2.0)
    storage.save()
    assert_same(stored(str(place))[:1], before)
    assert [trial.value for trial in stored(str(place))] == [1.0, 2.0]


def test_what_another_process_writes_into_a_journal_stays(tmp_path):
    place = url(tmp_path, "journal")
    study, storage = create(place)
    study.tell(study.ask(), 1.0)
    storage.save()
    page = open_storage(place)
    page.set_study_system_attr(page.get_study_id_from_name("s"), "dashboard:note", "a note")
    study.tell(study.ask(), 2.0)
    storage.save()
    assert_same(study.get_trials(), page.get_all_trials(page.get_study_id_from_name("s")))
    _, again = create(place)
    assert again.get_study_system_attrs(0) == {"dashboard:note": "a note"}


def test_what_json_cannot_say_is_refused_at_once_by_a_journal(tmp_path):
    study, storage = create(url(tmp_path, "journal"))
    trial = study.ask()
    with pytest.raises(TypeError):
        trial.set_user_attr("bad", object())
    storage.save()
    assert_same(study.get_trials(), stored(url(tmp_path, "journal")))


def test_storages_that_cannot_be_opened_are_named(tmp_path):
    with pytest.raises(StudyError, match=r"nosuch://me:\*\*\*@host/db.*cannot be opened.*leave it out"):
        open_storage("nosuch://me:secret@host/db")
    with pytest.raises(StudyError, match=r"optuna\.journal cannot be read \(FileNotFoundError.*no/optuna\.journal"):
        open_to_search(str(tmp_path / "no" / "optuna.journal"), "s")
    broken = tmp_path / "optuna.journal"
    broken.write_text("{}\nnonsense\n{}\n")
    for opened in (lambda: open_storage(str(broken)), lambda: open_to_search(str(broken), "s")):
        with pytest.raises(StudyError, match="cannot be opened|is damaged"):
            opened()


def test_a_mirror_sees_the_one_study_that_it_was_opened_for(tmp_path):
    place = url(tmp_path, "database")
    optuna.create_study(study_name="other", storage=optunas_own(place))
    mirror = Mirror(RDBStorage(place), "s")
    assert mirror.get_all_studies() == []
    with pytest.raises(KeyError):
        mirror.get_study_id_from_name("other")
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        mirror.create_new_study([optuna.study.StudyDirection.MINIMIZE], "other")


@pytest.mark.parametrize("kind", KINDS)
def test_standings_at_rungs_are_stored(tmp_path, kind):
    study, storage = create(url(tmp_path, kind))
    study.pruner = Halving()
    for score in (0.9, 0.1):
        trial = study.ask()
        trial.suggest_float("rate", **{"low": 0.0, "high": 1.0})
        trial.report(score, 1)
        enter_rung(trial, Point(epoch=1, score=score, train_loss=1.0, validation_loss=0.5, seconds=1.0))
        stopped = trial.should_prune()
    storage.save()
    assert stopped
    assert [trial.user_attrs["rung 1"] for trial in stored(url(tmp_path, kind))] == [[0.9, -0.5], [0.1, -0.5]]
    assert stored(url(tmp_path, kind))[0].distributions == {"rate": FloatDistribution(0.0, 1.0)}
