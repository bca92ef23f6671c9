"""Ensembles of teachers, compared with their members one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.special import softmax
from sklearn.metrics import log_loss
from tiny_teacher import WORDS, image_dataset, save_bert, save_tokenizer, text_dataset
from tokenizers import BertWordPieceTokenizer
from transformers import BertTokenizerFast

from autodistill.errors import RecipeError, SpaceError
from autodistill.models.image import normalise
from autodistill.models.reread import renormalise, reread_texts
from autodistill.models.text import encode_split
from autodistill.recipe import Recipe, Teacher
from autodistill.space import Space
from autodistill.target import Classes, Scores
from autodistill.tasks.base import Dataset
from autodistill.teacher.finetune import FinetunedTeacher, finetune_teacher
from autodistill.teacher.load import encode, load_teacher, teacher_fingerprint, untrained_ensemble
from autodistill.teacher.members import trained_teacher
from autodistill.teacher.outputs import ensure_outputs
from autodistill.teacher.plan import Taps
from autodistill.train.cost import count_parameters


def other_tokenizer(folder: Path) -> BertTokenizerFast:
    """The tests' words, in another order and with other ids."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "more", *sorted(WORDS)]))
    BertWordPieceTokenizer(str(folder / "vocab.txt")).save(str(folder / "tokenizer.json"))
    tokenizer = BertTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_other_bert(folder: Path) -> Path:
    """A BERT that reads other ids."""
    save_bert(folder, layers=1, seed=5)
    other_tokenizer(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["vocab_size"] >= len(WORDS) + 5
    (folder / "vocab.txt").unlink(missing_ok=True)
    return folder


def asked(model: Path, **fields: Any) -> Teacher:
    usual = {"model": str(model), "pooling": "mean", "head_init": "probe", "max_steps": 4, "max_length": 32, "batch_size": 16}
    return Teacher(**usual | {"learning_rate": 1e-2, "calibration": "temperature"} | fields)


def test_classes_are_averaged_by_their_probabilities_and_scores_by_themselves() -> None:
    logits = [torch.randn(5, 3, dtype=torch.float64) * 4 for _ in range(4)]
    together = Classes(("a", "b", "c")).averaged(logits)
    mean = np.mean([softmax(each.numpy(), axis=1) for each in logits], axis=0)
    np.testing.assert_allclose(together.numpy(), np.log(mean), rtol=1e-5, atol=1e-6)
    scores = [torch.full((2, 1), value) for value in (1.0, 2.0, 6.0)]
    assert Scores().averaged(scores).tolist() == [[3.0], [3.0]]
    extreme = Classes(("a", "b")).averaged([torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])])
    np.testing.assert_allclose(extreme.numpy(), np.log([[0.5, 0.5]]), rtol=1e-6)


@pytest.mark.parametrize("pair", [False, True])
def test_texts_are_read_again_with_another_tokenizer(tmp_path: Path, pair: bool) -> None:
    ours, theirs = save_tokenizer(tmp_path / "ours"), other_tokenizer(tmp_path / "theirs")
    texts = ["the film", "a lovely unly plot good bad", "music"]
    pairs = ["a scene", "end", "the the actor"] if pair else None
    rows = torch.arange(3)
    batch = encode_split(texts, pairs, ours, 16).batch(rows)
    wanted = encode_split(texts, pairs, theirs, 16).batch(rows)
    reread = reread_texts(ours, theirs, pair=pair, max_length=16)(batch)
    assert not torch.equal(wanted.ids, batch.ids)
    for name in ("ids", "mask", "segments"):
        assert torch.equal(getattr(reread, name), getattr(wanted, name)), name
    assert reread_texts(ours, ours, pair=pair, max_length=16)(batch) is batch


def test_images_are_normalised_again() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    ours, theirs = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    images_again = renormalise(ours, theirs)(normalise(images, *ours))
    torch.testing.assert_close(images_again.pixels, normalise(images, *theirs).pixels, rtol=1e-4, atol=1e-5)


def check(made: FinetunedTeacher, alone: list[FinetunedTeacher], dataset: Dataset, parts: list[Teacher]) -> None:
    """An ensemble against its members, each loaded by itself and reading the rows by itself."""
    model, tokenizer = load_teacher(made.folder)
    inputs = encode(dataset, dataset.validation, tokenizer, parts[0])
    rows = torch.arange(len(dataset.validation))
    with torch.no_grad():
        outputs = model(inputs.batch(rows), taps=frozenset({"states"}))
        each = []
        for item, part in zip(alone, parts, strict=True):
            member, own = load_teacher(item.folder)
            each.append(member(encode(dataset, dataset.validation, own, part).batch(rows), taps=frozenset({"states"})))
    if dataset.classes:
        wanted = np.log(np.mean([softmax(one.logits.double().numpy(), axis=1) for one in each], axis=0))
        if parts[0].calibration == "temperature":
            grid = np.geomspace(0.2, 20, 2000)
            losses = [log_loss(dataset.validation.labels, softmax(wanted / degree, axis=1)) for degree in grid]
            assert made.temperature == pytest.approx(grid[np.argmin(losses)], rel=5e-3)
        wanted /= made.temperature
    else:
        wanted = np.mean([one.logits.numpy() for one in each], axis=0)
    np.testing.assert_allclose(outputs.logits.numpy(), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs.embedding, each[0].embedding)
    torch.testing.assert_close(outputs.states, each[0].states)
    assert made.member_scores == tuple(item.score for item in alone)
    assert (made.calibration_error is None) == (made.temperature == 1.0)
    assert made.metrics == dataset.target.evaluate(dataset.metric, outputs.logits.numpy(), dataset.validation.labels)
    assert count_parameters(model) == sum(count_parameters(load_teacher(item.folder)[0]) for item in alone)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("regression", [False, True])
