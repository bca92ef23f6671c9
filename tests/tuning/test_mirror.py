"""What the mirror writes is what Optuna reads."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from autodistill.records import Point
from autodistill.tuning.mirror import Mirror, open_study
from autodistill.tuning.sampler import Halving, enter_rung
from autodistill.tuning.storage import open_storage


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'optuna.db'}"


def stored(folder: Path) -> list[FrozenTrial]:
    """The trials as Optuna reads them from the database."""
    return optuna.load_study(study_name="s", storage=url(folder)).get_trials()


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


def same(first: list[FrozenTrial], second: list[FrozenTrial]) -> None:
    def plain(trial: FrozenTrial) -> dict[str, object]:
        steps = {step: str(value) for step, value in trial.intermediate_values.items()}  # NaN is not equal to itself
        return {**{name: value for name, value in vars(trial).items() if name not in ("_trial_id", "intermediate_values")}, "steps": steps}

    assert [plain(trial) for trial in first] == [plain(trial) for trial in second]


@pytest.mark.parametrize("often", [False, True])
def test_optuna_reads_what_was_written(tmp_path, monkeypatch, often):
    study = open_study(open_storage(url(tmp_path)), "s")
    mirror = study._storage
    if often:  # after each single change

        def saving(change):
            def change_and_save(*args, **more):
                found = change(*args, **more)
                mirror.save()
                return found

            return change_and_save

        for part in ("param", "user_attr", "system_attr", "intermediate_value"):
            monkeypatch.setattr(mirror, f"set_trial_{part}", saving(getattr(mirror, f"set_trial_{part}")))
        monkeypatch.setattr(mirror, "create_new_trial", saving(mirror.create_new_trial))
    fill(study)
    study.set_user_attr("note", "for people")
    mirror.save()
    same(study.get_trials(), stored(tmp_path))
    assert {trial.state for trial in stored(tmp_path)} == set(TrialState) - {TrialState.WAITING}
    read = optuna.load_study(study_name="s", storage=url(tmp_path))
    assert read.user_attrs == {"note": "for people"}
    assert (read.best_trial.number, read.direction.name) == (study.best_trial.number, "MAXIMIZE")

    again = open_study(open_storage(url(tmp_path)), "s")  # and a second session goes on with it
    same(again.get_trials(), stored(tmp_path))
    again.tell(5, 0.9)
    again.enqueue_trial({"rate": 0.25})
    assert len(stored(tmp_path)) == 7
    again._storage.save()
    same(again.get_trials(), stored(tmp_path))
    assert [trial.state for trial in stored(tmp_path)[5:]] == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING]


def test_a_study_of_optunas_own_goes_on(tmp_path):
    fill(optuna.create_study(study_name="s", storage=url(tmp_path), direction="maximize"))
    before = stored(tmp_path)
    study = open_study(open_storage(url(tmp_path)), "s")
    same(study.get_trials(), before)
    study._storage.save()
    same(stored(tmp_path), before)


def test_a_save_that_fails_writes_nothing_and_is_tried_again(tmp_path):
    study = open_study(open_storage(url(tmp_path)), "s")
    mirror = study._storage
    first = study.ask()
    mirror.save()
    first.report(0.5, 1)
    second = study.ask()
    second.set_user_attr("proposal", {"role": "search"})
    second.set_user_attr("bad", object())  # JSON cannot say it
    with pytest.raises(TypeError):
        mirror.save()
    assert [trial.intermediate_values for trial in stored(tmp_path)] == [{}]
    second.set_user_attr("bad", 1)
    mirror.save()
    same(study.get_trials(), stored(tmp_path))


def test_two_studies_of_one_database_do_not_mix(tmp_path):
    other = optuna.create_study(study_name="other", storage=url(tmp_path))
    other.tell(other.ask(), 1.0)
    study = open_study(open_storage(url(tmp_path)), "s")
    study.tell(study.ask(), 2.0)
    other.tell(other.ask(), 3.0)
    study.tell(study.ask(), 4.0)
    study._storage.save()
    same(study.get_trials(), stored(tmp_path))
    assert [trial.value for trial in optuna.load_study(study_name="other", storage=url(tmp_path)).get_trials()] == [1.0, 3.0]


def test_a_missing_study_is_named(tmp_path):
    with pytest.raises(KeyError):
        Mirror(open_storage(url(tmp_path)), "s")


def test_standings_at_rungs_are_stored(tmp_path):
    study = open_study(open_storage(url(tmp_path)), "s")
    study.pruner = Halving()
    for score in (0.9, 0.1):
        trial = study.ask()
        trial.report(score, 1)
        enter_rung(trial, Point(epoch=1, score=score, train_loss=1.0, validation_loss=0.5, seconds=1.0))
        stopped = trial.should_prune()
    study._storage.save()
    assert stopped
    assert [trial.user_attrs["rung 1"] for trial in stored(tmp_path)] == [[0.9, -0.5], [0.1, -0.5]]
