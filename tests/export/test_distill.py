"""From a recipe to a folder that others open, and the honesty of what its card says."""

from __future__ import annotations

import dataclasses
import json
import pickle
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from tiny_teacher import text_dataset
from world import LABELS, ImageWorld, World, said_elsewhere

import autodistill
from autodistill.errors import ModelError, RecipeError, RunError, UsageError
from autodistill.export import distill as distilling
from autodistill.export import seeds as seeding
from autodistill.export.student import load_student
from autodistill.models import build_student
from autodistill.models.base import StudentContext
from autodistill.models.family import SavedStudent
from autodistill.models.image import normalise
from autodistill.models.saved import load_saved_student, save_student
from autodistill.models.text import encode_split, load_tokenizer
from autodistill.models.timm import normalisation
from autodistill.recipe import Recipe
from autodistill.tasks import load_dataset
from autodistill.tasks.base import Dataset, DatasetRef, Split
from autodistill.train import trial
from autodistill.train.assignment import Assignment, Report, TrialResult
from autodistill.train.trial import run_trial

TEXTS = ["good film", "a sad sad plot ##s", "awful", "unheard-of words and the lovely end " * 5]
PAIRS = [(one, other) for one, other in zip(TEXTS, TEXTS[::-1], strict=True)]

TRANSFORMERS = """
from transformers import AutoModelForSequenceClassification, AutoTokenizer
import json
import pickle
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
rows = json.loads(sys.argv[2])
given = (rows,) if isinstance(rows[0], str) else tuple(list(part) for part in zip(*rows))
logits = model(**tokenizer(*given, truncation=True, padding=True, return_tensors="pt")).logits
"""
APART = """
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer
import json
import torch
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1])
head = load_file(sys.argv[1] + "/head.safetensors")
def mean(text):
    return model(**tokenizer(text, truncation=True, return_tensors="pt")).last_hidden_state.mean(dim=1)
pairs = [(mean(one), mean(other)) for one, other in json.loads(sys.argv[2])]
vectors = torch.cat([torch.cat([one, other, (one - other).abs(), one * other], dim=1) for one, other in pairs])
logits = vectors @ head["weight"].T + head["bias"]
"""
POOLED = """
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer
import json
import pickle
import torch
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1])
head = load_file(sys.argv[1] + "/2_Dense/model.safetensors")
rows = json.loads(sys.argv[2])
given = (rows,) if isinstance(rows[0], str) else tuple(list(part) for part in zip(*rows))
read = tokenizer(*given, truncation=True, padding=True, return_tensors="pt")
states = model(**read).last_hidden_state
means = torch.stack([row[mask.bool()].mean(dim=0) for row, mask in zip(states, read["attention_mask"])])
logits = means @ head["linear.weight"].T + head["linear.bias"]
"""
LOADER = """
import json
import pickle
sys.path.insert(0, sys.argv[1])
from load import encode, load
model, tokenizer = load()
logits = model(*encode(tokenizer, json.loads(sys.argv[2])))
assert not [name for name in sys.modules if name in ("transformers", "pandas", "ray")]
"""


