from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_teacher import WORDS, save_bert

from autodistill.errors import ModelError, RecipeError
from autodistill.models import build_student, count_params
from autodistill.models.base import ImageBatch, StudentContext, StudentModule, TextBatch
from autodistill.models.image import IMAGENET_MEAN, IMAGENET_STD
from autodistill.recipe import Recipe

TEXT = StudentContext("text-classification", num_outputs=3, vocab_size=5 + len(WORDS), max_length=40)
PAIR = StudentContext("text-pair-regression", num_outputs=1, vocab_size=5 + len(WORDS), max_length=40)
IMAGE = StudentContext("image-classification", num_outputs=3, image_size=32)
STATES = frozenset({"states"})

TEXT_STUDENTS: dict[str, dict[str, Any]] = {
    "bert": {"family": "bert", "layers": 2, "hidden_size": 24, "heads": 3, "init": "random"},
    "cnn": {"family": "cnn", "embedding_size": 12, "channels": 8, "kernels": "2-3-4", "init": "random"},
    "cnn of one width": {"family": "cnn", "embedding_size": 12, "channels": 8, "kernels": "3", "init": "random"},
    "deep cnn": {"family": "cnn", "embedding_size": 12, "channels": 8, "kernels": "2-3-4", "blocks": 2, "init": "random"},
    "bilstm": {"family": "bilstm", "embedding_size": 12, "hidden_size": 8, "layers": 2, "init": "random"},
    "static": {"family": "static", "embedding_size": 12, "hidden_size": 0, "init": "random"},
    "static with a hidden layer": {"family": "static", "embedding_size": 12, "hidden_size": 12, "init": "random"},
}
WIDTHS = {"bert": [24, 24, 24], "cnn": [12, 24], "cnn of one width": [12, 8], "deep cnn": [12, 24], "bilstm": [12, 16, 16]}
WIDTHS |= {"static": [12, 12], "static with a hidden layer": [12, 12]}
IMAGE_STUDENTS = ["resnet10t", "mobilenetv3_small_050", "lcnet_050", "tinynet_e", "vit_tiny_patch16_224", "convnext_atto"]


def recipe(student: dict[str, Any], task: str = "text-classification") -> Recipe:
    return Recipe.parse({"task": task, "teacher": {"model": "x"}, "student": student})


def ragged_batch() -> TextBatch:
    torch.manual_seed(0)
    lengths = torch.tensor([9, 3, 6, 1])
    ids = torch.randint(5, 5 + len(WORDS), (4, 9))
    mask = torch.arange(9)[None] < lengths[:, None]
    return TextBatch(ids.masked_fill(~mask, 0), mask, torch.zeros_like(ids))


@pytest.mark.parametrize("name", TEXT_STUDENTS)
def test_shapes_of_text_students(name: str) -> None:
    batch = ragged_batch()
    torch.manual_seed(0)
    student = build_student(recipe(TEXT_STUDENTS[name]), TEXT).eval()
    out = student(batch, taps=STATES)
    assert out.logits.shape == (4, 3)
    assert [state.shape for state in out.states] == [(4, 9, width) for width in WIDTHS[name]]
    assert [state.shape for state in out.sentences] == [(4, width) for width in WIDTHS[name]]
    assert out.embedding.shape == (4, WIDTHS[name][-1])
    torch.testing.assert_close(student.get_submodule("model.classifier" if name == "bert" else "classifier")(out.embedding), out.logits)
    bare = student(batch)
    assert (bare.states, bare.sentences, bare.queries) == ([], [], [])
    assert len({id(parameter) for parameter in student.parameters()}) == len(student.state_dict())  # nothing is saved twice
    torch.testing.assert_close(bare.logits, out.logits)


@pytest.mark.parametrize("name", ["cnn", "cnn of one width", "deep cnn", "bilstm"])
def test_of_a_pair_both_texts_are_pooled_and_compared(name: str) -> None:
    batch = pairs_batch()
    torch.manual_seed(0)
    student = build_student(recipe(TEXT_STUDENTS[name], "text-pair-regression"), PAIR).eval()
    out = student(batch, taps=STATES)
    for states, sentences in zip(out.states, out.sentences, strict=True):
        for row, (first, length) in enumerate([(5, 9), (1, 3), (4, 6), (1, 1)]):  # the last has no second text
            one, other = states[row, :first].amax(dim=0), states[row, first:length]
            other = other.amax(dim=0) if len(other) else torch.zeros_like(one)
            torch.testing.assert_close(sentences[row], torch.cat([one, other, (one - other).abs(), one * other]))
    torch.testing.assert_close(out.embedding, out.sentences[-1])
    torch.testing.assert_close(student.classifier(out.embedding), out.logits)
    assert count_params(recipe(TEXT_STUDENTS[name], "text-pair-regression"), PAIR) == sum(item.numel() for item in student.parameters())


