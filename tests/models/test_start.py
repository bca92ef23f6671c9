"""Students that start from a saved student, and the pretraining that makes one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_teacher import WORDS, as_sentence_transformer, save_bert, save_encoder, text_dataset, texts

from autodistill.cli.main import main
from autodistill.errors import DataError, RecipeError, SpaceError, UsageError
from autodistill.models import build_student, family_of
from autodistill.models.base import StudentContext, StudentModule
from autodistill.models.saved import load_saved_student, save_student
from autodistill.models.start import check_start, start_fingerprint
from autodistill.models.text import load_tokenizer
from autodistill.models.vocabulary import keep_pieces
from autodistill.pretraining import Pretrained, pretrain
from autodistill.recipe import Recipe
from autodistill.space import Space
from autodistill.start_fit import fit_start, folders_of
from autodistill.tasks.base import DatasetRef
from autodistill.train.assignment import Assignment
from autodistill.train.data import open_inputs
from autodistill.train.trial import run_trial

STUDENTS: dict[str, dict[str, Any]] = {
    "cnn": {"embedding_size": 16, "channels": 8},
    "bilstm": {"embedding_size": 16, "hidden_size": 8, "layers": 2},
    "static": {"embedding_size": 16, "hidden_size": 8},
    "bert": {"layers": 2, "hidden_size": 16, "heads": 2, "pooling": "mean"},
}
HEADS = {"cnn": "classifier.", "bilstm": "classifier.", "static": "classifier.", "bert": "model.classifier."}
VOCABULARY = 5 + len(WORDS)


def recipe(family: str, task: str = "text-classification", **student: Any) -> Recipe:
    objective = {"hard_label_weight": 0.0, "prediction": {"kind": "mse"}} if task == "text-embedding" else {}
    part = {"family": family, "init": "random", **STUDENTS[family], **student}
    return Recipe.parse({"task": task, "teacher": {"model": "t"}, "student": part, "objective": objective})


def built(asked: Recipe, seed: int, outputs: int = 3, **context: Any) -> StudentModule:
    torch.manual_seed(seed)
    return build_student(asked, StudentContext(asked.task, outputs, vocab_size=VOCABULARY, max_length=16, **context)).eval()


def kept(folder: Path, family: str, **student: Any) -> dict[str, torch.Tensor]:
    """A student of sentence embeddings in a folder, with the tokenizer of `folder/teacher`; its weights."""
    asked = recipe(family, "text-embedding", **student)
    weights = built(asked, 1, 32).state_dict()
    teacher = save_bert(folder / "teacher")
    context = StudentContext(asked.task, 32, vocab_size=VOCABULARY, max_length=16, teacher=teacher)
    save_student(folder / "start", weights, asked, context, {"metric": "teacher_agreement"})
    return weights


@pytest.mark.parametrize("family", STUDENTS)
@pytest.mark.parametrize("task", ["text-classification", "text-pair-classification"])
def test_a_student_starts_with_all_but_the_output_layer(tmp_path: Path, family: str, task: str) -> None:
    weights = kept(tmp_path, family)
    pooling = {"pooling": "model"} if family == "bert" else {}  # the encoder is the same below another head
    ngrams = {"ngrams": 2, "buckets": 16} if family == "static" else {}
    asked = recipe(family, task, **pooling, **ngrams)
    blank = built(asked, 2).state_dict()
    started = built(recipe(family, task, **pooling, **ngrams, init=str(tmp_path / "start")), 2).state_dict()
    assert set(started) == set(blank)
    by_start = {name for name in started if not torch.equal(started[name], blank[name])}
    random = {name for name in started if name.startswith((HEADS[family], "model.bert.pooler."))}
    random |= {name for name in started if name.startswith("hidden.") and "pair" in task}
    assert not random & by_start
    for name in set(started) - random:
        saved = weights[name.replace("model.bert.", "model.encoder.")]
        torch.testing.assert_close(started[name][: len(saved)], saved, rtol=0, atol=0)
        if name == "embedding.weight" and ngrams:
            assert not started[name][len(saved) :, :-1].any()


@pytest.mark.parametrize("layers", [None, 1])
def test_a_pretrained_encoder_starts_from_a_folder_in_place_of_its_own_weights(tmp_path: Path, layers: int | None) -> None:
    own = save_encoder(tmp_path / "own", "Bert", [*WORDS, "more"])  # another tokenizer than the teacher's
    fields = {"model": str(own), "layers": layers}

    def asked(task: str, **student: Any) -> Recipe:
        data = recipe("cnn", task).model_dump()
        return Recipe.parse(data | {"student": {"family": "encoder", **fields, **student}})

    reads = {"teacher": save_bert(tmp_path / "teacher"), "source": own}
    pretrained = asked("text-embedding", init="random")
    torch.manual_seed(1)
    context = StudentContext("text-embedding", 32, vocab_size=VOCABULARY + 1, max_length=16, **reads)
    weights = build_student(pretrained, context).state_dict()
    save_student(tmp_path / "start", weights, pretrained, context, {"metric": "teacher_agreement"})
    context = replace(context, task="text-classification", num_outputs=3)
    torch.manual_seed(2)
    started = build_student(asked("text-classification", init=str(tmp_path / "start")), context).state_dict()
    encoder = {name for name in started if not name.startswith("model.head.")}
    assert encoder == {name for name in weights if not name.startswith("model.head.")}
    assert started["model.head.weight"].shape == (3, 32)
    for name in encoder:
        torch.testing.assert_close(started[name], weights[name], rtol=0, atol=0)
    check_start(asked("text-classification", init=str(tmp_path / "start")).student, load_tokenizer(tmp_path / "teacher"), "t")
    other = asked("text-classification", model=str(tmp_path / "teacher"), init=str(tmp_path / "start"))
    with pytest.raises(RecipeError, match=r"whose student has model .*own, and the recipe's has model .*teacher; change the recipe"):
        check_start(other.student, load_tokenizer(tmp_path / "teacher"), "t")


def test_a_trimmed_vocabulary_takes_its_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODISTILL_CACHE", str(tmp_path / "cache"))
    weights, data = kept(tmp_path, "cnn"), text_dataset(20)
    asked = recipe("cnn", vocabulary="trimmed", init=str(tmp_path / "start"))
    opened = open_inputs(data, asked.teacher, tmp_path / "teacher")
    count, pieces = keep_pieces(opened.train, opened.tokenizer)
    started = built(asked, 0, teacher=tmp_path / "teacher", kept_pieces=count, pieces=pieces)
    table = family_of(asked.student).word_table(started)
    used = opened.train.ids.unique().long()
    assert table is not None
    assert len(table.weight) == count < VOCABULARY
    torch.testing.assert_close(table(used), weights["embedding.weight"][used])


def test_what_does_not_fit_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    kept(tmp_path, "cnn")
    start, tokenizer = str(tmp_path / "start"), load_tokenizer(tmp_path / "teacher")
    for fields, words in (
        ({"channels": 4}, r"whose student has channels 8, and the recipe's has channels 4; change the recipe, or pretrain"),
        ({"init": f"{tmp_path}/teacher"}, r"holds no student \(student.safetensors\); give a folder that `autodistill pretrain` wrote"),
    ):
        asked = recipe("cnn", **{"init": start, **fields})
        with pytest.raises(RecipeError, match=words):
            check_start(asked.student, tokenizer, "t")
        with pytest.raises(RecipeError, match=words):
            built(asked, 0)
    with pytest.raises(RecipeError, match="whose student has family cnn, and the recipe's has family bilstm"):
        check_start(recipe("bilstm", init=start).student, tokenizer, "t")
    other = load_tokenizer(save_encoder(tmp_path / "other", "Bert", [*WORDS, "more"]))
    with pytest.raises(
        RecipeError, match=f"reads a vocabulary of {VOCABULARY} tokens, and the teacher 't' has another of {VOCABULARY + 1}"
    ):
        check_start(recipe("cnn", init=start).student, other, "t")
    with pytest.raises(RecipeError, match="student.init: or a folder that `autodistill pretrain` wrote, with a slash in it"):
        recipe("cnn", init="start")
    moved = tmp_path / "start-2"
    (tmp_path / "start").rename(moved)
    assert start_fingerprint(recipe("cnn", init=str(moved)).student)
    assert not start_fingerprint(recipe("cnn").student)


def space(tmp_path: Path, init: list[str], sizes: list[int], families: tuple[str, ...] = ("cnn", "bilstm")) -> Space:
    parameters = {
        "teacher.model": {"value": "t"},
        "student.family": {"choice": list(families)},
        "student.embedding_size": {"choice": sizes, "when": {"student.family": "cnn"}},
        "student.init": {"choice": init},
    }
    file = tmp_path / "space.yaml"
    data = {"version": 1, "name": "s", "about": "a", "tasks": ["text-classification"], "parameters": parameters}
    file.write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    return Space.load(str(file), "text-classification")


def test_a_space_starts_only_those_from_a_folder_that_fit(tmp_path: Path) -> None:
    asked = space(tmp_path, ["random", "./start"], [8, 16])
    assert folders_of(asked) == ["./start"]
    fitted = fit_start(asked, "./start", "cnn", {"embedding_size": 16, "kernels": "2-3-4"})
    for family, size, allowed in (("cnn", 16, ("random", "./start")), ("cnn", 8, ("random",)), ("bilstm", None, ("random",))):
        values = {"student.family": family} | ({} if size is None else {"student.embedding_size": size})
        domain = next(item for item in fitted.parameters["student.init"] if item.applies(values))
        assert domain.values == allowed
    with pytest.raises(SpaceError, match=r"'./start', whose student has embedding_size 16, and the space has student.embedding_size 8 too"):
        fit_start(space(tmp_path, ["./start"], [8, 16]), "./start", "cnn", {"embedding_size": 16})
    with pytest.raises(SpaceError, match=r"has kernels '3', and the space's students have '2-3-4'; add the line student.kernels"):
        fit_start(asked, "./start", "cnn", {"kernels": "3"})


@pytest.mark.slow
def test_a_stopped_trial_goes_on_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout, mixup, a queue of the objective and a decayed word table, whose states all matter."""
    monkeypatch.setenv("AUTODISTILL_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "rows.csv"
    rows, labels = texts(60)
    file.write_text("text,label\n" + "".join(f"{text},{'ab'[label]}\n" for text, label in zip(rows, labels, strict=True)))
    source = save_bert(tmp_path / "teacher")
    asked = Recipe.parse(
        {
            "task": "text-classification",
            "teacher": {"model": str(source), "max_length": 16},
            "student": {"family": "cnn", "embedding_size": 16, "channels": 8, "dropout": 0.3},
            "objective": {"prediction": {"kind": "kl"}, "contrastive": {"kind": "ckd", "weight": 0.1}},
            "augmentation": {"mixup": 0.4},
            "training": {"epochs": 4, "steps": 20, "batch_size": 8, "learning_rate": 1e-2, "weight_decay": 0.1},
        }
    )
    whole = Assignment(asked, DatasetRef(str(file)), 3, 4, str(source), 1, "cpu", str(tmp_path / "whole"))
    result = run_trial(whole, lambda point: None)
    stopped = replace(whole, student_folder=str(tmp_path / "stopped"), checkpoint=str(tmp_path / "state" / "checkpoint.pt"))
    seen: list[int] = []

    def stop(point: Any) -> None:
        seen.append(point.epoch)
        if point.epoch == 2:
            raise SystemExit

    with pytest.raises(SystemExit):
        run_trial(stopped, stop)
    torch.rand(7)  # whatever else the process did
    again = run_trial(stopped, lambda point: seen.append(point.epoch))
    assert seen == [1, 2, 3, 4]
    assert (again.score, again.best_epoch) == (result.score, result.best_epoch)
    one, other = (load_saved_student(tmp_path / name).model.state_dict() for name in ("whole", "stopped"))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=0)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of texts and a recipe, in the folder of the process."""
    monkeypatch.setenv("AUTODISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("\n".join([*texts(120)[0], "", " "]) + "\n", "utf-8")
    source = as_sentence_transformer(save_encoder(tmp_path / "base", "Bert"), "mean")
    asked = recipe("cnn", init="teacher", vocabulary="trimmed").model_dump()
    asked["teacher"] |= {"model": str(source), "max_length": 16}
    (tmp_path / "recipe.yaml").write_text(Recipe.parse(asked).to_yaml(), "utf-8")
    return tmp_path


@pytest.mark.slow
def test_pretraining_goes_on_where_it_was_stopped_and_gives_a_start(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rounds = 0

    def stop(event: object) -> None:
        nonlocal rounds
        rounds += type(event).__name__ == "StageProgress" and getattr(event, "stage", "") == "students"
        if rounds == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain("texts.txt", "recipe.yaml", steps=16, out="./start", listen=stop)
    assert not (corpus / "start").exists()
    assert main(["pretrain", "--text", "texts.txt", "--student", "recipe.yaml", "--steps", "16", "--out", "start"]) == 0
    said = capsys.readouterr().out
    assert "from where an earlier run was stopped" in said
    assert "student.init: ./start" in said
    assert not list((corpus / "cache" / "pretraining").glob("*/checkpoint.pt"))
    facts = json.loads((corpus / "start" / "pretraining.json").read_text("utf-8"))
    assert facts["command"].startswith("autodistill pretrain --text texts.txt --student recipe.yaml --steps 16")
    assert facts["steps"] == 16
    pretrained = load_saved_student(corpus / "start")
    assert pretrained.recipe.student.model_dump() | {"vocabulary": "trimmed"} == Recipe.load("recipe.yaml").student.model_dump()
    again = pretrain("texts.txt", "recipe.yaml", steps=16, out="./again")
    assert isinstance(again, Pretrained)
    for name, value in load_saved_student(again.folder).model.state_dict().items():
        torch.testing.assert_close(value, pretrained.model.state_dict()[name], rtol=0, atol=0)


def test_what_cannot_be_pretrained_says_why(corpus: Path) -> None:
    (corpus / "few.txt").write_text("a text\nA  text\n\nanother\n", "utf-8")
    with pytest.raises(DataError, match="there are 2 texts that differ, and at least 10 are needed"):
        pretrain("few.txt", "recipe.yaml")
    with pytest.raises(DataError, match=r"there is no file or folder .*none.txt"):
        pretrain("none.txt", "recipe.yaml")
    (corpus / "full").mkdir()
    with pytest.raises(UsageError, match="full exists; give another --out, or replace it with --overwrite"):
        pretrain("texts.txt", "recipe.yaml", out="full")
    with pytest.raises(UsageError, match="full is no student's folder, so --overwrite does not remove it"):
        pretrain("texts.txt", "recipe.yaml", out="full", overwrite=True)
    other = as_sentence_transformer(save_encoder(corpus / "other", "Bert", [*WORDS, "more"]), "mean")
    with pytest.raises(RecipeError, match=r"reads the 24 tokens of its teacher .*, and .*other' has others \(25\); give a --teacher with"):
        pretrain("texts.txt", "recipe.yaml", teacher=str(other))
    images = Recipe.parse({"task": "image-classification", "teacher": {"model": "timm:t"}, "student": {"family": "timm:resnet10t"}})
    with pytest.raises(RecipeError, match="only students that read texts are pretrained"):
        pretrain("texts.txt", images)