def trained_logits(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keeps the student that each trial trained, as it is in memory when it is saved."""
    kept: dict[str, Any] = {}
    save = trial.save_student

    def keep(folder: Path, weights: Any, recipe: Recipe, context: Any, facts: Any) -> None:
        kept[folder.name] = weights, recipe, context, dict(facts)
        save(folder, weights, recipe, context, facts)

    monkeypatch.setattr(trial, "save_student", keep)
    return kept


def meant(kept: dict[str, Any], world: World, rows: list[Any]) -> np.ndarray:
    """What the only trained student says of rows, on the scale of the data, by the training's own path."""
    ((weights, recipe, context, facts),) = kept.values()
    from autodistill.models import build_student

    model = build_student(recipe, context)
    model.load_state_dict(weights)
    pairs = isinstance(rows[0], tuple)
    texts, others = ([row[0] for row in rows], [row[1] for row in rows]) if pairs else (rows, None)
    encoded = encode_split(texts, others, load_tokenizer(context.source or context.teacher), context.max_length)
    with torch.no_grad():
        logits = model.eval()(encoded.batch(torch.arange(len(rows)))).logits
    return (logits * facts["target_scale"] + facts["target_mean"]).numpy()


CLASSES, PAIRED_SCORES = "text-classification", "text-pair-regression"
EXPORTED = [
    ("cnn", "trimmed", CLASSES),
    ("cnn", "full", PAIRED_SCORES),
    ("bert", "full", CLASSES),
    ("bert", "trimmed", PAIRED_SCORES),
    ("bert-mean", "full", CLASSES),
    ("bert-mean", "trimmed", PAIRED_SCORES),
    ("bert-apart", "full", PAIRED_SCORES),
    ("bert-apart", "trimmed", PAIRED_SCORES),
    ("bilstm", "trimmed", PAIRED_SCORES),
    ("static", "full", CLASSES),
    ("encoder", None, PAIRED_SCORES),
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "vocabulary", "task"), EXPORTED)
def test_others_open_the_folder_and_hear_what_the_trained_student_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, task: str, vocabulary: str | None
) -> None:
    kept = trained_logits(monkeypatch)
    world = World(tmp_path, task)
    done = world.distill(world.recipe(family, student={} if vocabulary is None else {"vocabulary": vocabulary}))
    rows: list[Any] = PAIRS if "pair" in task else TEXTS
    if family == "bert-apart":  # both texts share the row's length here; read one by one, each has all of it
        rows = [(one, other) for one, other in rows if len(f"{one} {other}".split()) < 12]
        assert rows
    wanted = meant(kept, world, rows)
    program = {"bert": TRANSFORMERS, "bert-mean": POOLED, "bert-apart": APART, "encoder": POOLED}.get(family, LOADER)
    logits = said_elsewhere(program, str(done.folder), json.dumps(rows))
    scale = 100 if task.endswith("regression") else 1
    np.testing.assert_allclose(logits, wanted, atol=1e-5 * scale, rtol=1e-5)
    np.testing.assert_allclose(done.open().logits(rows), wanted, atol=1e-5 * scale, rtol=1e-5)
    if family in ("bert-mean", "encoder"):
        from sentence_transformers import SentenceTransformer

        encoded = SentenceTransformer(str(done.folder), device="cpu").encode(rows, show_progress_bar=False)
        np.testing.assert_allclose(encoded, wanted, atol=1e-5 * scale, rtol=1e-5)
    config = json.loads((done.folder / "config.json").read_text(encoding="utf-8"))
    assert list(config["id2label"].values()) == (["score"] if task.endswith("regression") else sorted(LABELS))
    assert not [file for file in done.folder.rglob("*") if file.suffix in (".bin", ".pt", ".pth", ".pkl")]
    if task.endswith("regression"):
        assert 250 < logits.mean() < 450  # the data's units: about 300 to 390
        np.testing.assert_allclose(load_student(done.folder).predict(rows), wanted[:, 0], rtol=1e-4)


@pytest.mark.slow
def test_a_student_of_a_distilbert_teacher_still_gets_its_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = trained_logits(monkeypatch)
    world = World(tmp_path, "text-pair-classification", base="distilbert")
    done = world.distill(world.recipe("bert", student={"init": "random"}))
    logits = said_elsewhere(TRANSFORMERS, str(done.folder), json.dumps(PAIRS))
    np.testing.assert_allclose(logits, meant(kept, world, PAIRS), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "strided"), [(96, True), (28, False)])
