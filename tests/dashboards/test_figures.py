from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from autodistill.dashboards import FIGURES, across, style
from autodistill.dashboards.components import name_of
from autodistill.dashboards.costs import time
from autodistill.dashboards.page import describe_figure
from generated import SPREAD, generate, library
from made import failed, make_study, point, record
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from autodistill.errors import StudyError
from autodistill.limits import Limits
from autodistill.recommender.library import RecordedStudy
from autodistill.records import TrialRecord

RECORDS = generate(60)
AWKWARD: dict[str, list[TrialRecord]] = {
    "none": [],
    "all failed": [failed(0), failed(1)],
    "none finished": [record(0, score=None, state="infeasible", reason="too large")],
    "one": [record(0)],
    "not a number": [record(0, score=math.nan), record(1, score=math.inf, curve=[point(1, math.nan)])],
    "equal scores": [record(trial, score=0.5) for trial in range(4)],
    "without costs": [record(0, params=None, latency_ms=None, seconds=None), record(1, params=0, latency_ms=0.0)],
    "without a recipe": [record(0, recipe={}), record(1, recipe={"student": {"family": "ß" * 60}})],
    "three": generate(3, repeats=0),
    "a recommended baseline": [record(0, "no_kd", 0.9), record(1, score=0.8)],
}


def trace(figure: go.Figure, name: str) -> Any:
    return next(item for item in figure.data if item.name == name)


@pytest.mark.parametrize("kind", AWKWARD)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_of_whatever_there_is(name: str, kind: str) -> None:
    figure = FIGURES[name](AWKWARD[kind], Limits(max_params=10_000_000, max_latency_ms=2.0))
    data = json.loads(figure.to_json())
    assert figure.layout.title.text
    if not data["data"]:
        assert figure.layout.meta["empty"].endswith(".")