def test_the_residual_convolutions_of_a_cnn_add_what_pytorch_says_and_reach_twice_as_far_each_time() -> None:
    torch.manual_seed(0)
    fields = {"family": "cnn", "embedding_size": 12, "channels": 8, "kernels": "3", "init": "random"}
    student = build_student(recipe(fields | {"blocks": 3}), TEXT).eval()
    flat = build_student(recipe(fields), TEXT).eval()
    flat.load_state_dict({name: item for name, item in student.state_dict().items() if not name.startswith("blocks")})
    ids = torch.randint(5, 5 + len(WORDS), (1, 20))
    batch = TextBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids))
    words = flat.embedding(ids)
    for block, apart in zip(student.blocks, (1, 2, 4), strict=True):
        norm, convolution = block.norm, block.convolution
        normed = torch.layer_norm(words, (12,), norm.weight, norm.bias)
        padded = torch.nn.functional.pad(normed, (0, 0, apart, apart))
        parts = [padded[:, place * apart : place * apart + 20] @ convolution.weight[:, :, place].T for place in range(3)]
        words = words + torch.nn.functional.gelu(sum(parts, convolution.bias))
    across = flat.convolutions[0](words.transpose(1, 2)).relu().transpose(1, 2)
    torch.testing.assert_close(student(batch, taps=STATES).states[1], across)
    other = ids.clone()
    other[0, 10] = 5 + (ids[0, 10] - 5 + 1) % len(WORDS)
    changed = student(TextBatch(other, batch.mask, batch.segments), taps=STATES).states[1] != student(batch, taps=STATES).states[1]
    assert changed.any(dim=2)[0].nonzero()[:, 0].tolist() == list(range(10 - 8, 10 + 8 + 1))  # 1 + 2 + 4, and 1 of the last convolution


def test_the_bilstm_reads_each_text_of_a_pair_as_if_it_were_alone() -> None:
    batch = pairs_batch()
    torch.manual_seed(0)
    student = build_student(recipe(TEXT_STUDENTS["bilstm"], "text-pair-regression"), PAIR).eval()
    alone = build_student(recipe(TEXT_STUDENTS["bilstm"]), TEXT).eval()
    alone.load_state_dict({**student.state_dict(), **{name: item for name, item in alone.state_dict().items() if "classifier" in name}})
    states = student(batch, taps=STATES).states
    for row, (first, length) in enumerate([(5, 9), (1, 3), (4, 6)]):
        for part in (slice(first), slice(first, length)):
            ids = batch.ids[row : row + 1, part]
            own = alone(TextBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids)), taps=STATES)
            for mine, theirs in zip(states, own.states, strict=True):
                torch.testing.assert_close(mine[row, part], theirs[0])


def pairs_batch() -> TextBatch:
    batch = ragged_batch()
    segments = torch.arange(9)[None] >= torch.tensor([5, 1, 4, 1])[:, None]
    return TextBatch(batch.ids, batch.mask, (segments & batch.mask).long())


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("name", TEXT_STUDENTS)
def test_padding_changes_nothing(name: str, pairs: bool) -> None:
    batch = pairs_batch() if pairs else ragged_batch()
    torch.manual_seed(0)
    task = "text-pair-regression" if pairs else "text-classification"
    student = build_student(recipe(TEXT_STUDENTS[name], task), PAIR if pairs else TEXT).eval()
    together = student(batch, taps=STATES)
    for row, length in enumerate(batch.mask.sum(dim=1).tolist()):
        part = slice(row, row + 1), slice(length)
        alone = student(TextBatch(batch.ids[part], batch.mask[part], batch.segments[part]), taps=STATES)
        torch.testing.assert_close(alone.logits[0], together.logits[row], atol=1e-6, rtol=1e-4)
        for mine, theirs in zip(alone.sentences, together.sentences, strict=True):
            torch.testing.assert_close(mine[0], theirs[row], atol=1e-5, rtol=1e-4)
        for mine, theirs in zip(alone.states, together.states, strict=True):
            torch.testing.assert_close(mine[0], theirs[row, :length], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TEXT_STUDENTS)
def test_counted_parameters_are_those_that_are_built(name: str) -> None:
    for student in (TEXT_STUDENTS[name], TEXT_STUDENTS[name] | {"init": "teacher"}):
        counted = count_params(recipe(student), TEXT)
        built = build_student(recipe(TEXT_STUDENTS[name]), TEXT)
        assert counted == sum(parameter.numel() for parameter in built.parameters())