def test_timm_opens_an_image_student(tmp_path: Path, size: int, strided: bool) -> None:
    world = ImageWorld(tmp_path, size)
    done = world.distill(world.recipe())
    pictures = world.pictures(3)
    plain = (
        "import timm\nmodel = timm.create_model(f'local-dir:{sys.argv[1]}', pretrained=True).eval()\n"
        "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))\n"
    )
    loader = "sys.path.insert(0, sys.argv[1])\nfrom load import load\nmodel, transform = load()\n"
    look = "import torch\nfrom PIL import Image\nimages = [Image.open(name).convert('RGB') for name in sys.argv[2:]]\n"
    look += "logits = model(torch.stack([transform(image) for image in images]))"
    logits = said_elsewhere((plain if strided else loader) + look, str(done.folder), *map(str, pictures))
    np.testing.assert_allclose(done.open().logits(pictures), logits, atol=1e-5)
    assert done.facts["strided"] is strided
    assert (done.folder / "load.py").exists() is not strided
    if not strided:  # timm would build it with stride 2, and answer wrongly with the same weights: it must refuse
        with pytest.raises(AssertionError, match="Unknown model"):
            said_elsewhere(plain + look, str(done.folder), *map(str, pictures))


@pytest.mark.slow
@pytest.mark.parametrize(("size", "enlarged"), [(96, 0), (28, 0), (28, 72)])
def test_load_py_opens_a_cut_student(tmp_path: Path, size: int, enlarged: int) -> None:
    """Its network and its teacher's expect different normalisations of pixels."""
    world = ImageWorld(tmp_path, size)
    student = {"stages": 3, "init": "random", "image_size": enlarged}
    done = world.distill(world.recipe("cut:resnet10t", student=student, teacher=world.teacher | {"model": "timm:tf_efficientnet_lite0"}))
    pictures = world.pictures(3)
    code = "sys.path.insert(0, sys.argv[1])\nfrom load import load\nmodel, transform = load()\nimport torch\nfrom PIL import Image\n"
    code += "logits = model(torch.stack([transform(Image.open(name).convert('RGB')) for name in sys.argv[2:]]))"
    logits = said_elsewhere(code, str(done.folder), *map(str, pictures))
    np.testing.assert_allclose(done.open().logits(pictures), logits, atol=1e-5)
    written = json.loads((done.folder / "config.json").read_text(encoding="utf-8"))
    tiny = max(size, enlarged) == 28
    assert (written["stages"], written["stride1"], written["without_max_pooling"]) == (3, tiny, tiny)
    assert written["pretrained_cfg"]["mean"] == list(normalisation("resnet10t")[0])


@pytest.mark.parametrize(("network", "enlarged"), [("resnet10t", 0), ("resnet10t", 72), ("vit_tiny_patch16_224", 64)])
def test_a_written_cut_student_answers_as_it_did_in_training(tmp_path: Path, network: str, enlarged: int) -> None:
    """In training it is given pixels as its teacher expects them; a written student reads them as its own network does."""
    half, other = (0.5, 0.5, 0.5), (0.4, 0.5, 0.6)
    context = StudentContext("image-classification", 3, image_size=28, normalisation=(other, half))
    student = {"family": f"cut:{network}", "stages": 2, "init": "random", "image_size": enlarged}
    recipe = Recipe.parse({"task": context.task, "teacher": {"model": "timm:tf_efficientnet_lite0"}, "student": student})
    torch.manual_seed(0)
    trained = build_student(recipe, context).eval()
    save_student(tmp_path / "best", trained.state_dict(), recipe, context, {"metric": "accuracy", "classes": ["a", "b", "c"]})
    pictures = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 3), dtype=np.uint8)
    batch = normalise(pictures, other, half)
    expected = trained(batch).logits.detach().numpy()
    np.testing.assert_allclose(load_saved_student(tmp_path / "best").model(batch).logits.detach().numpy(), expected)
    np.testing.assert_allclose(load_student(tmp_path / "best").logits(list(pictures)), expected, atol=1e-5)


