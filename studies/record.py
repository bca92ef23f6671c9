"""Record the studies that are shipped: for each dataset a search that fills the space, then one that optimises, then more seeds.

The recipes that people take without a search (recommender/defaults.py) are in each, beside the baselines.

    AUTODISTILL_DATA=DIR python studies/record.py --work DIR [DATASET ...]

It may be stopped and started again at any time: searches resume, and an entry of studies/recorded is written after each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from autodistill.recommender.defaults import default_recipes
from autodistill.space import Space
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef

HERE = Path(__file__).resolve().parent
ROWS, PARAMS = 1500, "6M"
EPOCHS = {"text": 3, "image": 8}
"""Image students start from random weights, and have learned next to nothing after three."""
EXPLORED, SEARCHED, SEEDS = 60, 12, 3
IMAGES = ("digits", "cifar10")
DATASETS = (
    *("trec", "sst2", "stsb", "cr", "snips", "cola", "rte", "tweet_irony", "mpqa", "atis", "clinc150", "tweet_emotion", "hate_offensive"),
    *IMAGES,
)
"""The kinds of task are mixed, so that whatever has been recorded so far is of use."""


def commands(dataset: str, work: Path) -> list[list[str]]:
    """The searches of one dataset, in order; each goes on with the one before."""
    epochs = str(EPOCHS["image" if dataset in IMAGES else "text"])
    base = ["search", "--dataset", dataset, "--limit-train", str(ROWS), "--max-epochs", epochs, "--max-params", PARAMS]
    base += ["--studies-dir", str(work), "--study", dataset]
    base += [word for file in usual_recipes(dataset, work) for word in ("--recipe", str(file))]
    return [
        [*base, "--explore", "--trials", str(EXPLORED)],
        [*base, "--trials", str(EXPLORED + SEARCHED), "--repeats", str(SEEDS), "--cold"],
    ]


def usual_recipes(dataset: str, work: Path) -> list[Path]:
    """Files of the default recipes for a dataset."""
    data = load_dataset(DatasetRef(dataset, ROWS))
    kind = data.modality.name
    base = Space.load(kind, data.task).fixed("training.epochs", EPOCHS[kind]).defaults()
    files = []
    for name, recipe in default_recipes(base).items():
        if name == "plain KD":  # a baseline of every search, with a student that keeps the limits
            continue
        files.append(work / "recipes" / f"{dataset}-{name.replace(' ', '-')}.yaml")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].write_text(recipe.canonical_json(), encoding="utf-8")
    return files


def run(words: list[str]) -> int:
    """One command of autodistill; returns its exit code."""
    print(time.strftime("%H:%M:%S"), "autodistill", *words, flush=True)
    return subprocess.run([sys.executable, "-m", "autodistill.cli.main", *words], check=False).returncode


def main() -> int:
    """Record; returns 1 where a dataset failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", default=DATASETS, metavar="DATASET")
    parser.add_argument("--work", type=Path, required=True, help="where the searches' own folders lie")
    parser.add_argument("--passes", type=int, default=2, choices=(1, 2), help="1: only the space-filling searches")
    args = parser.parse_args()
    failed = set()
    for number in range(args.passes):
        for dataset in args.datasets:
            words = commands(dataset, args.work)[number]
            exists = (args.work / dataset / "study.json").exists()
            if run([*words, "--resume"] if exists else words) or run(
                ["studies", "add", str(args.work / dataset), "--library", str(HERE / "recorded")]
            ):
                failed.add(dataset)
    print("failed:", ", ".join(sorted(failed)) or "none")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
