"""Whether untrained students tell which recipe will be best: proxies that cost no training, compared with recorded scores.

AUTODISTILL_DATA=DIR python benchmarks/zero_cost.py [--studies trec-few …] [--rows 500] --kept FILE [--json]

For every recorded recipe of a study its student is built as a trial builds it, before the first step, and measured on labelled rows:

    parameters  the logarithm of their number
    gradient    the logarithm of the norm of the loss's gradient on 64 rows (Abdelfattah et al. 2021, "Zero-Cost Proxies for Lightweight
                NAS")
    relation    how alike the similarities between rows are in the student and in the teacher's frozen encoder: Spearman's correlation of
                the cosines of all pairs (after the relation part of Dong et al. 2023, "DisWOT")
    probe       the score on validation rows of a linear model of the untrained student's vectors

Each is compared with the recorded scores within a study, by Spearman's correlation. The recommender, fitted on the studies of other groups,
is compared with them in the same way; then so is the mean of its ranks and a proxy's, and the recommender's order after the third of the
recipes with the smallest proxy is left out. Regret is the best recorded score minus that of the recipe that comes first. FILE keeps every
measurement (jsonl): a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from kept_rows import KeptRows
from rich.console import Console
from rich.table import Table as Grid
from scipy.stats import rankdata, spearmanr
from sklearn.linear_model import RidgeClassifierCV
from sklearn.preprocessing import StandardScaler

from autodistill.errors import AutodistillError
from autodistill.models import build_student
from autodistill.models.base import StudentModule
from autodistill.prepare import prepare
from autodistill.recipe import Recipe
from autodistill.recommender.candidates import comparable
from autodistill.recommender.intervals import Predictor
from autodistill.recommender.library import RecordedStudy, shipped
from autodistill.recommender.methods import METHODS, SHIPPED
from autodistill.recommender.table import NewDataset, from_studies, recipe_frame
from autodistill.settings import RecommendSettings
from autodistill.teacher.load import untrained_teacher
from autodistill.train.data import Opened, read_by_student

PROXIES = ("parameters", "gradient", "relation", "probe")
ALIKE = 256
"""Rows whose similarities are compared."""


def quiet(event: object) -> None:
    """No progress."""


def final_scores(study: RecordedStudy) -> dict[str, float]:
    """The score of each recipe that was trained to its end, with the first seed."""
    seed = min(record.seed for record in study.records)
    ended = (record for record in study.records if record.state == "complete" and record.seed == seed and record.score is not None)
    return {record.recipe_id: float(record.score or 0.0) for record in ended}


def read(model: StudentModule, inputs: Any, rows: int) -> np.ndarray:
    """The vectors (N, D) of the first rows, by a model as it is."""
    with torch.inference_mode():
        parts = [model.eval()(inputs.batch(torch.arange(low, min(low + 64, rows)))).embedding.float() for low in range(0, rows, 64)]
    return torch.cat(parts).numpy()


def cosines(vectors: np.ndarray) -> np.ndarray:
    """Those of all pairs of rows."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


def measure(recipe: Recipe, opened: Opened, teacher: np.ndarray, rows: int) -> dict[str, float]:
    """The proxies of a recipe. teacher: the cosines of its frozen encoder."""
    own = read_by_student(opened, recipe)
    data = own.dataset
    torch.manual_seed(0)
    model = build_student(recipe, own.context)
    labelled, judged = min(rows, len(data.train)), min(rows, len(data.validation))
    vectors = read(model, own.train, labelled)
    scaler = StandardScaler().fit(vectors)
    probe = RidgeClassifierCV(np.logspace(-1, 4, 6)).fit(scaler.transform(vectors), data.train.labels[:labelled])
    guessed = probe.predict(scaler.transform(read(model, own.validation, judged)))
    logits = np.eye(data.num_outputs)[guessed]
    score = data.target.evaluate(data.metric, logits, data.validation.labels[:judged])[data.metric]
    alike = float(spearmanr(cosines(vectors[:ALIKE]), teacher).statistic)

    model.train()
    torch.manual_seed(0)
    loss = torch.nn.functional.cross_entropy(
        model(own.train.batch(torch.arange(64))).logits.float(), torch.as_tensor(data.train.labels[:64]).long()
    )
    loss.backward()
    norm = math.sqrt(sum(float(each.grad.float().square().sum()) for each in model.parameters() if each.grad is not None))
    params = sum(each.numel() for each in model.parameters())
    return {"parameters": math.log10(params), "gradient": math.log10(max(norm, 1e-12)), "relation": alike, "probe": float(score)}


