from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from made import BERT, failed, make_study, record
from rich.console import Console

from autodistill.facts import TeacherRef
from autodistill.limits import Limits
from autodistill.ranking import rank
from autodistill.recipe import Teacher
from autodistill.records import BASELINES, TrialRecord
from autodistill.report.leaderboard import Row, above_best, data_curve, data_reading, failures, finite, rows, short_path, table, verdict
from autodistill.study_report import summary
from autodistill.teachers import Teachers

NONE = Limits()


def taught(score: float | None, params: int | None = None, latency_ms: float | None = None) -> Teachers:
    return Teachers({Teacher(model="big"): TeacherRef("", score, params, latency_ms)})


def a_study() -> list[TrialRecord]:
    baselines = [record(0, "no_kd", 0.80), record(1, "plain_kd", 0.82), record(2, "defaults", 0.84)]
    searched = [record(3 + number, score=0.705 + 0.02 * number, seconds=10.0 + number) for number in range(9)]
    return [*baselines, *searched, record(12, score=0.99, state="pruned"), failed(13)]


def test_the_teacher_stands_first_then_the_best_five_and_the_baselines() -> None:
    shown = rows(a_study(), NONE, taught(0.9, 22_700_000, 7.5), 61.0)
    assert [row.trial for row in shown] == [None, 11, 10, 2, 9, 1, 8, 0, 7]
    assert shown[0] == Row("teacher", None, 0.9, 1.0, 22_700_000, 7.5, 61.0, "big", "")
    best = shown[1]
    assert (best.name, best.score, best.params, best.latency_ms, best.seconds) == ("search", pytest.approx(0.865), 1_234_567, 1.25, 18.0)
    assert best.retention == pytest.approx(0.865 / 0.9)
    assert [row.is_best for row in shown] == [False, True, *[False] * 7]


def test_a_failed_baseline_stands_last_and_says_so() -> None:
    shown = rows(
        [record(0, "no_kd", 0.8), failed(1, role="plain_kd"), failed(2, "interrupted: killed", role="defaults")],
        NONE,
        taught(0.9),
        None,
    )
    assert [(row.name, row.score, row.retention) for row in shown[1:]] == [
        ("no KD", 0.8, pytest.approx(0.8 / 0.9)),
        ("plain KD (failed)", None, None),
    ]
    assert shown[1].is_best  # a baseline may be the best there is


def test_a_baseline_over_the_limit_is_shown_but_is_not_the_best() -> None:
    shown = rows([record(0, "no_kd", 0.9), record(1, score=0.5, params=900)], Limits(max_params=1000), taught(None), None)
    assert [(row.name, row.is_best) for row in shown] == [("teacher", False), ("no KD (over the limit)", False), ("search", True)]


def printed(shown: list[Row], width: int) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    console.print(table(shown, "accuracy", width))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("width", [40, 60, 80, 88, 100, 110, 120, 150, 200])
def test_the_leaderboard_fits_its_terminal(width: int) -> None:
    awkward = {"student": {**BERT, "family": "[red]größe"}, "objective": {}, "teacher": {"model": "[bold]t"}}
    lines = printed(rows([*a_study(), record(20, score=0.95, recipe=awkward)], NONE, taught(0.9), 61.0), width).splitlines()
    assert len(lines) == 1 + 1 + 5 + 3
    assert all(len(line) <= width for line in lines)
    heads = ["#", "what", "accuracy", "retention", "params", "latency", "training", "student", "objective"]
    shown = lines[0].split()
    assert shown == heads[: len(shown)]  # headings are whole, and the first ones are left out last
    assert len(shown) >= {40: 4, 60: 5, 80: 7, 88: 7, 100: 8}.get(width, len(heads))
    assert ("…" in "".join(lines)) <= (width < 150)
    words = lines[2].split()
    assert words[:3] == ["20", "search", "0.9500"]
    if width == 120:
        assert words[3:] == [
            "105.6%",
            "1.23M",
            "1.25",
            "ms",
            "40s",
            "[red]größe",
            "hard",
            "labels",
        ]  # a family that is not installed has no size to show


