"""The shallow student: the teacher's own network with fewer layers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from autodistill.components import FOLDER, TEXT, component
from autodistill.errors import ModelError, RecipeError, explained
from autodistill.models.base import StudentContext
from autodistill.models.pooled import PooledClassifier, head_form, pooling_of_files, read_head, to_learned_scale
from autodistill.models.sources import head_labels, quiet
from autodistill.models.transformer import Transformer, head_layer
from autodistill.models.transformers_family import TransformersFamily, evenly_spaced, shorten
from autodistill.models.vectors import keep_cosines
from autodistill.models.vocabulary import taken_pieces, trimmed_embedding, vocabulary_size
from autodistill.task_types import target_of


@component("student", kind="shallow", tasks=TEXT, title="shallow teacher", size=("layers",), attention=True, teacher_layers="layers")
class ShallowFamily(TransformersFamily):
    """The teacher's own network, whatever its architecture, with some of its layers: a transformer of the teacher's width.

    layers: how many are kept, evenly spaced and ending with the last one (of 12, six are 2, 4, …, 12). init `teacher`: they are the
    fine-tuned teacher's, with its embeddings and its head; `random`: the same network from random weights, as a control. vocabulary
    `trimmed`: only pieces that occur in the training rows (vocabulary.py). The head is of the teacher's form: a linear layer on its pooled
    states or, if it has a classification head of its own, that one.

    A bert student of the teacher's width is the same if the teacher is built exactly as BERT is.

    Sources: Sun et al. 2019, "Patient Knowledge Distillation" (which layers); Sanh et al. 2019, "DistilBERT" (a student that starts from
    every second layer); Sajjad et al. 2023, "On the Effect of Dropping Layers of Pre-trained Transformer Models".
    """

    def build(
        self,
        context: StudentContext,
        *,
        layers: Annotated[int, Field(ge=1, le=128)],
        init: Literal["teacher", "random"] | FOLDER = "teacher",
        vocabulary: Literal["full", "trimmed"] = "full",
    ) -> Transformer:
        """A student of the family.

        Raises:
            RecipeError: the teacher is no transformers encoder, or has fewer layers.
            ModelError: its layers cannot be told apart.
        """
        from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

        folder = context.source
        if folder is None or not (folder / "config.json").exists():
            raise RecipeError("a shallow student is made of its teacher's layers, and this teacher is no network of transformers")
        starts = init == "teacher" and not context.shapes_only
        keeps_head = head_form(folder) is None and head_labels(folder) is not None and not target_of(context.task).are_vectors
        kind: Any = AutoModelForSequenceClassification if keeps_head else AutoModel
        with explained(lambda reason: ModelError(f"the teacher in {folder} cannot be opened as a text encoder: {reason}")):
            config: Any = AutoConfig.from_pretrained(folder, local_files_only=True, num_labels=context.num_outputs)
            with quiet():
                with torch.device("meta"):
                    path, whole = _layers_of(kind.from_config(config).base_model)
                kept = kept_layers(len(whole), layers, _first_differs(whole))
                if starts:
                    model = kind.from_pretrained(folder, config=config, local_files_only=True, dtype=torch.float32)
                    own = model.base_model.get_submodule(path)
                    model.base_model.set_submodule(path, nn.ModuleList([own[index] for index in kept]))
                shorten(config, kept)
                if not starts:
                    model = kind.from_config(config, dtype=torch.float32)
        if vocabulary == "trimmed":
            words: Tensor = model.get_input_embeddings().weight.detach()
            size = vocabulary_size(context, vocabulary)
            words = words[taken_pieces(context, vocabulary)] if starts else words.new_empty(size, words.shape[1]).normal_(std=0.02)
            model.set_input_embeddings(trimmed_embedding(nn.Embedding.from_pretrained(words, freeze=False), context))
        if keeps_head:
            if starts:
                with torch.no_grad():
                    to_learned_scale(head_layer(model, context.num_outputs)[1], context)
            return Transformer(model)
        pooling, ends = head_form(folder) or (pooling_of_files(folder) or "mean", None)
        student = PooledClassifier(model, pooling, context.num_outputs, ends)
        head = read_head(folder) if starts else None
        if head is not None and len(head.bias) == context.num_outputs:
            with torch.no_grad():
                student.head.load_state_dict({"weight": head.weight, "bias": head.bias})
                to_learned_scale(student.head, context)
        elif starts and target_of(context.task).are_vectors:
            keep_cosines(student.head)
            if context.num_outputs == student.head.in_features:  # the states lie where the teacher's do
                with torch.no_grad():
                    nn.init.eye_(student.head.weight)
        return Transformer(student)


def kept_layers(total: int, layers: int, with_first: bool = False) -> list[int]:
    """The numbers of the layers that are kept, from 0: evenly spaced, the last of each part. with_first: the first is one of them.

    Raises:
        RecipeError: there are fewer.
    """
    if layers > total:
        raise RecipeError(f"student.layers is {layers}, and the teacher has {total}; give at most that many")
    if with_first:
        return [round(index * (total - 1) / max(layers - 1, 1)) for index in range(layers)]
    return evenly_spaced(total, layers)


def _layers_of(encoder: Any) -> tuple[str, nn.ModuleList]:
    """The layers of an encoder, and the path of their list.

    Raises:
        ModelError: it has no such list.
    """
    total = int(encoder.config.num_hidden_layers)
    lists = [(path, part) for path, part in encoder.named_modules() if isinstance(part, nn.ModuleList) and len(part) == total]
    if len(lists) != 1:
        raise ModelError(f"the layers of a {encoder.config.model_type} teacher cannot be told apart; use another student.family")
    return lists[0]


def _first_differs(layers: nn.ModuleList) -> bool:
    """Whether the first layer is built unlike the last: ModernBERT's has no norm of its own, as the embeddings have one."""
    return layers[0].state_dict().keys() != layers[len(layers) - 1].state_dict().keys()