@pytest.mark.slow
def test_the_card_and_the_facts_say_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    opened: list[str] = []
    watch_test_split(monkeypatch, opened)
    recipe = world.recipe("cnn", epochs=3)
    done = world.distill(recipe, seeds=3, seed=5, control=True, command="autodistill distill r.yaml")
    assert opened == ["opened"]

    facts = json.loads((done.folder / "distillation.json").read_text(encoding="utf-8"))
    assert [run["seed"] for run in facts["seeds"]] == [5, 6, 7]
    assert facts["student"]["validation"] == max(run["validation"] for run in facts["seeds"])
    tests = [run["test"] for run in facts["seeds"]]
    plain = statistics.mean(run["test"] for run in facts["no_kd"])
    assert facts["test"]["mean"] == pytest.approx(np.mean(tests))
    assert facts["test"]["sd"] == pytest.approx(np.std(tests, ddof=1))
    teacher = facts["teacher"]["test"]
    if teacher > plain:
        assert facts["test"]["distillation_ratio"] == pytest.approx((np.mean(tests) - plain) / (teacher - plain))

    # The test score once more, from the folder and the file alone.
    test = load_dataset(DatasetRef(world.data, seed=5), with_test=True)._test
    assert test is not None
    assert test.texts is not None
    again = np.mean(done.open().predict(test.texts) == np.array(sorted(LABELS))[test.labels])
    assert facts["student"]["test"] == pytest.approx(again)
    assert done.retention == pytest.approx(again / teacher)

    card = ModelCard.load(done.folder / "README.md")
    assert card.data.library_name == "pytorch"
    assert card.data.eval_results[0].metric_value == pytest.approx(again)
    for words in (f"{again:.4f}", "autodistill distill r.yaml", LABELS[1], f"{facts['student']['params']:,}", "Distillation ratio"):
        assert words in card.text
    assert Recipe.load(done.folder / "recipe.yaml") == recipe


@pytest.mark.slow
def test_where_few_rows_have_labels_the_seed_is_chosen_by_the_agreement_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    more = tmp_path / "more.txt"
    more.write_text("\n".join(f"{text} film {row}" for row, text in enumerate(text_dataset(400, seed=9).train.texts or [])))
    agreements = {0: 0.2, 1: 0.9, 2: 0.5}

    def run(assignment: Assignment, report: Report) -> TrialResult:
        agreement = agreements[assignment.seed]
        assert assignment.judge == assignment.teacher
        return dataclasses.replace(run_trial(assignment, report), score=0.8, agreement=agreement, standing=(0.8 + agreement) / 2)

    monkeypatch.setattr(seeding, "run_trial", run)
    done = world.distill(world.recipe("cnn", epochs=1), seeds=3, unlabelled=str(more))
    assert done.facts["student"]["seed"] == 1
    assert [run["agreement"] for run in done.facts["seeds"]] == [0.2, 0.9, 0.5]
    card = (done.folder / "README.md").read_text(encoding="utf-8")
    assert "chosen by the validation split and by the students' agreement with the teacher on rows without labels" in card


def watch_test_split(monkeypatch: pytest.MonkeyPatch, opened: list[str]) -> None:
    open_test = Dataset.open_test

    def opening(self: Dataset) -> Split:
        opened.append("opened")
        return open_test(self)

    monkeypatch.setattr(Dataset, "open_test", opening)


def test_only_distill_can_open_the_test_split() -> None:
    package = Path(autodistill.__file__).parent
    sources = {str(file.relative_to(package)): file.read_text(encoding="utf-8") for file in package.rglob("*.py")}
    assert {name for name, text in sources.items() if ".open_test(" in text or "with_test=True" in text} == {
        "export/distill.py",
        "tasks/base.py",
    }