STRONGER = "The student knows about as much as its teacher, so a stronger teacher (--teacher) promises more than further trials."


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (
            {"no_kd": 0.80, "search": 0.85},
            "The best trial (trial 1) has accuracy 0.8500, 0.0500 more than no KD (0.8000), 50.0% of the way from there to the teacher, "
            "on the validation split, with one seed.",
        ),
        (
            {"no_kd": 0.80, "search": 0.93},
            "The best trial (trial 1) has accuracy 0.9300, 0.1300 more than no KD (0.8000) and 0.0300 more than its teacher (0.9000), "
            "on the validation split, with one seed. " + STRONGER,
        ),
        (
            {"no_kd": 0.80, "search": 0.90},
            "The best trial (trial 1) has accuracy 0.9000, 0.1000 more than no KD (0.8000) and level with its teacher (0.9000), "
            "on the validation split, with one seed. " + STRONGER,
        ),
        (
            {"no_kd": 0.80, "search": 0.75},
            "The best trial (trial 1) has accuracy 0.7500, 0.0500 less than no KD (0.8000): "
            "on the validation split distillation gained nothing here.",
        ),
        (
            {"no_kd": 0.80, "search": 0.80},
            "The best trial (trial 1) has accuracy 0.8000, exactly as much as no KD: distillation gained nothing here.",
        ),
        (
            {"no_kd": 0.80, "plain_kd": 0.82, "search": 0.81},
            "No trial beats the baseline plain KD (trial 1), which has accuracy 0.8200, 0.0200 more than no KD (0.8000), "
            "20.0% of the way from there to the teacher, on the validation split, with one seed.",
        ),
        (
            {"search": 0.85},
            "The best trial (trial 0) has accuracy 0.8500; what distillation gained is not known: the no-KD baseline has not been run.",
        ),
        (
            {"no_kd": 0.80},
            "No distilled student completed, so there is nothing to compare with the student without a teacher (no KD).",
        ),
    ],
)
def test_the_verdict_says_what_distillation_gained(scores: dict[str, float], expected: str) -> None:
    records = [record(number, role, score) for number, (role, score) in enumerate(scores.items())]
    assert verdict(records, NONE) == expected


@pytest.mark.parametrize(("score", "level"), [(0.894, False), (0.896, True), (0.92, True)])
def test_a_student_that_is_level_with_its_teacher_needs_a_stronger_one(score: float, level: bool) -> None:
    assert (STRONGER in verdict([record(0, "no_kd", 0.80), record(1, score=score)], NONE)) == level


def test_a_stronger_teacher_of_scores_is_another_file() -> None:
    by_scores = {"student": BERT, "objective": {"prediction": {"kind": "kl"}}, "teacher": {"model": "big", "scores": "1a2b"}}
    text = verdict([record(0, "no_kd", 0.80), record(1, score=0.9, recipe=by_scores)], NONE)
    assert text.endswith(STRONGER.replace("--teacher", "--teacher-scores"))


def recipe_of(kind: str, channels: int = 64) -> dict[str, Any]:
    objective = {"hard_label_weight": 1.0, "prediction": {"kind": kind}}
    return {
        "teacher": {"model": "big"},
        "student": {"family": "cnn", "channels": channels},
        "objective": objective,
        "training": {"steps": 9},
    }


def test_the_gain_is_over_the_same_student_without_a_teacher_with_its_interval() -> None:
    best, twin, other = recipe_of("kl"), recipe_of("none"), recipe_of("none", 128)
    records = [record(0, "no_kd", 0.70, recipe=other), record(1, score=0.85, recipe=best), record(2, "twin", 0.80, recipe=twin)]
    # 1.96 · √(.85 · .15 / 1000 + .8 · .2 / 1000) = .0332
    assert verdict(records, NONE, 1000) == (
        "The best trial (trial 1) has accuracy 0.8500, 0.0500 more than the same student without a teacher (0.8000; 95% interval of the "
        "gain 0.0168 to 0.0832), 50.0% of the way from there to the teacher, on 1,000 validation rows, with one seed."
    )
    assert "0.1500 more than no KD (0.7000)" in verdict(records[:2], NONE)
    assert [row.name for row in rows(records, NONE, taught(0.9), None)] == ["teacher", "search", "the best without a teacher", "no KD"]


