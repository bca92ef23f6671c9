"""`autodistill recommend`: recipes for a dataset from recorded studies, before any training."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from autodistill.cli import options
from autodistill.cli.streams import all_to_stderr
from autodistill.cli.tables import listing, open_console
from autodistill.errors import UsageError
from autodistill.option import KEPT, setting
from autodistill.report import texts
from autodistill.settings import RecommendSettings, SearchSettings
from autodistill.teachers import short_name
from autodistill.terminal.stages import shown
from autodistill.values import FLAG, TEXT

if TYPE_CHECKING:
    from autodistill.recommender.recommender import Recommendation
    from autodistill.recommending import Advice

EPILOG = """examples:
  autodistill recommend --dataset sst2
  autodistill recommend --dataset my/reviews.csv --max-params 2M --out recipe.yaml
"""


class RecommendCommand(RecommendSettings):
    """The command's settings, and the form of its output."""

    out: Annotated[str | None, TEXT] = setting(None, "write the first recipe there, and the others beside it as FILE-2, …", "FILE", KEPT)
    as_json: Annotated[bool, FLAG] = setting(False, "one JSON object on stdout", None, KEPT, "--json")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "recommend",
        help="recommend recipes for a dataset, without any training",
        description="Measure a dataset, and say which recipes did well on recorded datasets like it, with the retention to expect.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_options(command, RecommendCommand)
    options.add_verbosity(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Recommend, write the recipes, and print the reasons."""
    asked = options.read_options(args, RecommendCommand)
    out = None if asked.out is None else Path(asked.out)
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise UsageError(f"--out is {str(out)!r}; it should be a file's name in a folder that exists, like recipe.yaml")
    asked.check()
    with all_to_stderr() as err, shown(err, options.verbosity(args)) as listen:
        from autodistill.recommending import recommend  # torch: seconds

        advice = recommend(**asked.part(RecommendSettings), listen=listen)
    written = [] if out is None else write(advice, out)
    if asked.as_json:
        print(json.dumps(summary(advice, written), indent=2, allow_nan=False))
    else:
        show(advice, written, asked)
    return 0


def write(advice: Advice, out: Path) -> list[Path]:
    """Write the recipe files: the first with the given name, the others numbered beside it."""
    paths = []
    for place, item in enumerate(advice.recipes):
        path = out if place == 0 else out.with_name(f"{out.stem}-{place + 1}{out.suffix}")
        head = f"# Recommended for {advice.dataset}, {place + 1} of {len(advice.recipes)}: {expected(item)}.\n# {item.reasons}\n"
        try:
            path.write_text(head + item.recipe.to_yaml(), encoding="utf-8")
        except OSError as cause:
            raise UsageError(f"--out: {path} cannot be written: {cause}") from None
        paths.append(path)
    return paths


def expected(item: Recommendation) -> str:
    """The retention to expect, for people."""
    low, high = item.interval
    if math.isinf(low) or math.isinf(high):
        return f"retention {item.retention:.1%}, with no interval: too little is recorded"
    return f"retention {item.retention:.1%} (80% interval {low:.1%} to {high:.1%})"


def summary(advice: Advice, written: list[Path]) -> dict[str, Any]:
    """The object that --json prints."""
    recipes = []
    for place, (item, seconds) in enumerate(zip(advice.recipes, advice.seconds, strict=True)):
        interval = [None if math.isinf(end) else end for end in item.interval]
        recipes.append(
            {
                "recipe_id": item.recipe.id,
                "recipe": item.recipe.model_dump(),
                "retention": item.retention,
                "interval_80": interval,
                "params": item.params,
                "latency_ms": item.latency_ms,
                "training_seconds": seconds,
                "nearest": list(item.nearest),
                "drivers": [{"part": name, "retention": gain} for name, gain in item.drivers],
                "file": str(written[place]) if written else None,
            }
        )
    facts = {"dataset": advice.dataset, "task": advice.task, "metric": advice.metric, "train_rows": advice.train_rows}
    return facts | {"recipes": recipes, "timing": advice.timing, "warnings": advice.warnings, "learnt_from": advice.learnt_from}


def show(advice: Advice, written: list[Path], asked: RecommendSettings) -> None:
    """Print the recipes for people."""
    console = open_console()
    console.print(f"{advice.dataset}: {advice.task}, {advice.train_rows:,} training rows, {advice.metric}", markup=False, highlight=False)
    for warning in advice.warnings:
        console.print(f"Beware: {warning}.", style="yellow", markup=False, highlight=False)
    several = len({item.recipe.teacher for item in advice.recipes}) > 1
    lines = []
    for place, (item, seconds) in enumerate(zip(advice.recipes, advice.seconds, strict=True)):
        low, high = item.interval
        interval = "unknown" if math.isinf(low) or math.isinf(high) else f"{low:.1%} to {high:.1%}"
        costs = texts.params(item.params), texts.latency(item.latency_ms), texts.duration(seconds)
        of = f", of {short_name(item.recipe.teacher.title)}" if several else ""
        lines.append((str(place + 1), mix(item) + of, f"{item.retention:.1%}", interval, *costs, item.reasons))
    console.print()
    console.print(listing(("", "recipe", "retention", "80% interval", "parameters", "latency", "training", "why"), lines))
    console.print()
    console.print("\n".join(advice.notes), style="dim", markup=False, highlight=False)
    for path in written:
        console.print(f"recipe   {path}", markup=False, highlight=False, soft_wrap=True)
    search = SearchSettings(**asked.part(SearchSettings)).command_line()
    console.print(f"search from here   {search}", markup=False, highlight=False, soft_wrap=True)
    sys.stdout.flush()


def mix(item: Recommendation) -> str:
    """A recipe in a few words: the student, the objectives, the augmentation."""
    recipe = item.recipe
    data = recipe.model_dump()
    augmentation = [] if recipe.augmentation.name == "none" else [recipe.augmentation.name]
    mixing = [recipe.augmentation.mixing] if recipe.augmentation.mixup > 0 else []
    return ", ".join([texts.student(data), texts.objective(data), *augmentation, *mixing])
