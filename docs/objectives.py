"""Writes objectives.md, the list of objectives, from their docstrings. Run it after an objective is added or changed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from autodistill.components import (
    CLASSIFICATION,
    EMBEDDING,
    IMAGE,
    MULTILABEL,
    TASKS,
    TEXT,
    TEXT_CLASSIFICATION,
    TEXT_REGRESSION,
    Spec,
    specs,
)
from autodistill.recipe import SLOTS

HEAD = """# Objectives

What a student can learn from its teacher. Beside the hard labels, a recipe has at most one objective from each slot, each with a weight
(`objective.SLOT.kind`, `objective.SLOT.weight`). `docs/objectives.py` writes this page from the docstrings, which have shapes, formula,
scale and adaptations in full. Each function can be called alone, on tensors.
[What each adds alone](objectives_table.md) has been measured.

The hard labels themselves can be softened: by `objective.label_smoothing`, and by `objective.self_distillation`, the share of the student's
own past predictions, which grows over the epochs (PS-KD, Kim et al. 2021; `autodistill.losses.self_distillation`). Neither needs a teacher,
so both are baselines. `autodistill search --teacher self` searches without a teacher ([teachers.md](teachers.md)).
"""

ABOUT = {
    "prediction": "On the logits: `autodistill.losses.prediction`, `binary` (several labels per row) and `vectors` (sentence embeddings: "
    "their logits are the vectors).",
    "intermediate": "On the states of mapped layers: `autodistill.losses.intermediate` and `mutual_information`. `layer_map` says which "
    "layers are compared (`autodistill.losses.layer_map`); a term over several pairs of layers is their "
    "mean, where PKD and TinyBERT take the sum; `layers` limits the pairs to the student's last layers; "
    "`projection` maps the student's states to the teacher's width (`autodistill.losses.projection`); `tokens` "
    "says whether the CLS state, the mean, the mean of each text of a pair (`texts`) or every token is compared. "
    "[mi_bounds.html](mi_bounds.html) shows the effect of mi_alpha on the bound's bias and variance, as measured by "
    "`benchmarks/mi_bounds.py`.",
    "contrastive": "Each row against other rows: `autodistill.losses.contrastive` and `wasserstein`.",
    "attention": "On attention maps, and queries, keys and values: `autodistill.losses.attention`.",
    "relation": "On the relations between the rows of a batch: `autodistill.losses.relation`.",
}

GROUPS = {
    TASKS: "all", TEXT: "text", IMAGE: "images", CLASSIFICATION: "classification", MULTILABEL: "multilabel",
    TEXT_CLASSIFICATION: "text classification", TEXT_REGRESSION: "text regression", EMBEDDING: "embeddings",
}  # fmt: skip


def row(spec: Spec) -> str:
    """A line of a slot's table: kind, summary, tasks, fields with their defaults, source."""
    doc = inspect.getdoc(spec.load()) or ""
    source = " ".join(doc.partition("Source:")[2].partition("When:")[0].split())
    source = re.split(r"\.\s+(?=[A-Z])", source)[0].rstrip(".")  # only the first sentence; the others describe adaptations
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