def test_the_mean_over_seeds_is_compared_and_seeds_are_counted() -> None:
    best, twin = recipe_of("kl"), recipe_of("none")
    names = {"recipe_id": "best", "recipe": best}, {"recipe_id": "twin", "recipe": twin}
    seen = [record(0, score=0.88, **names[0]), record(1, "repeat", 0.84, seed=1, **names[0])]
    twins = [record(2, "twin", 0.80, **names[1]), record(3, "twin", 0.82, seed=1, **names[1])]
    text = verdict([*seen, *twins], NONE)
    assert "has accuracy 0.8600, 0.0500 more than the same student without a teacher (0.8100)" in text
    assert text.endswith("on the validation split, means over 2 seeds.")
    assert verdict([*seen, twins[0]], NONE).endswith("means over 2 seeds and, without a teacher, 1.")


def test_a_study_shows_itself_in_python_as_the_command_does(tmp_path: Path) -> None:
    study = make_study(tmp_path, [record(0, "no_kd", 0.5), record(1, score=0.8)])
    study.about["dataset"] = {"constant_score": 0.5}
    board = study.leaderboard()
    assert board["name"].tolist() == ["teacher", "search", "no KD (knows nothing)"]
    assert board["score"].tolist()[1:] == [0.8, 0.5]
    assert study.verdict == verdict(study.trial_records, NONE, None, 0.5)
    page = study._repr_html_()
    assert page.startswith("<h4>s</h4><p>The best trial (trial 1) has accuracy 0.8000")
    assert "<td>no KD (knows nothing)</td>" in page
    assert repr(study).startswith(f"<Study 's' in {study.folder}: A transformer with 1.23M")
    assert len(repr(study.best)) < 300 > len(str(study.best))
    (study.folder / "trials.parquet").write_bytes(b"PAR1")
    assert repr(study).endswith("its trials cannot be read (StudyError)>")


def test_a_student_that_gives_one_answer_for_every_row_is_marked() -> None:
    records = [record(0, "no_kd", 0.5), record(1, score=0.8)]
    assert [row.name for row in rows(records, NONE, taught(0.9), None, 0.5)] == ["teacher", "search", "no KD (knows nothing)"]
    assert verdict(records, NONE, None, 0.5).endswith("learned nothing (one answer for all rows: 0.5000); train longer.")
    assert "learned nothing" not in verdict(records, NONE, None, 0.49)


def test_the_verdict_names_why_the_baseline_has_no_score() -> None:
    text = verdict([failed(0, "OutOfMemoryError: 3 GB", role="no_kd"), record(1, score=0.8)], NONE)
    assert text.endswith("is not known: the no-KD baseline has no score (OutOfMemoryError: 3 GB).")


def test_negative_correlations_are_compared_without_a_share_of_the_gap() -> None:
    def spearman(trial: int, role: str, score: float) -> TrialRecord:
        return record(trial, role, score, metric="spearman", teacher_score=-0.3)

    text = verdict([spearman(0, "no_kd", -0.2), spearman(1, "search", -0.1)], NONE)
    assert (
        text
        == "The best trial (trial 1) has spearman -0.1000, 0.1000 more than no KD (-0.2000) and 0.2000 more than its teacher (-0.3000), "
        "on the validation split, with one seed. " + STRONGER
    )
    shown = rows([spearman(0, "no_kd", -0.2), spearman(1, "search", -0.1)], NONE, taught(-0.3), None)
    assert [row.retention for row in shown] == [None, None, None]
    assert [row.trial for row in shown] == [None, 1, 0]


def test_a_best_trial_without_a_teacher_is_not_called_distillation() -> None:
    bare = {"student": BERT, "objective": {"hard_label_weight": 1.0, "prediction": {"kind": "none"}}}
    text = verdict([record(0, "no_kd", 0.8), record(1, score=0.85, recipe=bare)], NONE)
    assert "0.0500 more than no KD" in text
    assert text.endswith("with one seed. Its recipe learns from hard labels alone, so the gain does not come from distillation.")


def test_an_interrupted_baseline_is_not_taken_for_a_failed_one() -> None:
    records = [failed(0, "interrupted: killed", role="no_kd"), record(1, "no_kd", 0.7), record(2, score=0.8)]
    assert "0.1000 more than no KD (0.7000)" in verdict(records, NONE)


def test_reasons_are_counted() -> None:
    records = [failed(0), failed(1, "ModelError: no"), failed(2), failed(3, "interrupted: killed"), record(4)]
    assert failures(records) == ["2 × DivergedError: the loss is nan", "1 × ModelError: no"]


