from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_teacher import image_dataset, save_bert, text_dataset, validation_metrics

from autodistill.errors import DivergedError, ModelError
from autodistill.recipe import Teacher
from autodistill.tasks.base import Dataset
from autodistill.teacher.finetune import FinetunedTeacher, TeacherProgress, finetune_teacher
from autodistill.teacher.load import encode, load_teacher, teacher_fingerprint

CPU = torch.device("cpu")


def teacher(folder: Path, **fields: Any) -> Teacher:
    return Teacher(**{"model": str(folder), "epochs": 3, "learning_rate": 3e-3, "batch_size": 16, "max_length": 32} | fields)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save_bert(tmp_path / "source", layers=2)


def score_of(kept: FinetunedTeacher, dataset: Dataset, asked: Teacher) -> dict[str, float]:
    model, tokenizer = load_teacher(kept.folder)
    return validation_metrics(model, encode(dataset, dataset.validation, tokenizer, asked), dataset)


def test_it_learns_is_kept_and_is_found_again(source: Path) -> None:
    dataset, asked = text_dataset(300), teacher(source, epochs=5)
    seen: list[TeacherProgress] = []
    first = finetune_teacher(dataset, asked, 0, device="cpu", progress=seen.append)
    assert first.score > 0.9
    assert first.metrics == score_of(first, dataset, asked)
    assert not first.reused
    scores = [at.score for at in seen if at.score is not None]
    assert first.score == max(scores)  # the best epoch's weights, not the last one's
    assert (seen[-1].step, seen[-1].steps, seen[-1].epoch, seen[-1].epochs) == (95, 95, 5, 5)

    again = finetune_teacher(dataset, asked, 0, device="cpu", progress=seen.append)
    assert again == replace(first, reused=True)
    assert len(seen) == 100  # nothing was trained
    about = json.loads((first.folder / "teacher.json").read_text())
    assert about["dataset_fingerprint"] == dataset.fingerprint
    assert about["versions"]["torch"] == torch.__version__.partition("+")[0]