def merits(study: RecordedStudy, studies: list[RecordedStudy], recipes: list[dict[str, Any]]) -> np.ndarray:
    """What the recommender, fitted on the studies of other groups, thinks of the recipes."""
    table = from_studies([other for other in studies if other.group != study.group])
    target = NewDataset(study.task, pd.Series(study.features, dtype=float), study.unlabelled)
    return np.asarray(Predictor(table, METHODS[SHIPPED]).method.merit(recipe_frame(recipes), target), dtype=float)


def measure_study(study: RecordedStudy, rows: int, done: set[str], keep: Callable[[dict[str, Any]], None]) -> None:
    """Measure the study's recipes that are not in the file yet."""
    scores = final_scores(study)
    recipes = {record.recipe_id: record.recipe for record in study.records if record.recipe_id in scores}
    left = {name: recipe for name, recipe in recipes.items() if name not in done}
    if not left:
        return
    more = {"unlabelled": ("rest",), "limit_unlabelled": study.about["dataset"]["unlabelled_rows"]} if study.unlabelled else {}
    asked = RecommendSettings(dataset=study.dataset, limit_train=study.train_rows, **more)
    ready = prepare(asked, quiet, fine_tune=False)
    (part, opened), *_ = ready.opened.items()
    frozen = cosines(read(untrained_teacher(ready.data, part)[0], opened.train, min(ALIKE, len(ready.data.train))))
    measured: dict[str, dict[str, float]] = {}
    for name, data in left.items():
        recipe = Recipe.parse(data | {"teacher": part.model_dump()})
        student = repr(recipe.student)
        if student not in measured:  # the proxies see nothing else of a recipe
            measured[student] = measure(recipe, opened, frozen, rows)
        keep({"study": study.name, "recipe": name, "score": scores[name], **measured[student]})


def compare(study: RecordedStudy, studies: list[RecordedStudy], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For the recommender, each proxy, and both together: the correlation with the scores, and the regret."""
    by_name = {record.recipe_id: record.recipe for record in study.records}
    score = np.array([row["score"] for row in rows])
    merit = merits(study, studies, [by_name[row["recipe"]] for row in rows])
    orders = {"recommender": merit}
    for proxy in PROXIES:
        values = np.array([row[proxy] for row in rows])
        orders[proxy] = values
        orders[f"recommender + {proxy}"] = rankdata(merit) + rankdata(values)
        orders[f"recommender, {proxy} as a filter"] = np.where(rankdata(values) > len(rows) / 3, merit, -np.inf)
    return [
        {
            "study": study.name,
            "order": name,
            "spearman": float(spearmanr(order, score).statistic) if np.ptp(order) > 0 else 0.0,  # equal for all: it tells nothing
            "regret": float(score.max() - score[np.isclose(order, order.max())].mean()),
        }
        for name, order in orders.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", nargs="+", metavar="NAME", help="default: those of few labels with unlabelled rows")
    parser.add_argument("--rows", type=int, default=500, help="labelled and validation rows that the probe reads (default: 500)")
    parser.add_argument("--kept", type=Path, required=True, metavar="FILE", help="where measurements are kept")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    studies = comparable(shipped(), "text-classification")
    chosen = (
        [study for study in studies if study.name in args.studies] if args.studies else [study for study in studies if study.unlabelled]
    )
    rows = KeptRows(args.kept, lambda row: f"{row['study']} {row['recipe']}")
    try:
        for study in chosen:
            measure_study(study, args.rows, {row["recipe"] for row in rows if row["study"] == study.name}, rows.keep)
    except AutodistillError as error:
        print(f"zero_cost: {error}", file=sys.stderr)
        return error.exit_code
    lines = [line for study in chosen for line in compare(study, studies, [row for row in rows if row["study"] == study.name])]
    means = {
        order: {key: statistics.fmean(line[key] for line in lines if line["order"] == order) for key in ("spearman", "regret")}
        for order in dict.fromkeys(line["order"] for line in lines)
    }
    if args.json:
        print(json.dumps({"means": means, "lines": lines}, indent=1))
        return 0
    grid = Grid("order", "Spearman", "regret@1", title=f"means over {len(chosen)} studies, {len(rows)} recipes")
    for name, mean in means.items():
        grid.add_row(name, f"{mean['spearman']:.3f}", f"{mean['regret']:.4f}")
    Console(width=None if sys.stdout.isatty() else 120).print(grid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
