"""Record the studies that are shipped: each dataset in one or more regimes, with recipes that differ from the defaults in one thing,
recipes that fill the space, and recipes that optimise.

    AUTODISTILL_DATA=DIR python studies/record.py --work DIR [--regime few|few-mpnet|all|embedding] [--passes 1|2|3] [DATASET ...]

A regime says how many rows have labels, how many have none, and how long a training is. The entry of a dataset in the regime `few` is
called DATASET-few, with a larger teacher DATASET-few-mpnet, in `all` DATASET-all; in the regime `embedding`, which uses no labels,
DATASET-embedding. Recording may be stopped and started again at any time: searches resume, and an entry of studies/recorded is written
after each. Before each search the time is printed that the searches so far let one expect.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodistill.errors import RecipeError
from autodistill.models.pretrained import MPNET
from autodistill.recipe import Recipe
from autodistill.space import Space
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef

HERE = Path(__file__).resolve().parent
LIBRARY = HERE / "recorded"
EXPLORED, SEARCHED, SEEDS = 60, 12, 3

_NO_STATES = {"objective.intermediate.kind": "none"}
_NARROW = {"student.hidden_size": 192}
_TEACHERS_LAYERS = {"student.hidden_size": 384}  # the default teacher's width, so that its layers are copied exactly
_WIDE = _TEACHERS_LAYERS | {"training.learning_rate": 1e-4}
_BY_STEPS = tuple(_TEACHERS_LAYERS | {"training.steps": steps} for steps in (250, 500, 1000))
USUAL: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "cnn": (
        {},
        _NO_STATES,
        {"objective.prediction.kind": "pseudo_label"},
        {"training.learning_rate": 5e-3},
        {"student.channels": 256, "student.embedding_size": 192},
        {"training.stages": "unlabelled-labelled"},
    ),
    "static": ({}, {"student.ngrams": 2}, {"training.learning_rate": 5e-3}),
    "bert": (_NARROW, *_BY_STEPS),
    "bilstm": ({},),
}
"""By family, what is changed in its defaults: few things at a time, so that the effect of each can be read from the table."""
FURTHER: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "cnn": (
        _NO_STATES | {"objective.hard_label_weight": 0.05},
        {"objective.prediction.temperature": 4.0},
        {"objective.prediction.kind": "mse"},
        {"objective.hard_label_weight": 0.05},
        {"objective.hard_label_weight": 0.6},
        {"objective.relation.kind": "rkd"},
        {"objective.contrastive.kind": "infonce"},
        {"objective.intermediate.kind": "cosine", "objective.intermediate.weight": 1.0},
        {"training.unlabelled_share": 0.9},
        {"training.batch_size": 64},
        {"student.vocabulary": "trimmed"},
        {"training.steps": 4000},
    ),
    "static": (
        _NO_STATES,
        {"objective.prediction.kind": "pseudo_label"},
        {"objective.hard_label_weight": 0.6},
        {"training.stages": "unlabelled-labelled"},
        {"training.unlabelled_share": 0.9},
        {"student.embedding_size": 256},
        {"student.hidden_size": 0},
        {"training.steps": 4000},
    ),
    "bert": (
        _WIDE | {"student.layers": 2},
        _WIDE | {"student.layers": 4},
        _NO_STATES,
        {"objective.prediction.kind": "pseudo_label"},
        {"training.steps": 4000},
    ),
    "bilstm": (_NO_STATES,),
}
"""More of them, which are trained after all datasets have had those of USUAL."""
WITHOUT_UNLABELLED: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "cnn": ({}, {"student.channels": 256, "student.embedding_size": 192}, {"augmentation.kind": "random"}),
    "static": ({}, {"student.ngrams": 2}),
    "bert": (_NARROW, *_BY_STEPS),
}
"""The same for datasets that have no unlabelled rows."""
UNDER_LARGER: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "encoder": ({}, {"student.layers": 3}),
    "cnn": ({}, _NO_STATES, {"student.channels": 256, "student.embedding_size": 192}),
    "bert": (_TEACHERS_LAYERS,),
    "shallow": ({}, {"student.layers": 3}),
}
"""The same for a teacher that is larger than the pretrained encoder that a student can be. (A static student would start with all pieces
that such a teacher reads alone, which takes minutes.)"""
OF_IMAGES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "cut:tf_efficientnet_lite0": (
        {},
        {"student.stages": 3},
        _NO_STATES,
        {"student.image_size": 96},
        {"student.image_size": 96, "student.stages": 5},
    ),
    "timm:test_resnet": ({},),
    "timm:mobilenetv3_small_050": ({},),
}
"""The same for images, with unlabelled rows or without."""
_WEAK_STATES = {"objective.intermediate.kind": "mi", "objective.intermediate.weight": 0.03}
OF_PAIRS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "bert": ({}, _WEAK_STATES, {"student.hidden_size": 192}),
    "static": (
        {},
        _WEAK_STATES,
        _NO_STATES,
        {"student.embedding_size": 256, "student.hidden_size": 0},
        {"student.embedding_size": 256, "student.hidden_size": 0, "training.learning_rate": 5e-3},
        {"student.embedding_size": 256, "student.hidden_size": 0, "student.ngrams": 2},
    ),
    "cnn": ({}, _WEAK_STATES),
    "bilstm": ({},),
}
"""The same for pairs of texts."""
OF_VECTORS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "static": (
        {"objective.relation.kind": "rkd"},
        {"objective.relation.kind": "sp"},
        {"objective.contrastive.kind": "infonce"},
        {"objective.contrastive.kind": "ckd"},
        {"objective.contrastive.kind": "wcord"},
        {"student.vocabulary": "trimmed"},
        {"student.init": "input_embeddings"},
        {"student.embedding_size": 128},
        {"student.hidden_size": 256},
        {"training.learning_rate": 5e-3},
        {"training.steps": 4000},
    ),
    "cnn": ({}, {"objective.relation.kind": "rkd"}, {"objective.intermediate.kind": "mi"}),
}
"""The same for sentence embeddings. The static student's defaults (`cosine`) and `mse` alone are baselines of every search."""