def test_training_and_choosing_never_see_the_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    watch_test_split(monkeypatch, opened)
    seen: list[bool] = []

    def fail_at_the_end(assignment: Any, report: Any) -> Any:
        result = run_trial(assignment, report)
        seen.append(bool(opened))
        if len(seen) == 2:
            raise RunError("stopped")
        return result

    monkeypatch.setattr(seeding, "run_trial", fail_at_the_end)
    world = World(tmp_path)
    with pytest.raises(RunError, match="stopped"):
        world.distill(world.recipe("cnn", epochs=1), seeds=2)
    assert seen == [False, False]
    assert opened == []
    assert not (tmp_path / "out").exists()

    # The next run finds the seed that was finished, and trains the other one alone.
    monkeypatch.setattr(seeding, "run_trial", run_trial)
    texts: list[str] = []
    done = world.distill(world.recipe("cnn", epochs=1), seeds=2, listen=lambda event: texts.append(str(getattr(event, "text", ""))))
    assert any("1 of them by an earlier run" in text for text in texts)
    assert len(done.facts["seeds"]) == 2
    left = list((tmp_path / "cache" / "distilling").rglob("*.safetensors"))
    assert left == []


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    world = World(tmp_path)
    recipe = world.recipe("cnn", epochs=2)
    alone = world.distill(recipe, seeds=2)
    both = world.distill(recipe, out="both", seeds=2, workers=2)
    for one, other in zip(alone.facts["seeds"], both.facts["seeds"], strict=True):
        assert one["validation"] == pytest.approx(other["validation"])


def test_a_training_may_be_longer_than_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[int] = []
    as_ever = trial.warmup_and_decay

    def watched(steps: int, warmup: float) -> Any:
        planned.append(steps)
        return as_ever(steps, warmup)

    monkeypatch.setattr(trial, "warmup_and_decay", watched)
    world = World(tmp_path)
    recipe = world.recipe("cnn", epochs=2)
    done = world.distill(recipe, steps=14, control=True)
    kept = Recipe.load(done.folder / "recipe.yaml").training
    assert (kept.steps, kept.epochs) == (14, 2)
    assert planned == [14, 14]  # the student without a teacher trains as long


def test_a_recipe_of_another_task_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.task = "text-regression"
    with pytest.raises(RecipeError, match="the recipe is for text-regression, and data is text-classification"):
        world.distill(world.recipe("cnn"))


def test_missing_recipes_and_folders_that_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is no file .*nowhere\.yaml"):
        autodistill.distill(tmp_path / "nowhere.yaml", "d", tmp_path / "out")
    with pytest.raises(RecipeError, match=r"has no recipe \(recommended\.yaml\): it is no study's; give that, or a file"):
        autodistill.distill(tmp_path, "d", tmp_path / "out")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="exists; give another --out, or replace it with --overwrite"):
        distilling.check_target(precious, overwrite=False)
    with pytest.raises(UsageError, match="is no student's folder"):
        distilling.check_target(precious, overwrite=True)
    assert (precious / "thesis.txt").exists()
    with pytest.raises(UsageError, match="--out is empty"):
        distilling.check_target(Path(), overwrite=False)
    with pytest.raises(UsageError, match="cannot be written"):
        distilling.check_target(precious / "thesis.txt" / "out", overwrite=False)


def test_a_student_that_is_written_wrongly_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    write = distilling.write_student

    def spoil(folder: Path, saved: SavedStudent) -> dict[str, Any]:
        about = write(folder, saved)
        with torch.no_grad():
            saved.model.classifier.bias.add_(1.0)  # type: ignore[operator, union-attr]
        return about

    monkeypatch.setattr(distilling, "write_student", spoil)
    with pytest.raises(RunError, match="differ from the trained student's"):
        world.distill(world.recipe("cnn", epochs=1))
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(distilling, "write_student", write)
    done = world.distill(world.recipe("cnn", epochs=1))
    again = world.distill(world.recipe("cnn", epochs=1), overwrite=True)
    assert again.folder == done.folder


def test_what_is_no_student_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        load_student(tmp_path / "nothing")
    with pytest.raises(UsageError, match="holds no student"):
        load_student(tmp_path)
    (tmp_path / "student.json").write_text('{"schema": 99}')
    with pytest.raises(ModelError, match="newer autodistill"):
        load_student(tmp_path)


def test_what_a_process_is_handed_pickles(tmp_path: Path) -> None:
    recipe = World(tmp_path).recipe("bert", objective={"intermediate": {"kind": "mi", "weight": 0.1}})
    assignment = Assignment(recipe, DatasetRef("d"), 1, 2)
    assert pickle.loads(pickle.dumps(assignment)) == assignment
