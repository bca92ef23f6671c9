"""Writes objectives.md, the list of objectives, from their docstrings: run it after one is added or changed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from autodistill.components import CLASSIFICATION, IMAGE, MULTILABEL, TASKS, TEXT, TEXT_CLASSIFICATION, TEXT_REGRESSION, Spec, specs
from autodistill.recipe import SLOTS

HEAD = """# Objectives

What a student can be made to learn from its teacher. A recipe takes at most one from each slot, beside the hard labels, and weighs
them (`objective.SLOT.kind`, `objective.SLOT.weight`). This page is written by `docs/objectives.py` from the docstrings, where shapes,
formula, scale and adaptations stand in full; each function can be called by itself on tensors.
[What each adds alone](objectives_table.md) has been measured.
"""

ABOUT = {
    "prediction": "On the logits: `autodistill.losses.prediction`.",
    "intermediate": "On the states of mapped layers: `autodistill.losses.intermediate` and `mutual_information`. `layer_map` says which "
    "layers (`autodistill.losses.layer_map`), `layers` that only so many of the student's learn (the last ones), "
    "`projection` how widths are brought together (`autodistill.losses.projection`), `tokens` "
    "whether of the CLS state, the mean or every token. [mi_bounds.html](mi_bounds.html) shows what mi_alpha trades, as measured by "
    "`benchmarks/mi_bounds.py`.",
    "contrastive": "Each row against other rows: `autodistill.losses.contrastive` and `wasserstein`.",
    "attention": "On attention maps, and queries, keys and values: `autodistill.losses.attention`.",
    "relation": "On how the rows of a batch lie to each other: `autodistill.losses.relation`.",
}

GROUPS = {
    TASKS: "all", TEXT: "text", IMAGE: "images", CLASSIFICATION: "classification", MULTILABEL: "multilabel",
    TEXT_CLASSIFICATION: "text classification", TEXT_REGRESSION: "text regression",
}  # fmt: skip


def row(spec: Spec) -> str:
    """A line of a slot's table: kind, what it is, for which tasks, its fields with their defaults, source."""
    doc = inspect.getdoc(spec.load()) or ""
    source = " ".join(doc.partition("Source:")[2].partition("When:")[0].split())
    source = re.split(r"\.\s+(?=[A-Z])", source)[0].rstrip(".")  # the first sentence; the rest says what was adapted
    fields = ", ".join(f"`{name}` {info.default}" for name, info in spec.fields.model_fields.items())
    return f"| `{spec.kind}` | {spec.summary} | {GROUPS[spec.tasks]} | {fields or '—'} | {source} |"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for slot in SLOTS:
        rows = [row(spec) for _, spec in sorted(specs(f"objective.{slot}").items())]
        parts.append(
            f"## {slot}\n\n{ABOUT[slot]}\n\n| kind | what | tasks | fields | source |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(), encoding="utf-8")
