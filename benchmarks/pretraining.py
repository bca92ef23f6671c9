"""Measures what a pretrained start gives: the default student of transfer.py's regime, started as usual and from `autodistill pretrain`.

python benchmarks/pretraining.py [--sets sst2 trec …] [--family cnn] [--texts 30000] [--steps 4000] [--seeds 1] --kept FILE

The texts are those of the training splits of SOURCES (of each at most MOST), in random order, each once, without any text of a validation
or test split. FILE keeps every training (jsonl), and a run that was stopped goes on. The pretrained student lies beside it. All scores are
on the test split, which chooses nothing.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from kept_rows import KeptRows
from transfer import Bench, tell

import autodistill
from autodistill.errors import AutodistillError
from autodistill.recipe import Recipe
from autodistill.space import Space
from autodistill.tasks import load_dataset
from autodistill.tasks.base import DatasetRef
from autodistill.tasks.unlabelled import is_blank, row_key

SETS = ("sst2", "trec", "clinc150", "snips")
SOURCES = (*SETS, "hate_offensive", "mpqa", "cola", "atis", "tweet_emotion", "tweet_irony", "cr", "movie-reviews")
MOST = 12_000
STARTS = ("usual", "pretrained")


def corpus(count: int, longest: int | None) -> list[str]:
    """Texts to pretrain on. longest: their most words, None for any."""
    datasets = [load_dataset(DatasetRef(name), with_test=True) for name in SOURCES]
    seen = {row_key(text) for data in datasets for split in (data.validation, data.open_test()) for text in split.texts or []}
    texts: list[str] = []
    for data in datasets:
        own = list(data.train.texts or [])
        random.Random(0).shuffle(own)
        for text in own[:MOST]:
            key = row_key(text)
            if key not in seen and not is_blank(text) and (longest is None or len(text.split()) <= longest):
                seen.add(key)
                texts.append(" ".join(text.split()))
    random.Random(0).shuffle(texts)
    return texts[:count]


def main() -> int:
    """Pretrain, train, and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=SETS, choices=SETS, metavar="NAME")
    parser.add_argument("--family", default="cnn", help="of the student, with the sizes of the space's defaults (default: cnn)")
    parser.add_argument("--texts", type=int, default=30_000, help="to pretrain on (default: 30,000)")
    parser.add_argument("--longest", type=int, help="leave out texts of more words")
    parser.add_argument("--steps", type=int, default=4000, help="of the pretraining (default: 4,000)")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--kept", type=Path, required=True, metavar="FILE", help="jsonl: where trainings are kept, and found again")
    args = parser.parse_args()
    rows = KeptRows(args.kept, lambda row: f"{row['dataset']}: {row['arm']}, seed {row['seed']}: {row['test']:.4f} ({row['seconds']} s)")
    folder = args.kept.absolute().with_name(f"{args.kept.stem}-{args.family}-{args.texts}-{args.steps}")
    try:
        if not folder.exists():
            recipe = Space.load("text", "text-classification").fixed("student.family", args.family).defaults()
            autodistill.pretrain(corpus(args.texts, args.longest), recipe, steps=args.steps, out=folder, listen=tell)
        for name in args.sets:
            bench = Bench(name, None, rows.keep)
            bench.space = bench.space.fixed("student.family", args.family)
            bench.teach()
            done = {(row["dataset"], row["arm"], row["seed"]) for row in rows}
            usual = bench.space.defaults()
            started = Recipe.parse(usual.model_dump() | {"student": usual.student.model_dump() | {"init": str(folder)}})
            for seed in range(args.seeds):
                for start, recipe in zip(STARTS, (usual, started), strict=True):
                    arm = f"{args.family}, {start}"
                    if (name, arm, seed) not in done:
                        bench.train(arm, recipe, seed)
    except AutodistillError as error:
        print(f"pretraining: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
