"""Students that are a pretrained encoder, with a tokenizer of their own."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_teacher import ENCODERS, WORDS, as_sentence_transformer, save_bert, save_encoder, text_dataset

from autodistill.errors import ModelError, RecipeError
from autodistill.events import Event, SearchMessage
from autodistill.models import build_student, count_params, family_of
from autodistill.models.base import StudentContext, TextBatch
from autodistill.models.saved import load_saved_student, save_student
from autodistill.models.text import EncodedText, load_tokenizer
from autodistill.prepare import fit_tokens
from autodistill.recipe import Recipe
from autodistill.space import Space
from autodistill.tasks.base import Dataset
from autodistill.teacher.finetune import finetune_teacher
from autodistill.teacher.load import load_teacher
from autodistill.token_fit import pretrained_students
from autodistill.train.data import TrialData, open_inputs
from autodistill.train.student_tokens import check_tokens
from autodistill.train.trial import Trainer

CONTEXT = StudentContext("text-classification", num_outputs=3, vocab_size=24, max_length=32)


def recipe(folder: Path, task: str = "text-classification", **fields: Any) -> Recipe:
    student = {"family": "encoder", "model": str(folder), **fields}
    return Recipe.parse({"task": task, "teacher": {"model": "x"}, "student": student})


def ragged_batch() -> TextBatch:
    mask = torch.arange(9)[None] < torch.tensor([9, 4, 7, 3])[:, None]
    ids = torch.randint(5, 18, (4, 9), generator=torch.Generator().manual_seed(1)).masked_fill(~mask, 0)
    return TextBatch(ids, mask, torch.zeros_like(ids))


def built(wanted: Recipe, context: StudentContext = CONTEXT) -> Any:
    torch.manual_seed(0)
    return build_student(wanted, context).eval()


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("layers", [None, 1])
def test_a_student_is_the_pretrained_encoder_pooled_or_its_first_layers(tmp_path: Path, kind: str, layers: int | None) -> None:
    wanted = recipe(save_encoder(tmp_path / kind, kind), layers=layers)
    student, batch = built(wanted), ragged_batch()
    reference = transformers.AutoModel.from_pretrained(tmp_path / kind).eval()
    with torch.no_grad():
        said = student(batch, taps=frozenset({"states"}))
        whole = reference(input_ids=batch.ids, attention_mask=batch.mask.long(), output_hidden_states=True)
    # of ModernBERT the last of the states has gone through the last norm; that of one layer cut off has too
    read = whole.last_hidden_state if layers is None else whole.hidden_states[1]
    if layers is not None and kind == "ModernBert":
        read = reference.final_norm(read)
    pooled = torch.stack([row[:length].mean(dim=0) for row, length in zip(read, batch.mask.sum(dim=1), strict=True)])
    torch.testing.assert_close(said.embedding, pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(said.logits, torch.nn.functional.linear(pooled, student.output_layer.weight, student.output_layer.bias))
    assert len(said.states) == 1 + (layers or 2)
    assert count_params(wanted, CONTEXT) == sum(parameter.numel() for parameter in student.parameters())


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_it_is_pooled_as_its_files_say(tmp_path: Path, pooling: str) -> None:
    folder = as_sentence_transformer(save_encoder(tmp_path / "bert", "Bert"), pooling)
    with torch.no_grad():
        said = built(recipe(folder))(ragged_batch(), taps=frozenset({"states"}))
    mask = ragged_batch().mask.unsqueeze(-1)
    wanted = said.states[-1][:, 0] if pooling == "cls" else (said.states[-1] * mask).sum(dim=1) / mask.sum(dim=1)
    torch.testing.assert_close(said.embedding, wanted)


def test_parameters_are_counted_without_weights_and_a_control_is_built_without_them(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "bert", "Bert")
    whole = count_params(recipe(folder), CONTEXT)
    (folder / "model.safetensors").unlink()
    layer = sum(parameter.numel() for parameter in built(recipe(folder, init="random")).model.encoder.encoder.layer[0].parameters())
    assert count_params(recipe(folder, layers=1), CONTEXT) == whole - layer
    assert family_of(recipe(folder).student).untrained(recipe(folder).student).own["init"] == "random"
    with pytest.raises(ModelError, match=r"student '.*bert': the folder has no weights .*; give student.init: random to do without"):
        built(recipe(folder))


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "ModernBert"])
def test_a_saved_student_needs_its_model_no_more(tmp_path: Path, kind: str) -> None:
    folder = as_sentence_transformer(save_encoder(tmp_path / kind, kind), "cls")
    wanted, context = recipe(folder, layers=1), replace(CONTEXT, source=folder)
    student = built(wanted, context)
    save_student(tmp_path / "saved", student.state_dict(), wanted, context, {"task": wanted.task})
    folder.rename(tmp_path / "elsewhere")
    saved = load_saved_student(tmp_path / "saved")
    batch = ragged_batch()
    torch.testing.assert_close(saved.model(batch).logits, student(batch).logits)
    assert saved.tokenizer == tmp_path / "saved"


def test_what_cannot_be_built_is_told(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "bert", "Bert")
    with pytest.raises(RecipeError, match=r"student.layers is 3, and '.*bert' has 2; give at most that many, or none for all"):
        built(recipe(folder, layers=3))
    with pytest.raises(ModelError, match=r"teacher.max_length is 70, but the student '.*bert' has 66 positions; lower it to that"):
        built(recipe(folder), replace(CONTEXT, max_length=70))
    with pytest.raises(ModelError, match=r"student '.*nowhere': there is no such folder"):
        built(recipe(tmp_path / "nowhere"))
    with pytest.raises(RecipeError, match="student.model"):
        Recipe.parse({"task": "text-classification", "teacher": {"model": "x"}, "student": {"family": "encoder"}})
    with pytest.raises(RecipeError, match="does not fit image-classification"):
        recipe(folder, "image-classification")
    (tmp_path / "t5").mkdir()
    transformers.T5Config(vocab_size=24, d_model=8).save_pretrained(tmp_path / "t5")
    with pytest.raises(ModelError, match=r"student '.*t5' \(t5\) is no plain encoder"):
        built(recipe(tmp_path / "t5", init="random"))


OTHER_WORDS = WORDS[::-1]


class World:
    """Rows, a teacher of them, and two encoders as students: one with the teacher's tokenizer, one with another."""

    def __init__(self, folder: Path, pairs: bool = False) -> None:
        self.dataset: Dataset = text_dataset(48, pairs=pairs)
        self.same, self.other = save_encoder(folder / "same", "Bert"), save_encoder(folder / "other", "DistilBert", OTHER_WORDS)
        self.teacher = {"model": str(save_bert(folder / "teacher")), "init": "random", "max_length": 16}
        kept = finetune_teacher(self.dataset, self.recipe(self.same).teacher, 0, device="cpu")
        self.opened = open_inputs(self.dataset, self.recipe(self.same).teacher, kept.folder)

    def recipe(self, student: Path, **changes: Any) -> Recipe:
        training = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3}
        data = {"task": self.dataset.task, "teacher": self.teacher, "student": {"family": "encoder", "model": str(student)}}
        return Recipe.parse(data | {"training": training, "objective": {"prediction": {"kind": "kl"}}} | changes)

    def data(self, recipe: Recipe) -> TrialData:
        return TrialData(self.opened, recipe, device="cpu")