@dataclass(frozen=True)
class Regime:
    """rows: the labelled rows of each dataset; None for all. suffix: of its entries' names. changes: what is changed in the defaults, in
    groups that are trained one after the other. task: what the dataset is read as, if not as what it says it is. unlabelled: at most so
    many of the other training rows are used without their labels. teacher: if it is not the space's.
    """

    rows: Mapping[str, int | None]
    suffix: str
    changes: tuple[Mapping[str, tuple[Mapping[str, Any], ...]], ...]
    task: str | None = None
    unlabelled: int | None = None
    teacher: str | None = None


REGIMES = {
    "few": Regime(
        {
            "trec": 500, "clinc150": 1500, "sst2": 2000, "snips": 300, "mpqa": 500, "movie-reviews": 1000, "tweet_emotion": 600,
            "election-tweets": 600, "hate_offensive": 2000, "atis": 400, "cr": 400, "reuters-r52": 600, "movie-subjectivity": 400,
            "stsb": 1000, "cifar10": 2000, "mnist-5k": 500, "digits": 100,
        },
        suffix="-few",
        changes=(USUAL, FURTHER),
        unlabelled=6000,
    ),
    "few-mpnet": Regime(
        {"sst2": 2000, "trec": 500, "mpqa": 500, "clinc150": 1500, "movie-reviews": 1000},
        suffix="-few-mpnet",
        changes=(UNDER_LARGER,),
        unlabelled=6000,
        teacher=MPNET,
    ),
    "all": Regime(
        dict.fromkeys(
            (
                "trec", "snips", "mpqa", "movie-reviews", "clinc150", "sst2", "tweet_emotion", "atis", "cr", "tweet_irony", "cola",
                "tweet-ratings", "stsb", "hate_offensive", "mnist-5k", "digits", "cifar10",
            ),
            6000,
        ),
        suffix="-all",
        changes=(WITHOUT_UNLABELLED,),
    ),
    "embedding": Regime(
        dict.fromkeys(("stsb", "clinc150", "movie-reviews")), suffix="-embedding", task="embedding", changes=(OF_VECTORS,)
    ),
}  # fmt: skip
"""few: few labels with unlabelled rows of the same source. few-mpnet: the same with a teacher of 109.5 M parameters. all: up to
6,000 labelled rows and no others. embedding: all training texts, without labels. 1,000 steps; for half of the teacher 250 and 500, too."""


def variations(space: Space, changes: Mapping[str, tuple[Mapping[str, Any], ...]]) -> Iterator[Recipe]:
    """The defaults of each family with each of its changes."""
    for family, own in changes.items():
        for change in own:
            held = space.fixed("student.family", family)
            for path, value in change.items():
                held = held.fixed(path, value)
            with suppress(RecipeError):  # the task has no such kind
                yield held.defaults()


