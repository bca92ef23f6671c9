"""The bert student: a small BERT, from random weights or from the teacher's layers and embeddings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autodistill.components import FOLDER, TEXT, component
from autodistill.errors import RecipeError
from autodistill.models.base import StudentContext
from autodistill.models.first_token import FirstToken
from autodistill.models.form import TrainingForm, TrialReads
from autodistill.models.pooled import PooledClassifier, to_learned_scale
from autodistill.models.teacher_weights import TeacherWeights, check_width, teacher_folder
from autodistill.models.transformer import Transformer
from autodistill.models.transformers_family import TransformersFamily, evenly_spaced
from autodistill.models.vocabulary import padding_row, taken_pieces, trimmed_embedding, vocabulary_size
from autodistill.recipe.parts import Component
from autodistill.task_types import target_of


@component(
    "student",
    kind="bert",
    tasks=TEXT,
    title="transformer",
    size=("layers", "hidden_size"),
    attention=True,
    teacher_width="hidden_size",
)
class BertFamily(TransformersFamily):
    """A BERT with fewer and narrower layers. Its feed-forward layers are four times as wide as the hidden states.

    init `teacher`: the layers are evenly spaced layers of the teacher (of 6, three are 2, 4 and 6). All widths are projected on the
    singular directions of the teacher's word embeddings; if the widths are equal, the layers are copied exactly. pooling `model`: BERT's
    own head reads the first token; `mean`: one linear layer reads the mean of all tokens, like the usual teachers' head, and starts from
    it; `teacher`: as `mean`, but if the teacher reads the two texts of a pair apart, so does the student. vocabulary `trimmed`: only
    pieces that occur in the training rows (vocabulary.py). Sources: Devlin et al. 2019 (the model); Sun et al. 2019, "Patient Knowledge
    Distillation" (the layers); Reimers, Gurevych 2019, "Sentence-BERT" (pairs).
    """

    free_at_start = ("vocabulary", "pooling")

    def build(
        self,
        context: StudentContext,
        *,
        layers: Annotated[int, Field(ge=1, le=48)] = 3,
        hidden_size: Annotated[int, Field(ge=8, le=4096)] = 192,
        heads: Annotated[int, Field(ge=1, le=64)] = 6,
        init: Literal["random", "teacher"] | FOLDER = "teacher",
        vocabulary: Literal["full", "trimmed"] = "full",
        pooling: Literal["model", "mean", "teacher"] = "model",
    ) -> Transformer:
        """A student of the family.

        Raises:
            RecipeError: hidden_size is no multiple of heads, init does not work with this teacher, or sentence embeddings are not pooled.
        """
        from transformers import BertConfig, BertForSequenceClassification, BertModel

        if pooling == "model" and target_of(context.task).are_vectors:
            raise RecipeError(f"student.pooling is 'model', the head of a classifier; a bert student of {context.task} has pooling: mean")
        if hidden_size % heads:
            fitting = [count for count in range(1, min(64, hidden_size) + 1) if hidden_size % count == 0]
            raise RecipeError(f"student.hidden_size {hidden_size} is no multiple of student.heads {heads}; heads that fit: {fitting}")
        weights = None
        if init == "teacher" and not context.shapes_only:
            weights = TeacherWeights(teacher_folder(context.teacher))
            weights.require_bert_like()
            check_width("student.hidden_size", hidden_size, weights.width)
        config: Any = BertConfig  # its keywords are more than its signature says
        config = config(
            vocab_size=vocabulary_size(context, vocabulary),
            hidden_size=hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * hidden_size,
            max_position_embeddings=context.max_length,
            pad_token_id=padding_row(context, vocabulary),
            num_labels=context.num_outputs,
        )
        if context.num_outputs == 1:
            config.problem_type = "regression"
        model: Any
        if pooling != "model":
            ends = context.ends if pooling == "teacher" else None
            model = PooledClassifier(BertModel(config, add_pooling_layer=False), "mean", context.num_outputs, ends)
        else:
            model = BertForSequenceClassification(config)
        if vocabulary == "trimmed":
            model.set_input_embeddings(trimmed_embedding(model.get_input_embeddings(), context))
        student = Transformer(model)
        if weights is not None:
            with torch.no_grad():
                _start_from(student.model, weights, weights.words(context.vocab_size)[taken_pieces(context, vocabulary)], context)
        return student

    def for_vectors(self, part: Component) -> Component:
        """With the mean of the tokens."""
        return super().for_vectors(part).model_copy(update={"pooling": "mean"})

    def weights_at_start(self, student: Transformer, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of the encoder, whatever reads it. A head of BERT's own (pooling `model`) starts at random."""
        own = {_inside(name): name for name in student.state_dict()}
        inside = {_inside(name): value for name, value in weights.items()}
        return {own.get(name, name): value for name, value in inside.items() if "." in name and not name.startswith("pooler.")}

    def training_form(self, student: Transformer, reads: TrialReads) -> TrainingForm:
        """Compute only what is read of the last layer. If tokens are pooled, that is all of it."""
        form = super().training_form(student, reads)
        if reads.single_tokens or isinstance(student.model, PooledClassifier):
            return form
        return FirstToken(form, student.model.bert.encoder.layer[-1], "attention" in reads.taps)