def texts_of(encoded: Any, folder: Path) -> list[str]:
    assert isinstance(encoded, EncodedText)
    tokenizer, ends = load_tokenizer(folder), encoded.offsets.tolist()
    return [tokenizer.decode(encoded.ids[start:end]) for start, end in itertools.pairwise(ends)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.usefixtures("float32")
def test_a_student_reads_the_rows_with_its_own_tokenizer_and_hears_what_the_teacher_says_of_them(world: World) -> None:
    data, opened = world.data(world.recipe(world.other)), world.opened
    view, rows = data.view(0), torch.tensor([3, 0, 7])
    for own, teachers in ((view.inputs, opened.train), (data.validation, opened.validation)):
        assert texts_of(own, world.other) == texts_of(teachers, opened.folder)
        assert not torch.equal(own.ids, teachers.ids)
    said = view.teacher_batch(rows)
    assert said is not None
    with torch.no_grad():
        wanted = load_teacher(opened.folder)[0](opened.train.batch(rows)).logits
    torch.testing.assert_close(said.logits, wanted, atol=1e-5, rtol=1e-4)
    assert data.token_ids() is not None
    assert torch.equal(data.token_ids()[0], view.inputs.ids)  # type: ignore[index]


def test_with_the_teachers_tokenizer_the_encoded_rows_are_shared(world: World) -> None:
    objective = {"attention": {"kind": "mse"}, "intermediate": {"kind": "mse", "tokens": "tokens"}, "relation": {"kind": "trg"}}
    data = world.data(world.recipe(world.same, objective=objective))
    assert data.view(0).inputs is world.opened.train
    assert data.validation is world.opened.validation
    torch.manual_seed(0)
    trainer = Trainer(data.recipe, build_student(data.recipe, data.context), data, torch.device("cpu"), 1, 0)
    assert set(trainer.train_epoch(1)) == {"hard_label", *objective}


@pytest.mark.parametrize("kind", ["none", "random", "token_dropout", "span_cutoff", "synonyms"])
@pytest.mark.parametrize("pairs", [False, True])
def test_of_an_augmented_row_student_and_teacher_read_the_same_text(tmp_path: Path, kind: str, pairs: bool) -> None:
    world = World(tmp_path, pairs)
    augmentation = {"kind": kind} if kind == "none" else {"kind": kind, "strength": 0.3, "copies": 1}
    (own, teachers) = (world.data(world.recipe(folder, augmentation=augmentation)).view(1).inputs for folder in (world.other, world.same))
    assert texts_of(own, world.other) == texts_of(teachers, world.same)
    assert (texts_of(own, world.other) != texts_of(world.opened.train, world.same)) == (kind != "none")


@pytest.mark.parametrize(
    "objective",
    [
        {"prediction": {"kind": "kl"}, "intermediate": {"kind": "mi", "tokens": "mean", "layer_map": "skip"}},
        {"intermediate": {"kind": "mse", "tokens": "cls", "layer_map": "emd"}, "relation": {"kind": "rkd"}},
        {"contrastive": {"kind": "crd"}},
        {"contrastive": {"kind": "wcord"}},
    ],
    ids=str,
)
def test_objectives_on_whole_rows_train_across_tokenizers(world: World, objective: dict[str, Any]) -> None:
    recipe = world.recipe(world.other, objective=objective, augmentation={"kind": "none", "mixup": 0.2})
    data = world.data(recipe)
    torch.manual_seed(0)
    trainer = Trainer(recipe, build_student(recipe, data.context), data, torch.device("cpu"), 1, 0)
    assert set(trainer.train_epoch(1)) == {"hard_label", *objective}


@pytest.mark.parametrize(
    ("slot", "part", "way_out"),
    [
        ("intermediate", {"kind": "mse", "tokens": "tokens"}, "set its tokens to 'cls' or 'mean'"),
        ("attention", {"kind": "minilm"}, "set its kind to 'none'"),
        ("relation", {"kind": "trg"}, "set its kind to 'none'"),
    ],
)
def test_a_comparison_of_single_tokens_is_refused_across_tokenizers(world: World, slot: str, part: dict[str, Any], way_out: str) -> None:
    message = rf"objective.{slot}: '{part['kind']}' compares .* token by token, but the student '.*other' has another tokenizer .*{way_out}"
    with pytest.raises(RecipeError, match=message):
        world.data(world.recipe(world.other, objective={slot: part}))
    check_tokens(world.recipe(world.same, objective={slot: part}), world.opened.tokenizer)


SPACE = """
version: 1
name: own
about: two students
tasks: [text-classification]
parameters:
  teacher.model: {{value: {teacher}}}
  student.family: {{choice: [cnn, encoder]}}
  student.model: {{choice: [{same}, {other}], when: {{student.family: encoder}}}}
  objective.prediction.kind: {{value: kl}}
  objective.intermediate.kind: {{choice: [mse, mi]}}
  objective.intermediate.tokens: {{choice: [tokens, mean, cls]}}
  objective.attention.kind: {{optional: [mse, minilm], when: {{student.family: encoder}}}}
  objective.relation.kind: {{choice: [none, rkd, trg]}}
"""


def test_a_space_leaves_out_what_compares_single_tokens_and_says_so(world: World, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(SPACE.format(teacher=world.teacher["model"], same=world.same, other=world.other))
    told: list[Event] = []
    space = fit_tokens(Space.load(str(tmp_path / "own.yaml"), "text-classification"), world.dataset, told.append)
    reason = f"for the student {world.other} with the teacher {world.teacher['model']}, because their tokenizers differ"
    assert told == [
        SearchMessage(
            f"left out {reason} and these objectives compare single tokens: "
            "attention minilm, attention mse, intermediate tokens, relation trg"
        )
    ]
    rng = random.Random(0)
    recipes = [space.sample(rng) for _ in range(200)]
    assert all(space.contains(recipe) for recipe in recipes)
    compared: dict[str, set[str]] = {"cnn": set(), str(world.same): set(), str(world.other): set()}
    for recipe in recipes:
        objective, who = recipe.objective, recipe.student.own.get("model", "cnn")
        compared[who] |= {objective.attention.name, objective.intermediate.tokens, objective.relation.name}
    assert compared[str(world.other)] == {"none", "rkd", "mean", "cls"}
    assert compared[str(world.same)] == {"none", "mse", "minilm", "rkd", "trg", "tokens", "mean", "cls"}
    assert compared["cnn"] == {"none", "rkd", "trg", "tokens", "mean", "cls"}


def test_a_student_that_cannot_be_had_is_left_out_with_a_warning_where_there_are_others(world: World, tmp_path: Path) -> None:
    text = SPACE.format(teacher=world.teacher["model"], same=world.same, other=tmp_path / "gone")
    told: list[Event] = []

    def fitted(text: str) -> Space:
        (tmp_path / "own.yaml").write_text(text)
        return fit_tokens(Space.load(str(tmp_path / "own.yaml"), "text-classification"), world.dataset, told.append)

    assert [domain.values for domain in fitted(text).parameters["student.model"]] == [(str(world.same),)]
    alone = text.replace(f"[{world.same}, ", "[")
    assert [domain.values for domain in fitted(alone).parameters["student.family"]] == [("cnn",)]
    assert told == [SearchMessage(f"left out: student {str(tmp_path / 'gone')!r}: there is no such folder", "warning")] * 2
    with pytest.raises(ModelError, match="there is no such folder"):
        fitted(alone.replace("[cnn, encoder]", "[encoder]"))


def test_a_student_made_for_another_language_is_left_out_where_there_are_others(world: World, tmp_path: Path) -> None:
    foreign = save_encoder(tmp_path / "foreign", "Bert", ["der", "die"])
    told: list[Event] = []

    def fitted(change: tuple[str, str] = ("", "")) -> Space:
        text = SPACE.format(teacher=world.teacher["model"], same=world.same, other=foreign)
        (tmp_path / "own.yaml").write_text(text.replace(*change))
        return fit_tokens(Space.load(str(tmp_path / "own.yaml"), "text-classification"), world.dataset, told.append)

    assert [domain.values for domain in fitted().parameters["student.model"]] == [(str(world.same),)]
    assert told == [
        SearchMessage(
            f"left out: the student {foreign}, which was hardly made for texts like these: 100% of their tokens are unknown to it"
        )
    ]
    only = fitted((f"[{world.same}, {foreign}]", f"[{foreign}]"))
    assert [domain.values for domain in only.parameters["student.family"]] == [("cnn",)]


def test_the_shipped_space_proposes_an_encoder_where_its_teacher_is_larger_or_unknown() -> None:
    space, rng = Space.load("text", "text-classification"), random.Random(0)

    def families(space: Space) -> tuple[Any, ...]:
        (domain,) = space.for_its_teachers().parameters["student.family"]  # one, so that its name in a study is the path
        return domain.choices

    assert families(space) == ("cnn", "bilstm", "bert", "static")
    larger, scored = space.with_teacher_models(["sentence-transformers/all-mpnet-base-v2"]), space.with_teacher_scores("0123")
    for other, more in ((larger, ("shallow", "encoder")), (scored, ("encoder",))):  # scores have no layers
        assert families(other) == (*families(space), *more)
        assert other.defaults().student == space.defaults().student
        found = [recipe for recipe in (other.for_its_teachers().sample(rng) for _ in range(60)) if recipe.student.name == "encoder"]
        assert {recipe.student.own["layers"] for recipe in found} == {3, 6}
        whole = [recipe.training.learning_rate for recipe in found if recipe.student.own["layers"] == 6]
        assert max(whole) <= 3e-4 < max(recipe.training.learning_rate for recipe in found) <= 1e-3  # cut ones learn more anew
        assert all(other.contains(recipe) for recipe in found)
    assert pretrained_students(space) == []
    both = space.with_teacher_models(["sentence-transformers/all-mpnet-base-v2", "sentence-transformers/all-MiniLM-L6-v2"])
    ((part, teacher),) = pretrained_students(both)
    assert (part["model"], teacher.model) == ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/all-mpnet-base-v2")