def test_seeds_of_a_model_answer_together(tmp_path: Path, regression: bool) -> None:
    dataset, source = text_dataset(48, regression=regression), save_bert(tmp_path / "bert", layers=1)
    teacher = asked(source, members=2, head_init="random")
    made = trained_teacher(dataset, teacher, 3, device="cpu")
    one = asked(source, head_init="random")
    alone = [finetune_teacher(dataset, one, seed, device="cpu") for seed in (3, 4)]
    assert all(item.reused for item in alone)
    assert len({teacher_fingerprint(folder) for folder in (made.folder, *(item.folder for item in alone))}) == 3
    check(made, alone, dataset, [one, one])
    assert json.loads((alone[0].folder / "teacher.json").read_text())["score"] == alone[0].score
    again = trained_teacher(dataset, teacher, 3, device="cpu")
    assert (again.reused, again.folder, again.member_scores) == (True, made.folder, made.member_scores)

    inputs = encode(dataset, dataset.train, load_teacher(made.folder)[1], teacher)
    stored = ensure_outputs(dataset, "train", inputs, made.folder, taps=Taps(pooled=frozenset({"mean"})), device="cpu")
    with torch.no_grad():
        logits = load_teacher(made.folder)[0](inputs.batch(torch.arange(5))).logits
    torch.testing.assert_close(stored.batch(torch.arange(5)).logits, logits, rtol=1e-4, atol=1e-5)


def test_members_of_other_tokens_read_the_same_rows(tmp_path: Path) -> None:
    dataset = text_dataset(48, pairs=True)
    first, second = save_bert(tmp_path / "first", layers=1), save_other_bert(tmp_path / "second")
    teacher = asked(first, members=(str(first), str(second)), max_steps=0)
    made = trained_teacher(dataset, teacher, 0, device="cpu")
    parts = [asked(first, max_steps=0), asked(second, max_steps=0)]
    check(made, [finetune_teacher(dataset, part, 0, device="cpu") for part in parts], dataset, parts)
    assert made.probe_score == max(made.member_scores)
    blank = untrained_ensemble(dataset, teacher)
    assert count_parameters(blank) == count_parameters(load_teacher(made.folder)[0])


def test_image_members_may_be_normalised_otherwise() -> None:
    dataset = image_dataset(24, size=32)
    fields: dict[str, Any] = {"init": "random", "pooling": "model", "head_init": "random", "calibration": "none", "max_steps": None}
    models = ("timm:lcnet_050", "timm:tinynet_e")
    parts = [Teacher(model=model, **fields) for model in models]
    made = trained_teacher(dataset, Teacher(model=models[0], members=models, **fields), 0, device="cpu")
    check(made, [finetune_teacher(dataset, part, 0, device="cpu") for part in parts], dataset, parts)


RECIPE: dict[str, Any] = {"task": "text-classification", "student": {"family": "cnn"}}


def test_members_are_part_of_the_recipe_only_where_there_are_several() -> None:
    plain = Recipe.parse(RECIPE | {"teacher": {"model": "org/m"}})
    assert Recipe.parse(RECIPE | {"teacher": {"model": "org/m", "members": 1}}).id == plain.id
    assert "members" not in plain.canonical_json()
    several = Recipe.parse(RECIPE | {"teacher": {"model": "org/m", "members": ["org/m", "n", "org/m"]}})
    assert several.id != plain.id
    assert Recipe.parse(json.loads(several.canonical_json())) == several
    assert Recipe.parse(yaml.safe_load(several.to_yaml())) == several
    assert several.teacher.title == "2 × org/m + n"
    assert Teacher(model="m", members=3).member_models == ("m", "m", "m")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"members": ["n", "m"]}, "members begins with 'n', but model is 'm'"),
        ({"members": ["m"]}, "at least 2"),
        ({"members": 0}, "greater than or equal to 1"),
        ({"members": 2, "max_steps": 0}, "a probe is the same for every seed"),
        ({"members": 2, "scores": "f" * 16}, "the teacher is a file of scores"),
    ],
)
def test_members_that_make_no_ensemble_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.parse(RECIPE | {"teacher": {"model": "m"} | fields})


SPACE = """\
version: 1
name: small
about: a test
tasks: [text-classification]
parameters:
  teacher.model: {value: m}
  teacher.members: MEMBERS
  student.family: {value: cnn}
"""


def test_a_space_can_hold_or_choose_members(tmp_path: Path) -> None:
    def read(members: str) -> Space:
        (tmp_path / "small.yaml").write_text(SPACE.replace("MEMBERS", members))
        return Space.load(str(tmp_path / "small.yaml"), "text-classification")

    listed = read("{value: [m, n]}")
    assert [teacher.members for teacher in listed.teachers()] == [("m", "n")]
    assert listed.contains(listed.defaults())
    assert [teacher.members for teacher in read("{choice: [1, 3]}").teachers()] == [1, 3]
    with pytest.raises(SpaceError, match=r"a teacher that does not validate: teacher"):
        read("{choice: [1, 0]}").teachers()
    with pytest.raises(SpaceError, match="members begins with 'm', but model is 'other'"):
        listed.with_teacher_models(["other"]).teachers()