def _inside(name: str) -> str:
    """A weight's name inside the encoder; of a head's, only its last part."""
    return name.split(".", 2)[-1]


def _start_from(student: Any, teacher: TeacherWeights, words: Tensor, context: StudentContext) -> None:
    config = student.config
    width = config.hidden_size
    vectors, values = teacher.basis()
    same = width == teacher.width
    basis = torch.eye(width) if same else vectors[:, :width]
    # A layer norm gives vectors of length √width. A projected vector keeps only the part of the length in the kept directions.
    held = 1.0 if same else float(values[:width].square().sum() / values.square().sum())
    length = (held * teacher.width / width) ** 0.5

    def norm(layer: nn.LayerNorm, weight: Tensor, bias: Tensor) -> None:
        layer.weight.copy_(basis.square().T @ weight * length)
        layer.bias.copy_(bias @ basis)

    bert = student.encoder if isinstance(student, PooledClassifier) else student.bert
    embeddings = bert.embeddings
    embeddings.word_embeddings.weight.copy_(words @ basis)
    for part in ("position_embeddings", "token_type_embeddings"):
        table = getattr(embeddings, part).weight
        teacher_table = teacher.embeddings(f"{part}.weight")
        table.zero_()
        if teacher_table is not None:
            rows = min(len(table), len(teacher_table))
            table[:rows] = teacher_table[:rows] @ basis
            table[rows:] = table[rows - 1]
    norm_weight, norm_bias = teacher.embeddings("LayerNorm.weight"), teacher.embeddings("LayerNorm.bias")
    if norm_weight is not None and norm_bias is not None:
        norm(embeddings.LayerNorm, norm_weight, norm_bias)

    for source, layer in zip(evenly_spaced(teacher.layers, config.num_hidden_layers), bert.encoder.layer, strict=True):
        _copy_attention(layer.attention, teacher, source, basis, config.num_attention_heads)
        norm(
            layer.attention.output.LayerNorm,
            teacher.layer(source, "attention.output.LayerNorm.weight"),
            teacher.layer(source, "attention.output.LayerNorm.bias"),
        )
        inner, inner_bias = teacher.layer(source, "intermediate.dense.weight") @ basis, teacher.layer(source, "intermediate.dense.bias")
        outer = basis.T @ teacher.layer(source, "output.dense.weight")
        _copy_neurons(layer.intermediate.dense, inner, inner_bias, layer.output.dense.weight, outer)
        layer.output.dense.bias.copy_(teacher.layer(source, "output.dense.bias") @ basis)
        norm(layer.output.LayerNorm, teacher.layer(source, "output.LayerNorm.weight"), teacher.layer(source, "output.LayerNorm.bias"))

    if isinstance(student, PooledClassifier):
        _start_pooled_head(student, teacher, basis, context)
        return
    head = teacher.head()
    if head is not None and len(head[2]) == config.num_labels:
        pooler, pooler_bias, classifier, classifier_bias = head
        _copy_neurons(student.bert.pooler.dense, pooler @ basis, pooler_bias, student.classifier.weight, classifier)
        student.classifier.bias.copy_(classifier_bias)
        to_learned_scale(student.classifier, context)


