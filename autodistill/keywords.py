"""The keywords of the functions that take settings, for type checkers and editors. Written by `docs/settings.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from autodistill.recipe import Recipe
from autodistill.tasks.in_memory import ScoresLike
from autodistill.tasks.unlabelled import Unlabelled


class DatasetKeywords(TypedDict, total=False):
    """The rows: the settings that searching, recommending and distilling have in common."""

    limit_train: int | str | None
    """train on only N of its rows: a seeded, stratified subset."""
    unlabelled: Unlabelled
    """rows without labels: csv, tsv, jsonl, parquet, txt (one text on each line), a folder of images; may be repeated; `rest` means the
    training rows beyond --limit-train, and those without a label."""
    limit_unlabelled: int | str | None
    """use only N unlabelled rows: a seeded subset."""
    text_columns: str | Sequence[str] | None
    """the column of texts; give it twice for pairs of texts."""
    label_column: str | Sequence[str] | None
    """the column of labels; for several labels per row it may be repeated: a column of 0 and 1 for each label."""
    label_separator: str | None
    """the separator of several labels in a text, as in `a,b`."""
    task: str | None
    """what the labels are, if their values could be either (default: as they look); embedding: texts without labels, or rated pairs."""
    metric: str | None
    """the metric that scores students: accuracy, macro_f1, weighted_f1, matthews_correlation, auroc, average_precision, spearman,
    pearson, micro_f1, subset_accuracy, sts_spearman, teacher_agreement (default: the dataset's)."""
    seed: int
    """the seed of everything random (default: 0)."""


class SpaceKeywords(DatasetKeywords, total=False):
    """The space: where recipes come from, and which students may be proposed."""

    space: str | None
    """the search space (default: the shipped one for the task; see `autodistill spaces`)."""
    teacher: str | Sequence[str]
    """a transformers model (hub id or folder), timm:NAME for images, `random` for a control that is not trained, or `self` for none:
    students learn from their own past predictions; may be repeated, for several teachers to choose from."""
    max_params: int | str | None
    """the most parameters of a student, or a share of the teacher's."""
    max_latency_ms: float | str | None
    """the longest time of a student for one row on this machine, or a share of the teacher's."""
    teacher_scores: ScoresLike | None
    """a file of a teacher's scores for texts or images, instead of a network: see docs/data.md."""
    max_length: int | None
    """read at most N tokens of each text (default: the space's, 128)."""
    class_weights: str | None
    """the weights of the classes in the loss on hard labels, for teachers and students: balanced means by inverse frequency, for
    classes of very different sizes (default: the space's)."""


class SearchKeywords(SpaceKeywords, total=False):
    """The settings of `autodistill search`."""

    trials: int
    """number of trials, in addition to the baselines (default: 20)."""
    time_budget: float | str | None
    """end after this time of trials; the rest can be resumed."""
    max_epochs: int | None
    """most epochs of a trial (default: the space's)."""
    repeats: int
    """number of seeds for the baselines and the best five recipes (default: 1)."""
    data_curve: bool
    """then train the best recipe on parts of the unlabelled rows, to see if more help."""
    recipes: str | Path | Recipe | Sequence[str | Path | Recipe]
    """a recipe of your own, run beside the baselines; may be repeated."""
    prefer: str
    """which student is recommended: the best one, or the fastest or smallest whose score is at most half a point below the best one's
    (default: score)."""
    frontier: bool
    """at the end, measure how long the best student of each family takes, beside the teacher and the linear model (default: True)."""
    cold: bool
    """start with each family's defaults, not with what recorded studies recommend."""
    explore: bool
    """spread the trials evenly over the space, and stop none early."""
    workers: int | None
    """number of trials at a time (default: as many as fit)."""
    cpus_per_trial: int
    """CPU cores of a trial (default: 1)."""
    gpus_per_trial: float | None
    """GPUs of a trial, may be a fraction (default: as many trials share a GPU as fit, at most 8)."""
    address: str | None
    """the address of a running Ray cluster (default: only this machine)."""
    study: str | None
    """name of the study and of its folder (default: the dataset's name)."""
    studies_dir: str
    """the folder of studies (default: studies)."""
    resume: bool
    """continue the study of that name."""
    keep: int
    """number of students to keep on the disk (default: 3)."""
    storage: str | None
    """the URL of a database for the Optuna study (default: a journal in the study's folder)."""


class RecommendKeywords(SpaceKeywords, total=False):
    """The settings of `autodistill recommend`."""

    top: int
    """number of recipes (default: 5)."""


class DistillKeywords(DatasetKeywords, total=False):
    """The settings of `autodistill distill`."""

    trial: int | None
    """the recipe of this trial of the study whose folder is RECIPE (default: the recommended one)."""
    steps: int | None
    """train for N steps instead of as many as the recipe says; for images four times as many pay."""
    teacher_scores: ScoresLike | None
    """a file of a teacher's scores for texts or images, instead of the recipe's teacher (default: the file of the recipe's study)."""
    seeds: int
    """number of students to train, one for each seed (default: 3)."""
    control: bool
    """also train the same student without a teacher, for the distillation ratio (default: True)."""
    workers: int
    """number of trainings at a time (default: 1, with all cores)."""
    overwrite: bool
    """replace DIR, if it holds a student."""


class PretrainKeywords(TypedDict, total=False):
    """The settings of `autodistill pretrain`."""

    text_columns: str | Sequence[str] | None
    """the column of texts in tables; give it twice for pairs, whose texts are read one by one."""
    teacher: str | None
    """a model of sentence-transformers, or another encoder: a hub id or a folder (default: the recipe's)."""
    steps: int | str
    """optimizer steps (default: 4000)."""
    seed: int
    """the seed of everything random (default: 0)."""
    out: str | None
    """the folder to write (default: pretrained/, and in it the names of the student's family and the teacher)."""
    overwrite: bool
    """replace DIR, if it holds a student."""