@pytest.mark.parametrize("variant", IMAGE_STUDENTS)
def test_image_students(variant: str) -> None:
    wanted = recipe({"family": f"timm:{variant}"}, "image-classification")
    torch.manual_seed(0)
    student = build_student(wanted, IMAGE)
    assert count_params(wanted, IMAGE) == sum(parameter.numel() for parameter in student.parameters())
    batch = ImageBatch(torch.randn(2, 3, 32, 32))
    student.eval()
    out = student(batch, taps=STATES)
    assert out.logits.shape == (2, 3)
    assert out.embedding.dim() == 2
    assert len(out.states) >= 4
    assert all(state.dim() == 4 and len(state) == 2 for state in out.states)
    classifier = student.model.get_classifier()  # type: ignore[union-attr, operator]
    torch.testing.assert_close(classifier(out.embedding), out.logits)
    torch.testing.assert_close(student.model(batch.pixels), out.logits)  # type: ignore[operator]
    torch.testing.assert_close(student(batch).logits, out.logits)


@pytest.mark.parametrize(("variant", "stages"), [("tf_efficientnet_lite0", 4), ("resnet10t", 3), ("convnext_atto", 2)])
def test_a_cut_student_is_the_first_stages_of_the_whole_network(variant: str, stages: int) -> None:
    wanted = recipe({"family": f"cut:{variant}", "stages": stages, "init": "random"}, "image-classification")
    torch.manual_seed(0)
    student = build_student(wanted, IMAGE).eval()
    assert count_params(wanted, IMAGE) == sum(parameter.numel() for parameter in student.parameters())
    whole = build_student(recipe({"family": f"timm:{variant}"}, "image-classification"), IMAGE).eval()
    missing = whole.model.load_state_dict(student.network.state_dict(), strict=False)  # type: ignore[union-attr, operator]
    assert not missing.unexpected_keys  # the cut network has no weights that the whole one lacks
    assert missing.missing_keys
    batch = ImageBatch(torch.randn(2, 3, 32, 32))
    out, expected = student(batch, taps=STATES), whole(batch, taps=STATES).states[:stages]
    assert len(out.states) == stages
    for state, other in zip(out.states, expected, strict=True):
        torch.testing.assert_close(state, other)
    torch.testing.assert_close(out.embedding, expected[-1].mean(dim=(2, 3)))
    torch.testing.assert_close(student.head(out.embedding), out.logits)  # type: ignore[operator]
    assert student(batch).states == []


def test_a_cut_student_reads_pixels_as_its_own_network_expects_whatever_the_teacher_expects() -> None:
    wanted = recipe({"family": "cut:resnet10t", "stages": 2, "init": "random"}, "image-classification")  # ImageNet's normalisation
    pixels = torch.rand(2, 3, 32, 32)
    logits = []
    for mean, std in (((0.5, 0.4, 0.3), (0.5, 0.6, 0.7)), (IMAGENET_MEAN, IMAGENET_STD)):
        torch.manual_seed(0)
        student = build_student(wanted, replace(IMAGE, normalisation=(mean, std))).eval()
        given = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        logits.append(student(ImageBatch(given)).logits)
    torch.testing.assert_close(logits[0], logits[1])
    torch.manual_seed(0)
    of_an_older_file = build_student(wanted, IMAGE).eval()  # which does not say how its images were normalised
    torch.testing.assert_close(of_an_older_file(ImageBatch(given)).logits, logits[1])
    assert not {"scale", "shift"} & set(of_an_older_file.state_dict())


def test_a_cut_student_may_enlarge_small_images() -> None:
    def build(size: int, **fields: int) -> StudentModule:
        torch.manual_seed(0)
        wanted = recipe({"family": "cut:resnet10t", "stages": 2, "init": "random", **fields}, "image-classification")
        return build_student(wanted, replace(IMAGE, image_size=size)).eval()

    small = torch.randn(2, 3, 32, 32)
    large = torch.nn.functional.interpolate(small, (96, 96), mode="bilinear")
    enlarging, as_it_is = build(32, image_size=96), build(96)
    torch.testing.assert_close(enlarging(ImageBatch(small)).logits, as_it_is(ImageBatch(large)).logits)
    assert [state.shape[-1] for state in enlarging(ImageBatch(small), taps=STATES).states] == [48, 24]
    assert [state.shape[-1] for state in build(32)(ImageBatch(small), taps=STATES).states] == [32, 32]  # no pooling
    torch.testing.assert_close(build(96, image_size=64)(ImageBatch(large)).logits, as_it_is(ImageBatch(large)).logits)  # never made smaller