def _start_pooled_head(student: PooledClassifier, teacher: TeacherWeights, basis: Tensor, context: StudentContext) -> None:
    """Start from the teacher's head if that also reads means, of both texts or of each."""
    head, layer = student.head, teacher.pooled_head("mean", apart=student.ends is not None)
    if layer is None or len(layer[1]) != head.out_features:
        return
    if student.ends is not None and len(basis) != basis.shape[1]:
        return  # the products of two vectors in fewer dimensions are no projection of their products
    head.weight.copy_((layer[0].view(head.out_features, -1, len(basis)) @ basis).flatten(1))
    head.bias.copy_(layer[1])
    to_learned_scale(head, context)


def _copy_neurons(inner: nn.Linear, weight: Tensor, bias: Tensor, outer: Tensor, outer_weight: Tensor) -> None:
    """Keep the neurons with the largest incoming and outgoing weights. weight: (n, in), outer_weight: (out, n)."""
    size = min(inner.out_features, len(weight))
    kept = (weight.norm(dim=1) * outer_weight.norm(dim=0)).topk(size).indices.sort().values
    inner.weight[:size] = weight[kept]
    inner.bias[:size] = bias[kept]
    outer[:, :size] = outer_weight[:, kept]


def _copy_attention(attention: Any, teacher: TeacherWeights, source: int, basis: Tensor, heads: int) -> None:
    """Copy evenly spaced heads of the teacher, each with the best low-rank form of its scores (QKᵀ) and of its values (OV).

    A head acts only through those two products. So if a student's head is narrower, they are what is approximated; if it is wider, the
    rest of it keeps its random start.
    """
    own = attention.self
    width, teacher_width = own.query.in_features, teacher.hidden_size
    size, teacher_size = width // heads, teacher_width // teacher.heads
    names = ("attention.self.query", "attention.self.key", "attention.self.value")
    weights = [teacher.layer(source, f"{name}.weight") @ basis for name in names]
    biases = [teacher.layer(source, f"{name}.bias") for name in names]
    out = basis.T @ teacher.layer(source, "attention.output.dense.weight")
    attention.output.dense.bias.copy_(teacher.layer(source, "attention.output.dense.bias") @ basis)
    if width == teacher_width and heads == teacher.heads:
        for linear, weight, bias in zip((own.query, own.key, own.value), weights, biases, strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        attention.output.dense.weight.copy_(out)
        return
    # (heads, d, width + 1): the bias is the weight of a constant input, so that it is part of the products.
    query, key, value = (
        torch.cat([weight, bias[:, None]], dim=1).view(teacher.heads, teacher_size, width + 1)
        for weight, bias in zip(weights, biases, strict=True)
    )
    taken = [head * teacher.heads // heads for head in range(heads)]
    query, key = _low_rank(query.transpose(1, 2)[taken], key[taken], size)
    query = query.transpose(1, 2) * (size / teacher_size) ** 0.25  # scores are divided by √d, and d differs here
    key = key * (size / teacher_size) ** 0.25
    left, value = _low_rank(out.view(width, teacher.heads, teacher_size).transpose(0, 1)[taken], value[taken], size)
    times = torch.tensor([taken.count(head) for head in taken]).view(-1, 1, 1)  # a head that is taken twice has half the weight each time
    rank = query.shape[1]
    for linear, start in ((own.query, query), (own.key, key), (own.value, value)):
        linear.weight.view(heads, size, width)[:, :rank] = start[..., :-1]
        linear.bias.view(heads, size)[:, :rank] = start[..., -1]
    attention.output.dense.weight.view(width, heads, size)[:, :, :rank] = (left / times).transpose(0, 1)


def _low_rank(left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best approximation of left @ right with at most this rank, as two factors of equal strength.

    left (h, m, d), right (h, d, n) → (h, m, r), (h, r, n) with r = min(rank, d).
    """
    if rank >= left.shape[2]:
        return left, right
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.transpose(1, 2))
    u, s, v = torch.linalg.svd(r_left @ r_right.transpose(1, 2))
    root = s[:, :rank].sqrt()
    return (q_left @ u[..., :rank]) * root[:, None], root[..., None] * (v[:, :rank] @ q_right.transpose(1, 2))