def recipes(dataset: str, regime: Regime) -> list[list[Recipe]]:
    """The recipes of a dataset that are not proposed by the search, in the groups in which they are added to it."""
    unlabelled = ("rest",) if regime.unlabelled else ()
    rows, most = regime.rows[dataset], regime.unlabelled
    data = load_dataset(DatasetRef(dataset, rows, unlabelled=unlabelled, limit_unlabelled=most, task=regime.task))
    space = Space.load(data.target.space or data.modality.name, data.task)
    if data.unlabelled is None:
        space = space.without_unlabelled()
    if regime.teacher is not None:
        space = space.fixed("teacher.model", regime.teacher)
    for path in {"training.passes", "training.max_steps"} & space.parameters.keys():
        space = space.fixed(path, 0)  # the same trainings on so few rows, under the ids that earlier ones have
    groups = {0: (OF_IMAGES,), 1: regime.changes, 2: (OF_PAIRS,)}[data.modality.texts]
    searched = space.defaults()  # a baseline of the search, which is the same training
    return [[recipe for recipe in variations(space, changes) if recipe != searched] for changes in groups]


def recipe_options(dataset: str, regime: Regime, work: Path) -> list[list[str]]:
    """The recipes written into files: the words of the command line for each group."""
    folder = work / "recipes"
    folder.mkdir(parents=True, exist_ok=True)
    options: list[list[str]] = []
    number = itertools.count()
    for group in recipes(dataset, regime):
        options.append([])
        for recipe in group:
            file = folder / f"{dataset}{regime.suffix}-{next(number):02}.yaml"
            file.write_text(recipe.canonical_json(), encoding="utf-8")
            options[-1] += ["--recipe", str(file)]
    return options


def commands(dataset: str, regime: Regime, work: Path) -> list[list[str]]:
    """The searches of one dataset, in order; each goes on with the one before."""
    base = ["search", "--dataset", dataset, "--no-frontier", "--studies-dir", str(work), "--study", f"{dataset}{regime.suffix}"]
    if regime.rows[dataset] is not None:
        base += ["--limit-train", str(regime.rows[dataset])]
    if regime.teacher:
        base += ["--teacher", regime.teacher]
    if regime.task:
        base += ["--task", regime.task]
    if regime.unlabelled:
        base += ["--unlabelled", "rest", "--limit-unlabelled", str(regime.unlabelled)]
    with_recipes = list(itertools.accumulate(recipe_options(dataset, regime, work), initial=base))[1:]  # each has those before it, too
    every = with_recipes[-1]
    return [
        *([*words, "--explore", "--trials", "0"] for words in with_recipes),
        [*every, "--explore", "--trials", str(EXPLORED)],
        [*every, "--trials", str(EXPLORED + SEARCHED), "--repeats", str(SEEDS), "--cold"],
    ]


def run(words: list[str]) -> int:
    """One command of autodistill; returns its exit code."""
    print(time.strftime("%H:%M:%S"), "autodistill", *words, flush=True)
    return subprocess.run([sys.executable, "-m", "autodistill.cli.main", *words], check=False).returncode


def main() -> int:
    """Record; returns 1 where a dataset failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help="default: all of the regime")
    parser.add_argument("--work", type=Path, required=True, help="where the searches' own folders lie")
    parser.add_argument("--regime", default="few", choices=list(REGIMES))
    parser.add_argument("--passes", type=int, default=9, help="1: only the first search of each dataset (default: all)")
    args = parser.parse_args()
    regime = REGIMES[args.regime]
    unknown = [name for name in args.datasets if name not in regime.rows]
    if unknown:
        parser.error(f"{unknown[0]!r} is not in the regime {args.regime}: {', '.join(regime.rows)}")
    datasets = args.datasets or list(regime.rows)
    plans = [commands(dataset, regime, args.work)[: args.passes] for dataset in datasets]
    turns = itertools.zip_longest(*plans)  # one search of each dataset, then the next of each
    jobs = [(dataset, words) for turn in turns for dataset, words in zip(datasets, turn, strict=True) if words]
    failed, began = set(), time.monotonic()
    for number, (dataset, words) in enumerate(jobs):
        if number:
            hours = (time.monotonic() - began) / number * (len(jobs) - number) / 3600
            print(f"search {number + 1} of {len(jobs)}; at the pace so far {hours:.1f} hours are left", flush=True)
        folder = args.work / f"{dataset}{regime.suffix}"
        exists = (folder / "study.json").exists()
        if run([*words, "--resume"] if exists else words) or run(["studies", "add", str(folder), "--library", str(LIBRARY)]):
            failed.add(dataset)
    print("failed:", ", ".join(sorted(failed)) or "none")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