def test_the_summary_has_the_keys_that_scripts_read(tmp_path: Path) -> None:
    study = make_study(tmp_path, [*a_study(), failed(14, "interrupted: killed")], storage="postgresql://ana:secret@host/db")
    answer = summary(study, {"teacher": 61.2345, "outputs": 9.5, "trials": 200.0, "total": 271.0})
    best: dict[str, Any] = answer.pop("best")
    importance: dict[str, Any] = answer.pop("importance")
    assert [model["name"] for model in answer.pop("frontier")] == ["teacher big", "bert 3×192"]
    assert answer == {
        "study": "s",
        "folder": str(tmp_path / "s"),
        "storage": "postgresql://ana:***@host/db",
        "teacher_score": 0.9,
        "teacher_params": None,
        "teacher_latency_ms": None,
        "teachers": [
            {"name": "big", "score": 0.9, **dict.fromkeys(("probe_score", "linear_score", "ensemble_gain", "params", "latency_ms"))},
        ],
        "baselines": {"no_kd": 0.80, "plain_kd": 0.82, "pseudo_labels": None, "plain_kd_all": None, "defaults": 0.84},
        "counts": {"complete": 12, "pruned": 1, "fail": 1},
        "recommended": str(tmp_path / "s" / "recommended.yaml"),
        "seconds": {"teacher": 61.234, "outputs": 9.5, "trials": 200.0, "total": 271.0},
    }
    assert set(best) == {"score", "agreement", "recipe", "params", "latency_ms", "retention"}
    assert (best["params"], best["latency_ms"], best["recipe"]["student"]) == (1_234_567, 1.25, BERT)
    nothing = {"shares": {}, "interactions": 0.0, "explained": 0.0}
    assert importance == nothing | {"trials": 12, "reason": "all trials have the same recipe"}
    assert best["score"] == pytest.approx(0.865)
    assert best["retention"] == pytest.approx(0.865 / 0.9)


def test_the_summary_of_a_study_without_a_complete_trial(tmp_path: Path) -> None:
    answer = summary(make_study(tmp_path, [failed(0, role="no_kd"), record(1, score=0.5, state="pruned")]), {})
    assert (answer["best"], answer["recommended"]) == (None, None)
    assert answer["baselines"] == dict.fromkeys(BASELINES)
    assert answer["seconds"] == {"teacher": 0.0, "outputs": 0.0, "trials": 0.0, "total": 0.0}


def test_the_summary_has_no_number_that_json_lacks(tmp_path: Path) -> None:
    study = make_study(tmp_path, [record(0, "no_kd", 0.8, latency_ms=math.nan, teacher_score=None)])
    study.about["teacher_score"] = math.nan
    answer = json.loads(json.dumps(summary(study, {"total": math.inf}), allow_nan=False))
    assert answer["teacher_score"] is None
    assert answer["best"]["latency_ms"] is None
    assert answer["best"]["retention"] is None
    assert answer["seconds"]["total"] is None
    assert finite({"a": [1, math.inf, "x"], "b": (math.nan,)}) == {"a": [1, None, "x"], "b": [None]}


def test_paths_below_the_current_folder_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "studies" / "s") == "studies/s"
    assert short_path(tmp_path.parent) == str(tmp_path.parent)


def test_what_unlabelled_rows_are_worth_is_said() -> None:
    records = [record(0, "no_kd", 0.70), record(1, "plain_kd", 0.72), record(2, "pseudo_labels", 0.76), record(3, "plain_kd_all", 0.80)]
    sentence = verdict([*records, record(4, "search", 0.85)], Limits())
    assert sentence.endswith(
        "Unlabelled rows are worth +0.0800 to plain distillation: 0.7200 without them, 0.8000 with them; "
        "with the teacher's decisions alone as labels 0.7600."
    )
    assert "Unlabelled" not in verdict([*records[:2], record(4, "search", 0.85)], Limits())


def part(trial: int, keep: float, score: float) -> TrialRecord:
    made = record(trial, "fewer_rows", score)
    return made.model_copy(update={"recipe": made.recipe | {"training": {"epochs": 8, "unlabelled_keep": keep}}})


