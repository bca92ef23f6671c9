"""A search without a teacher: students learn from labels and from their own past predictions."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from tiny_teacher import save_bert, save_encoder, text_dataset

from autodistill.errors import RecipeError, SpaceError, UsageError
from autodistill.events import Event, SearchMessage
from autodistill.limits import Limits
from autodistill.models import build_student
from autodistill.models.pooled import read_head
from autodistill.models.teacher_weights import TeacherWeights
from autodistill.prepare import without_teachers
from autodistill.recipe import Recipe, Teacher, without_teacher
from autodistill.report.leaderboard import rows
from autodistill.settings import RecommendSettings, SearchSettings
from autodistill.space import Space
from autodistill.stages import train_teacher
from autodistill.train.data import TrialData, open_inputs
from autodistill.train.trial import Trainer

SPACE = Space.load("text", "text-classification")


def test_nothing_of_the_space_needs_a_teacher() -> None:
    space, rng = SPACE.with_self_teacher().without_unlabelled(), random.Random(0)
    shares = []
    for _ in range(50):
        recipe = space.sample(rng)
        assert recipe.teacher.is_self
        assert not recipe.objective.terms
        assert (recipe.objective.hard_label_weight, recipe.augmentation.mixup, recipe.training.unlabelled_share) == (1.0, 0.0, 0.0)
        shares.append(recipe.objective.self_distillation)
    assert min(shares) < 0.4 < 0.8 < max(shares)
    assert {recipe.student.name for recipe in (space.sample(rng) for _ in range(50))} >= {"cnn", "bilstm", "bert", "static"}
    left_out = SPACE.left_out_without_teacher()
    assert {"prediction kl", "intermediate mi", "mixup"} <= set(left_out)
    assert not any(name.endswith("none") for name in left_out)


def test_the_baselines_are_labels_alone_and_self_distillation() -> None:
    baselines = SPACE.with_self_teacher().baselines()
    assert {role: recipe.objective.self_distillation for role, recipe in baselines.items()} == {"no_kd": 0.0, "defaults": 0.8}
    assert baselines["no_kd"].student == baselines["defaults"].student


def test_a_teacher_of_another_task_or_beside_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="self-distillation needs one class per row, but the task is text-regression; give a teacher"):
        Space.load("text", "text-regression").with_self_teacher()
    asked = {"dataset": "sst2", "teacher": ("self",)}
    for changes, words in (
        ({"teacher": ("self", "x")}, "teacher is `self` with other teachers, but a search without a teacher needs its own search"),
        ({"max_params": "1/7.5"}, "the teacher is `self`, which has no size; give limits as numbers"),
        ({"teacher_scores": "x.csv"}, "teacher is `self`, which means none, and teacher_scores is one; leave one of them out"),
    ):
        with pytest.raises(UsageError, match=words):
            SearchSettings.read({**asked, **changes, "studies_dir": str(tmp_path)}).check()
    with pytest.raises(UsageError, match="a model that has learned something"):
        RecommendSettings.read(asked)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"objective": {"prediction": {"kind": "kl"}}},
            r"objective.prediction: 'kl' compares the student with its teacher, and teacher.init is",
        ),
        ({"teacher": {"model": "self"}}, "model is 'self'; for students that learn from themselves set init to 'self', and model to the"),
        (
            {"teacher": {"model": "t", "init": "self", "members": 2}},
            "init is 'self', which means no teacher, but scores or members asks for",
        ),
    ],
)
def test_a_recipe_without_a_teacher_cannot_ask_for_one(changes: dict[str, object], words: str) -> None:
    recipe = {"task": "text-classification", "teacher": {"model": "t", "init": "self"}, "student": {"family": "cnn"}}
    assert Recipe.parse(recipe).teacher.is_self
    with pytest.raises(RecipeError, match=words):
        Recipe.parse(recipe | changes)


def test_a_student_learns_without_a_network_that_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("autodistill.stages.trained_teacher", None)
    data, heard = text_dataset(40), list[Event]()
    named = SPACE.with_teacher_models([str(save_bert(tmp_path / "bert"))]).fixed("teacher.max_length", 16)
    space, teachers = without_teachers(data, named.fixed("student.family", "cnn").fixed("student.embedding_size", 16), 0, heard.append)
    (part, ref), *others = teachers.items()
    assert not others
    assert ref.score is None
    assert any(isinstance(event, SearchMessage) and event.text.startswith("left out: the ") for event in heard)
    assert rows([], Limits(), teachers, None) == []  # nothing stands in the leaderboard as a teacher
    recipe = space.defaults()
    assert recipe.teacher == part
    torch.manual_seed(0)
    trial = TrialData(open_inputs(data, part, ref.folder), recipe, device="cpu")
    assert trial.view(0).teacher_outputs is None
    trainer = Trainer(recipe, build_student(recipe, trial.context), trial, torch.device("cpu"), 2, 0)
    losses = [trainer.train_epoch(epoch) for epoch in (1, 2)]
    assert losses[1]["hard_label"] < losses[0]["hard_label"]
    assert list(losses[0]) == ["hard_label"]


@pytest.mark.parametrize("pooling", ["mean", "apart", "score"])
def test_the_control_starts_from_the_model_before_its_fine_tuning(tmp_path: Path, pooling: str) -> None:
    """A student without a teacher that started from the fine-tuned weights, or from the teacher's head, would know what it has learned."""
    data = text_dataset(60, regression=pooling == "score", pairs=pooling == "apart")
    source = save_encoder(tmp_path / "bert", "Bert")
    part = Teacher(
        model=str(source),
        pooling="apart" if pooling == "apart" else "mean",
        head_init="random",
        epochs=3,
        learning_rate=1e-2,
        max_length=32,
    )
    ref = train_teacher(data, part, 0, lambda event: None)
    student = {"family": "bert", "layers": 2, "hidden_size": 32, "heads": 4, "pooling": "teacher"}
    distilled = Recipe.parse(
        {
            "task": data.task,
            "teacher": part.model_dump(),
            "student": student,
            "objective": {"prediction": data.target.plain_objective["prediction"]},
        }
    )
    built = {}
    for name, recipe in (("distilled", distilled), ("no KD", Recipe.parse(without_teacher(distilled.model_dump())))):
        torch.manual_seed(0)
        built[name] = build_student(recipe, TrialData(open_inputs(data, part, ref.folder_for(recipe)), recipe, device="cpu").context)
    tensors = {name: student.state_dict() for name, student in built.items()}
    as_it_came, tuned = TeacherWeights(source), TeacherWeights(Path(ref.folder))
    name = "attention.self.query.weight"
    own = f"model.encoder.encoder.layer.0.{name}"
    assert torch.equal(tensors["no KD"][own], as_it_came.layer(0, name))
    assert torch.equal(tensors["distilled"][own], tuned.layer(0, name))
    assert not torch.equal(as_it_came.layer(0, name), tuned.layer(0, name))
    width = 4 * 32 if pooling == "apart" else 32  # both read pairs as the teacher does
    heads = {name: student.output_layer for name, student in built.items()}
    assert {head.in_features for head in heads.values()} == {width}
    random = 1 / width**0.5  # what torch's linear layers start with at most
    assert heads["no KD"].weight.abs().max() <= random + 1e-6
    assert heads["no KD"].bias.abs().max() <= random + 1e-6
    taught = read_head(Path(ref.folder))
    assert taught is not None
    scale = data.target.scaling(data.train.labels).scale
    torch.testing.assert_close(heads["distilled"].weight * scale, taught.weight)