@pytest.mark.parametrize("name", FIGURES)
def test_names_from_outside_are_text_in_every_figure(name: str) -> None:
    bad = "<b onclick=x>"
    recipes = [record(0).recipe | {"student": {"family": bad + end}} for end in "ab"]
    records = [
        record(trial, metric=bad, recipe=recipes[trial % 2], score=0.5 + trial / 100, seed=trial // 4, recipe_id=str(trial % 4))
        for trial in range(8)
    ]
    assert bad not in json.dumps(json.loads(FIGURES[name](records, Limits()).to_json()), ensure_ascii=False)


def test_the_front_is_drawn_through_what_nothing_beats() -> None:
    points = [(1e6, 0.5), (2e6, 0.7), (3e6, 0.6), (4e6, 0.9)]
    records = [record(trial, score=score, params=int(params)) for trial, (params, score) in enumerate(points)]
    line = trace(FIGURES["pareto"](records, Limits()), "Pareto front")
    assert list(zip(line.x, line.y, strict=True)) == [(1e6, 0.5), (2e6, 0.7), (4e6, 0.9)]
    assert line.line.shape == "hv"


def test_limits_are_drawn_and_what_breaks_them_is_told_apart() -> None:
    records = [record(0, score=0.7, params=1_000_000), record(1, score=0.9, params=9_000_000)]
    figure = FIGURES["pareto"](records, Limits(max_params=5_000_000))
    assert list(trace(figure, "over a limit").x) == [9e6]
    assert list(trace(figure, "best").x) == [1e6]
    assert [shape.x0 for shape in figure.layout.shapes if shape.type == "line" and shape.x0 == shape.x1] == [5e6]
    assert "limit 5.00M" in [note.text for note in figure.layout.annotations]


def test_repeats_become_error_bars_on_the_recipe_they_repeat() -> None:
    records = [record(0, score=0.80, recipe_id="a"), record(1, "repeat", 0.84, recipe_id="a", seed=1), record(2, score=0.7)]
    drawn = trace(FIGURES["pareto"](records, Limits()), "search")
    assert list(drawn.y) == [pytest.approx(0.82), pytest.approx(0.7)]
    assert list(drawn.error_y.array) == [pytest.approx(math.sqrt(2 * 0.02**2)), None]
    seeds = FIGURES["seeds"](records, Limits())
    assert list(trace(seeds, "one seed").x) == [0.80, 0.84]


def test_the_crosses_stand_where_trials_were_stopped() -> None:
    figure = FIGURES["curves"](RECORDS, Limits())
    stopped = {item.trial: (item.curve[-1].epoch, item.curve[-1].score) for item in RECORDS if item.state == "pruned"}
    crosses = trace(figure, "stopped here")
    assert dict(zip(crosses.customdata, zip(crosses.x, crosses.y, strict=True), strict=True)) == stopped
    drawn = sum(int(np.isfinite(np.asarray(item.y, dtype=float)).sum()) for item in figure.data if item.name != "stopped here")
    assert drawn == sum(len(item.curve) for item in RECORDS if item.role != "repeat")


def test_groups_of_choices_have_their_medians() -> None:
    records = [record(trial, score=score, recipe={"student": {"family": family}}) for trial, (family, score) in enumerate(
        [("cnn", 0.5), ("cnn", 0.7), ("cnn", 0.6), ("bert", 0.9), ("bert", 0.8)]
    )]  # fmt: skip
    figure = FIGURES["values"](records, Limits())
    assert list(trace(figure, "median").x) == [0.6]
    assert list(trace(figure, "best trial’s choice").x) == [pytest.approx(0.85)]
    assert next(text for text in figure.layout.yaxis.ticktext if "bert" in text).endswith("(2)</span>")


def test_the_time_is_all_there_and_what_was_saved_is_told_apart() -> None:
    figure = time(RECORDS, Limits(), {"teacher": 60.0, "outputs": 10.0})
    spent, saved = figure.data
    unit = 60.0
    assert sum(spent.x) * unit == pytest.approx(70.0 + sum(item.seconds or 0.0 for item in RECORDS))
    assert set(saved.y) == {"early stopping saved", "stored outputs saved"}
    assert len([item for item in RECORDS if item.state == "fail"]) == len(range(SPREAD - 1, 63, SPREAD))
    assert len(time(RECORDS, Limits()).data[1].y) == 1  # without a measured pass of the teacher nothing is claimed


def test_the_lines_side_by_side_are_the_best_trials() -> None:
    figure = FIGURES["parallel"](RECORDS, Limits())
    ranked = sorted((item for item in RECORDS if item.state == "complete" and item.role != "repeat"), key=lambda item: -(item.score or 0.0))
    assert len(figure.data) == min(20, len(ranked))
    assert all(0.0 - 0.06 <= y <= 1.06 for item in figure.data for y in item.y)
    assert {f"trial {item.trial}" for item in ranked[:5]} <= {item.name.removeprefix("best, ") for item in figure.data}


def test_the_loss_mix_shows_every_completed_trial_once_a_term() -> None:
    figure = FIGURES["loss_mix"](RECORDS, Limits())
    completed = [item for item in RECORDS if item.state == "complete" and item.role != "repeat"]
    terms = [item for item in figure.data if item.name is None]
    assert {len(item.x) for item in terms} == {len(completed)}
    weights = {item.trial: item.recipe["objective"]["hard_label_weight"] for item in completed}
    assert dict(zip(terms[0].customdata, terms[0].y, strict=True)) == pytest.approx(weights)


def test_colours_are_of_the_palette_that_the_colour_blind_tell_apart() -> None:
    palette = {style.BLACK, style.ORANGE, style.SKY, style.GREEN, style.YELLOW, style.BLUE, style.VERMILION, style.PURPLE}
    assert {colour for colour, _ in style.ROLES.values()} - palette == {style.MUTED}
    assert len({style.ROLES[role] for role in ("no_kd", "plain_kd", "defaults")}) == 3


def test_key_paths_read_as_words() -> None:
    assert name_of("objective.intermediate.kind") == "intermediate"
    assert name_of("objective.intermediate.mi_alpha") == "intermediate mi alpha"
    assert name_of("training.learning_rate") == "learning rate"


def test_a_study_plots_by_name(tmp_path: Any) -> None:
    study = make_study(tmp_path, RECORDS)
    assert study.plot("pareto").layout.title.text == "Score against size"
    with pytest.raises(StudyError, match="the figure is 'paretto'; allowed: frontier, pareto, latency.*Did you mean 'pareto'"):
        study.plot("paretto")


def test_the_map_is_the_principal_components_of_standardised_features() -> None:
    studies = library(6, 4)
    places, shares = across.principal_components(studies)
    assert places is not None
    names = ("rows", "classes", "length")  # "same" does not vary
    table = StandardScaler().fit_transform([[study.features[name] for name in names] for study in studies])
    reference = PCA(n_components=2).fit(table)
    assert np.abs(places) == pytest.approx(np.abs(reference.transform(table)), abs=1e-9)
    assert shares == pytest.approx(tuple(reference.explained_variance_ratio_))
    assert across.principal_components(studies[:2])[0] is None
    assert across.dataset_map(studies[:2]).layout.meta["empty"].startswith("Fewer than three")


def test_a_gap_is_what_the_best_with_a_choice_lies_behind_the_best() -> None:
    recipes = [{"student": {"family": family}} for family in ("cnn", "cnn", "bert")]
    records = [record(trial, score=score, recipe=recipes[trial]) for trial, score in enumerate([0.5, 0.8, 0.9])]
    (study, _) = library(2, 3)
    gaps = across.gaps_by_choice([replace(study, records=records, teacher_score=0.95)])["set-0"]
    assert gaps["student.family", "bert"] == 0.0
    assert gaps["student.family", "cnn"] == pytest.approx(100 * 0.1 / 0.95)
    assert across.winners([]).layout.meta["empty"].startswith("No recorded study")


def test_the_winners_are_said_in_words() -> None:
    def study(name: str, scores: dict[str, float]) -> RecordedStudy:
        recipes = {family: record(0).recipe | {"student": {"family": family}} for family in scores}
        records = [record(trial, score=scores[family], recipe=recipes[family], recipe_id=family) for trial, family in enumerate(scores)]
        return replace(library(1, 1)[0], name=name, records=records)

    studies = [study("a", {"bert": 0.9, "cnn": 0.8}), study("b", {"bert": 0.7, "cnn": 0.8}), study("c", {"bert": 0.9, "cnn": 0.8})]
    words = describe_figure(across.winners(studies))
    assert words == "Which components win where. The choices that win most often: student bert (2 of 3)"


def test_labels_of_neighbours_do_not_lie_on_each_other() -> None:
    ranges = [(0.0, 10.0), (0.0, 10.0)]

    def placed(points: list[list[float]], names: list[str]) -> list[list[int]]:
        return [np.sign(shift).astype(int).tolist() for shift, _ in across.label_places(np.array(points), names, ranges)]

    above, below = [0, 1], [0, -1]
    assert placed([[2.0, 2.0], [8.0, 8.0]], ["one", "two"]) == [above, above]
    # Above the first marker is the second one's, so the first label goes below; above the second is free.
    assert placed([[5.0, 5.0], [5.0, 5.5]], ["one", "two"]) == [below, above]
    # Side by side, nearer than the labels are wide: the first is above, the second below.
    assert placed([[5.0, 5.0], [5.8, 5.0]], ["the first", "the second"]) == [above, below]


def test_labels_of_a_crowd_move_away_and_cover_nothing_at_any_width() -> None:
    rng = np.random.default_rng(0)
    points, names = rng.normal([3.0, 5.0], 0.7, (14, 2)), [f"dataset-{number}" for number in range(14)]
    found = across.label_places(points, names, [(0.0, 10.0), (0.0, 10.0)])
    assert any(apart for _, apart in found)
    sizes = [np.array([7.0 * len(name), 13.0]) for name in names]
    for width, height in ((300, 376), (450, 376), (860, 376)):
        pixels = points / 10 * (width, height)
        centres = [point + shift for point, (shift, _) in zip(pixels, found, strict=True)]
        boxes = [*zip(centres, sizes, strict=True), *((point, np.full(2, 10.0)) for point in pixels)]
        covered = [
            (one, two) for one in range(14) for two in range(one + 1, 28)
            if (np.abs(boxes[one][0] - boxes[two][0]) < (boxes[one][1] + boxes[two][1]) / 2 - 2).all()
        ]  # fmt: skip
        assert covered == []


def part(trial: int, keep: float, score: float) -> TrialRecord:
    made = record(trial, "fewer_rows", score)
    return made.model_copy(update={"recipe": made.recipe | {"training": {"unlabelled_keep": keep}}})


def test_parts_of_the_unlabelled_rows_are_drawn_beside_no_kd_and_the_teacher() -> None:
    records = [record(0, "no_kd", 0.7), part(1, 1.0, 0.86), part(2, 0.25, 0.80), part(3, 0.5, 0.84)]
    figure = FIGURES["unlabelled"](records, Limits())
    line = trace(figure, "the best recipe")
    assert (list(line.x), list(line.y)) == ([25, 50, 100], [0.80, 0.84, 0.86])
    assert [item.text for item in figure.layout.annotations] == ["no KD 0.7000", "teacher 0.9000"]
    low, high = figure.layout.yaxis.range
    assert low < 0.7 < 0.9 < high
    assert "--data-curve" in FIGURES["unlabelled"](records[:1], Limits()).layout.meta["empty"]