def test_what_more_unlabelled_rows_would_give() -> None:
    records = [part(5, 1.0, 0.86), part(6, 0.25, 0.80), part(7, 0.5, 0.84)]
    assert data_curve(records, 4000) == [(1000, 0.80), (2000, 0.84), (4000, 0.86)]
    reading = data_reading(records, 4000)  # the last doubling gained half as much as the one before: the next gains half of that
    assert "0.8000 with 1,000, 0.8400 with 2,000, 0.8600 with 4,000" in reading
    assert "about 0.870" in reading
    assert "gained nothing" in data_reading([part(5, 1.0, 0.84), *records[1:]], 4000)
    assert data_reading(records[:2], 4000) == ""


def test_trials_on_parts_of_the_rows_do_not_win() -> None:
    records = [record(0, "search", 0.8), part(1, 0.5, 0.9)]
    assert [item.trial for item in rank(records, Limits())] == [0]


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ([record(2, score=0.8)], ""),  # below the best
        ([record(2, "no_kd", 0.95, params=9_000_000)], "Trial 2: over a limit of the search."),
        ([record(2, "twin", 0.95)], "Trial 2: the best recipe without its teacher, trained to compare with and not to choose."),
        ([record(0, score=0.9, params=4_000_000)], "Trial 0: the same score with a larger student."),
        (
            [record(2, score=0.93), record(3, score=0.92), record(4, "repeat", 0.9, recipe_id="id1", seed=1)],
            "Trials 2, 3: a higher score with fewer seeds, but the best has the highest mean over several seeds.",
        ),
    ],
)
def test_rows_above_the_best_are_explained(others: list[TrialRecord], why: str) -> None:
    records = sorted([record(1, score=0.9), *others], key=lambda item: item.trial)
    limits = Limits(max_params=5_000_000)
    sentence = above_best(rows(records, limits, Teachers({}), None), records, limits)
    assert sentence == (f"Rows above the best trial (1) are not chosen. {why}" if why else "")


def compared(trial: int, score: float, agreement: float, **changes: Any) -> TrialRecord:
    """A trial of a study with 100 validation rows whose students are also compared on 900 rows without labels."""
    standing = 0.1 * score + 0.9 * agreement
    return record(trial, score=score, agreement=agreement, standing=standing, **changes)


def test_where_few_rows_have_labels_trials_are_ordered_by_score_and_agreement() -> None:
    records = [compared(0, 0.80, 0.70, role="no_kd"), compared(1, 0.92, 0.85), compared(2, 0.90, 0.95), compared(3, 0.91, 0.90)]
    assert [item.trial for item in rank(records, NONE)] == [2, 3, 1, 0]
    shown = rows(records, NONE, taught(0.93), None)
    assert [row.trial for row in shown] == [None, 2, 3, 1, 0]
    assert [row.agreement for row in shown] == [None, 0.95, 0.90, 0.85, 0.70]
    assert shown[1].is_best
    assert above_best(shown, records, NONE) == ""
    assert all(len(line) <= width for width in (40, 60, 80, 120) for line in printed(shown, width).splitlines())
    text = printed(shown, 120)
    assert "agreement" in text
    assert "0.9500" in text
    said = verdict(records, NONE, 100)
    assert "accuracy 0.9000, 0.1000 more than" in said  # the gain is that of labelled rows
    assert (
        "100 validation rows can hardly tell trials apart, so they are ordered also by their agreement with the teacher on rows without "
        "labels that none of them learned from: 0.9500 for the best, 0.7000 for no KD."
    ) in said


@pytest.mark.parametrize(
    ("score", "said"), [(0.9, "exactly as much as no KD: on so few"), (0.8, "0.1000 less than no KD (0.9000): on the")]
)
def test_few_rows_that_show_no_gain_do_not_prove_that_there_is_none(score: float, said: str) -> None:
    records = [compared(0, 0.90, 0.70, role="no_kd"), compared(1, score, 0.95)]
    shown = verdict(records, NONE, 15)
    assert said in shown
    assert "no gain is seen" in shown
    assert "gained nothing" not in shown


def test_seeds_of_a_recipe_are_averaged_over_both() -> None:
    first, lucky = compared(1, 0.90, 0.80), compared(2, 0.90, 0.81)
    again = compared(3, 0.90, 0.84, role="repeat", recipe_id=first.recipe_id, seed=1)
    assert rank([first, lucky, again], NONE)[0] is first  # .82 on average


def test_no_agreement_is_shown_where_none_was_measured() -> None:
    shown = rows(a_study(), NONE, taught(0.9), None)
    assert "agreement" not in printed(shown, 120)
    assert "agreement" not in verdict(a_study(), NONE, 100)