def test_a_cut_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"student.stages is 6, and resnet18 has 5; give at most that many"):
        count_params(recipe({"family": "cut:resnet18", "stages": 6}, "image-classification"), IMAGE)
    with pytest.raises(ModelError, match=r"timm has no model 'resnet10tt'. Near ones: resnet10t"):
        count_params(recipe({"family": "cut:resnet10tt"}, "image-classification"), IMAGE)


def test_small_images_keep_their_resolution_at_the_stem() -> None:
    def grids(size: int) -> list[int]:
        student = build_student(recipe({"family": "timm:resnet18"}, "image-classification"), replace(IMAGE, image_size=size)).eval()
        return [state.shape[-1] for state in student(ImageBatch(torch.zeros(1, 3, size, size)), taps=STATES).states]

    assert grids(32) == [32, 32, 16, 8, 4]  # as He et al. 2016 on CIFAR
    assert grids(64) == [64, 32, 16, 8, 4]
    assert grids(128) == [64, 32, 16, 8, 4]


def test_attention_taps_are_the_heads_of_every_layer() -> None:
    batch = ragged_batch()
    torch.manual_seed(0)
    student = build_student(recipe(TEXT_STUDENTS["bert"]), TEXT).eval()
    out = student(batch, taps=frozenset({"states", "attention"}))
    for heads in (out.queries, out.keys, out.values):
        assert [part.shape for part in heads] == [(4, 3, 9, 8)] * 2
    attention = student.get_submodule("model.bert.encoder.layer.1.attention.self")
    for name, tapped in (("query", out.queries), ("key", out.keys), ("value", out.values)):
        whole = attention.get_submodule(name)(out.states[1])
        torch.testing.assert_close(tapped[1], whole.view(4, 9, 3, 8).transpose(1, 2))
    with torch.no_grad():  # and they are what attention is made of
        from transformers import BertForSequenceClassification

        eager = BertForSequenceClassification(student.model.config).eval()  # type: ignore[union-attr]
        eager.load_state_dict(student.model.state_dict())  # type: ignore[union-attr]
        eager.set_attn_implementation("eager")
        weights = eager(input_ids=batch.ids, attention_mask=batch.mask.long(), output_attentions=True).attentions[1]
        scores = out.queries[1] @ out.keys[1].transpose(2, 3) / 8**0.5
        torch.testing.assert_close(scores.masked_fill(~batch.mask[:, None, None], -torch.inf).softmax(-1), weights, atol=1e-5, rtol=1e-4)
    assert not student.model.bert.encoder.layer[0].attention.self.query._forward_hooks  # type: ignore[union-attr]


def test_the_seed_is_the_callers() -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(3)
        return next(build_student(recipe(TEXT_STUDENTS["cnn"]), TEXT).parameters())

    assert torch.equal(weights(), weights())


def test_students_learn() -> None:
    """Gradients reach every parameter of every family that the logits depend on."""
    for name, student in TEXT_STUDENTS.items():
        built = build_student(recipe(student), TEXT)
        built(ragged_batch()).logits.sum().backward()
        missing = [path for path, parameter in built.named_parameters() if parameter.grad is None]
        assert missing == [], name


def test_what_cannot_be_built_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"hidden_size 24 is no multiple of student.heads 5; heads that fit: \[1, 2, 3, 4"):
        count_params(recipe({"family": "bert", "hidden_size": 24, "heads": 5}), TEXT)
    with pytest.raises(RecipeError, match="no teacher is given"):
        build_student(recipe({"family": "bert"}), TEXT)
    with pytest.raises(ModelError, match="no model 'resnet10tt'. Near ones: resnet10t"):
        count_params(recipe({"family": "timm:resnet10tt"}, "image-classification"), IMAGE)
    with pytest.raises(ModelError, match="no single classifier"):
        count_params(recipe({"family": "timm:deit_tiny_distilled_patch16_224"}, "image-classification"), IMAGE)
    with pytest.raises(ModelError, match="16 × 16 pixels"):
        count_params(recipe({"family": "timm:inception_v3"}, "image-classification"), replace(IMAGE, image_size=16))
    with pytest.raises(ModelError, match="no pretrained weights"):
        build_student(recipe({"family": "timm:densenet264d", "init": "pretrained"}, "image-classification"), IMAGE)
    context = replace(TEXT, num_outputs=2, teacher=save_bert(tmp_path / "teacher", width=32))
    sized = {"bert": "hidden_size", "cnn": "embedding_size", "bilstm": "embedding_size", "static": "embedding_size"}
    for family, field in sized.items():
        with pytest.raises(RecipeError, match=r"is 48, but with init: teacher it is at most the teacher's 32"):
            build_student(recipe({"family": family, field: 48}), context)