@pytest.mark.parametrize(("epochs", "min_steps", "steps"), [(1, 0, 2), (1, 3, 4), (3, 4, 6), (2, 5, 6)])
def test_few_rows_are_trained_on_for_so_many_steps(source: Path, epochs: int, min_steps: int, steps: int) -> None:
    dataset, seen = text_dataset(32), list[TeacherProgress]()  # two steps an epoch
    trained = finetune_teacher(dataset, teacher(source, epochs=epochs, min_steps=min_steps), 0, device="cpu", progress=seen.append)
    assert (seen[-1].step, seen[-1].steps) == (steps, steps)
    assert finetune_teacher(dataset, teacher(source, epochs=steps // 2), 0, device="cpu") == replace(trained, reused=True)


def test_no_epochs_stay_none(source: Path) -> None:
    dataset = text_dataset(32)
    kept = finetune_teacher(dataset, teacher(source, epochs=0), 0, device="cpu")
    assert finetune_teacher(dataset, teacher(source, epochs=0, min_steps=9), 0, device="cpu") == replace(kept, reused=True)


def test_equal_seeds_give_equal_teachers_and_leave_the_generator_alone(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dataset, asked = text_dataset(32), teacher(source, epochs=1)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = finetune_teacher(dataset, asked, 0, device="cpu")
    assert torch.equal(torch.rand(1), expected)  # the process's own generator is left alone
    other = finetune_teacher(dataset, asked, 1, device="cpu")
    monkeypatch.setenv("AUTODISTILL_CACHE", str(tmp_path / "elsewhere"))
    second = finetune_teacher(dataset, asked, 0, device="cpu")
    assert teacher_fingerprint(first.folder) == teacher_fingerprint(second.folder) != teacher_fingerprint(other.folder)


def test_everything_that_changes_a_teacher_has_a_folder_of_its_own(source: Path, tmp_path: Path) -> None:
    dataset, asked = text_dataset(32), teacher(source, epochs=0)
    trained = [
        finetune_teacher(dataset, asked, 0, device="cpu"),
        finetune_teacher(dataset, asked, 1, device="cpu"),
        finetune_teacher(dataset, teacher(source, epochs=0, init="scratch"), 0, device="cpu"),
        finetune_teacher(replace(dataset, fingerprint="other"), asked, 0, device="cpu"),
        finetune_teacher(dataset, teacher(save_bert(tmp_path / "other", seed=1), epochs=0), 0, device="cpu"),
    ]
    save_bert(source, layers=2, seed=7)  # the same path with other weights
    trained.append(finetune_teacher(dataset, asked, 0, device="cpu"))
    assert len({one.folder for one in trained}) == len(trained)
    assert not any(one.reused for one in trained)


def test_regression_answers_in_the_targets_own_units(source: Path) -> None:
    dataset, asked = text_dataset(300, regression=True), teacher(source, epochs=6)  # scores of 100 and 150
    kept = finetune_teacher(dataset, asked, 0, device="cpu")
    assert kept.score > 0.8
    assert set(kept.metrics) == {"spearman", "pearson"}
    assert score_of(kept, dataset, asked)["spearman"] == pytest.approx(kept.score, abs=0.02)
    model, tokenizer = load_teacher(kept.folder)
    inputs = encode(dataset, dataset.validation, tokenizer, asked)
    with torch.no_grad():
        answers = model(inputs.batch(torch.arange(len(inputs)))).logits[:, 0].numpy()
    assert np.abs(answers - dataset.validation.labels).mean() < 15


def test_a_random_teacher_is_not_trained(source: Path) -> None:
    dataset, asked = text_dataset(64), teacher(source, init="random", epochs=5)
    seen: list[TeacherProgress] = []
    kept = finetune_teacher(dataset, asked, 1, device="cpu", progress=seen.append)
    assert seen == []
    assert kept.metrics == score_of(kept, dataset, asked)
    model, _ = load_teacher(kept.folder)
    scratch, _ = load_teacher(finetune_teacher(dataset, teacher(source, init="scratch", epochs=0), 1, device="cpu").folder)
    pretrained, _ = load_teacher(finetune_teacher(dataset, teacher(source, epochs=0), 1, device="cpu").folder)
    weights, start, trained = (one.state_dict() for one in (model, scratch, pretrained))
    assert all(torch.equal(weights[name], start[name]) for name in start)  # the seed's random weights, as they come
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    assert weights[name].shape == trained[name].shape  # the teacher's architecture, and none of its weights
    assert not torch.equal(weights[name], trained[name])


def test_a_random_teacher_of_scores_answers_near_their_mean(source: Path) -> None:
    dataset, asked = text_dataset(64, regression=True), teacher(source, init="random")  # scores of 100 and 150
    kept = finetune_teacher(dataset, asked, 0, device="cpu")
    model, tokenizer = load_teacher(kept.folder)
    inputs = encode(dataset, dataset.validation, tokenizer, asked)
    with torch.no_grad():
        answers = model(inputs.batch(torch.arange(len(inputs)))).logits[:, 0].numpy()
    assert abs(answers.mean() - dataset.train.labels.mean()) < 25  # one standard deviation


def test_a_random_image_teacher_is_not_trained() -> None:
    dataset, asked = image_dataset(), Teacher(model="timm:resnet10t", init="random", epochs=4)
    kept = finetune_teacher(dataset, asked, 0, device="cpu")
    assert kept.metrics == score_of(kept, dataset, asked)
    assert 0.2 < kept.score < 0.8  # of two classes


def test_pairs(source: Path) -> None:
    kept = finetune_teacher(text_dataset(32, pairs=True), teacher(source, epochs=1), 0, device="cpu")
    assert 0 <= kept.score <= 1


def test_a_teacher_for_more_classes_than_its_source_has(source: Path) -> None:
    dataset = replace(text_dataset(32), classes=("bad", "good", "none of them"))
    model, _ = load_teacher(finetune_teacher(dataset, teacher(source, epochs=0), 0, device="cpu").folder)
    assert model.model.config.id2label == {0: "bad", 1: "good", 2: "none of them"}  # type: ignore[union-attr]


def test_images_from_scratch() -> None:
    dataset, asked = image_dataset(), Teacher(model="timm:resnet10t", init="scratch", epochs=4, learning_rate=2e-3, batch_size=16)
    kept = finetune_teacher(dataset, asked, 0, device="cpu")
    assert kept.score > 0.9
    assert kept.metrics == score_of(kept, dataset, asked)
    assert finetune_teacher(dataset, asked, 0, device="cpu").reused


def test_a_loss_that_is_not_finite_is_told_and_nothing_is_kept(source: Path, isolated_cache: Path) -> None:
    with pytest.raises(DivergedError, match=r"lower teacher\.learning_rate"):
        finetune_teacher(text_dataset(32), teacher(source, learning_rate=1e30), 0, device="cpu", progress=lambda _: None)
    assert not list((isolated_cache / "teachers").glob("*/"))


def test_more_tokens_than_positions_are_told(source: Path) -> None:
    with pytest.raises(ModelError, match=r"teacher.max_length is 65, but .* has 64 positions"):
        finetune_teacher(text_dataset(32), teacher(source, max_length=65), 0, device="cpu")


def test_a_folder_that_is_no_teacher_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no fine-tuned teacher"):
        load_teacher(tmp_path)


def work(source: Path, results: Any) -> None:
    torch.set_num_threads(1)
    kept = finetune_teacher(text_dataset(32), teacher(source, epochs=1), 0, device="cpu", progress=lambda _: time.sleep(0.3))
    results.put((kept.reused, kept.score, str(kept.folder)))


def test_two_processes_train_it_once(source: Path, isolated_cache: Path) -> None:
    context = multiprocessing.get_context("fork")  # the others would import torch anew
    results = context.Queue()
    both = [context.Process(target=work, args=(source, results)) for _ in range(2)]
    for process in both:
        process.start()
    (first, second) = sorted(results.get(timeout=120) for _ in both)
    for process in both:
        process.join()
    assert (first[0], second[0]) == (False, True)
    assert first[1:] == second[1:]
    assert len(list((isolated_cache / "teachers").glob("*/teacher.json"))) == 1
    assert not list((isolated_cache / "teachers").glob("*.part-*"))
