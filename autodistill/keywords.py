"""The keywords of `search`, `recommend` and `distill`, for type checkers and editors. Written by `docs/settings.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from autodistill.recipe import Recipe
from autodistill.tasks.unlabelled import Unlabelled


class DatasetKeywords(TypedDict, total=False):
    """Which rows. What searching, recommending and distilling have in common."""

    limit_train: int | str | None
    """train on N rows of it: a seeded, stratified subset."""
    unlabelled: Unlabelled
    """rows without labels: csv, tsv, jsonl, parquet, txt (a text a line), a folder of images; several times; `rest` for the training
    rows beyond --limit-train."""
    limit_unlabelled: int | str | None
    """use N of them: a seeded subset."""
    text_columns: str | Sequence[str] | None
    """the column of texts; twice for pairs of texts."""
    label_column: str | None
    """the column of labels."""
    task: str | None
    """what the labels are, where their values could be read either way (default: as they look)."""
    metric: str | None
    """what students are judged by: accuracy, macro_f1, weighted_f1, matthews_correlation, auroc, average_precision, spearman, pearson
    (default: the dataset's)."""
    seed: int
    """of everything that is random (default: 0)."""


class SpaceKeywords(DatasetKeywords, total=False):
    """Where recipes come from, and which students may be proposed."""

    space: str | None
    """the search space (default: the one shipped for the task; see `autodistill spaces`)."""
    teacher: str | Sequence[str]
    """a transformers model (hub id or folder), timm:NAME for images, or `random`: a control, not trained; several times for teachers to
    choose from."""
    max_params: int | str | None
    """students have at most so many parameters, or that share of the teacher's."""
    max_latency_ms: float | str | None
    """students answer one row within this time on this machine, or that share of the teacher's."""
    class_weights: str | None
    """weight of the classes in the loss on hard labels, of teachers and students: balanced, by their inverse frequency, for classes of
    very different sizes (default: the space's)."""


class SearchKeywords(SpaceKeywords, total=False):
    """What `autodistill search` is asked."""

    teacher_scores: str | None
    """a file of a teacher's scores of texts, in place of a network: see docs/data.md."""
    trials: int
    """trials beside the baselines (default: 20)."""
    time_budget: float | str | None
    """end after this time of trials; what runs then can be resumed."""
    max_epochs: int | None
    """epochs of a trial at most (default: the space's)."""
    repeats: int
    """seeds of baselines and best five (default: 1)."""
    data_curve: bool
    """then train the best recipe on parts of the unlabelled rows: would more help?."""
    recipes: str | Path | Recipe | Sequence[str | Path | Recipe]
    """a recipe of yours to stand beside the baselines; several times for more."""
    prefer: str
    """which student is recommended: the best one, or the fastest or smallest whose score is at most half a point below the best one's
    (default: score)."""
    frontier: bool
    """at the end, measure how long the best student of each family takes, beside the teacher and the linear model (default: True)."""
    cold: bool
    """do not begin with the recipes that recorded studies recommend."""
    explore: bool
    """spread the trials evenly over the whole space, and stop none early."""
    workers: int | None
    """trials at a time (default: as many as fit)."""
    cpus_per_trial: int
    """CPU cores of a trial (default: 1)."""
    gpus_per_trial: float | None
    """GPUs of a trial, may be a fraction (default: 1 if there are any)."""
    address: str | None
    """of a running Ray cluster (default: only this machine)."""
    study: str | None
    """name of the study, and of its folder (default: the dataset's name)."""
    studies_dir: str
    """where studies lie (default: studies)."""
    resume: bool
    """go on with the study of that name."""
    keep: int
    """students kept on the disk (default: 3)."""
    storage: str | None
    """URL of a database for the Optuna study (default: a journal in the study's folder)."""


class RecommendKeywords(SpaceKeywords, total=False):
    """What `autodistill recommend` is asked."""

    top: int
    """recipes (default: 5)."""


class DistillKeywords(DatasetKeywords, total=False):
    """What `autodistill distill` is asked."""

    teacher_scores: str | None
    """a file of a teacher's scores of texts, in place of the recipe's teacher (default: the file that the study of the recipe had)."""
    seeds: int
    """students to train (default: 3)."""
    control: bool
    """also train the same student without a teacher, which the distillation ratio needs (default: True)."""
    workers: int
    """trainings at a time (default: 1, with all cores)."""
    overwrite: bool
    """replace DIR, if it holds a student."""
