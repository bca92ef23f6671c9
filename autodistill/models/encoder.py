"""The encoder student: any pretrained encoder of transformers, with its own tokenizer, pooled and read by one linear layer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from autodistill.components import FOLDER, TEXT, component
from autodistill.errors import ModelError, RecipeError, explained
from autodistill.models.base import StudentContext
from autodistill.models.pooled import PooledClassifier, check_encoder, pooling_of_files
from autodistill.models.sources import quiet, source_folder
from autodistill.models.transformer import Transformer
from autodistill.models.transformers_family import TransformersFamily, shorten
from autodistill.models.vectors import keep_cosines
from autodistill.recipe.parts import Component
from autodistill.task_types import target_of


@component("student", kind="encoder", tasks=TEXT, title="pretrained encoder", size=("model", "layers"), attention=True)
class EncoderFamily(TransformersFamily):
    """A pretrained encoder of transformers, such as all-MiniLM-L6-v2, with its own weights and its own tokenizer.

    model: a hub id or a folder. layers: only this many of its first layers; None for all. init `random`: the same architecture with random
    weights, as a control. The last states are pooled as the model's files say (sentence-transformers' say: the first token or the mean),
    else by the mean. A linear layer, which starts at random (for sentence embeddings orthogonal), reads the result.

    If its tokenizer differs from the teacher's, no objective can compare the two token by token (train/student_tokens.py).

    Sources: Turc et al. 2019, "Well-Read Students Learn Better" (a pretrained student, distilled on unlabelled text of the task);
    Reimers, Gurevych 2019, "Sentence-BERT" (the pooling).
    """

    def pretrained_model(self, part: Component) -> str:
        """Its field `model`."""
        return str(part.own["model"])

    def build(
        self,
        context: StudentContext,
        *,
        model: Annotated[str, Field(min_length=1)],
        layers: Annotated[int, Field(ge=1)] | None = None,
        init: Literal["pretrained", "random"] | FOLDER = "pretrained",
    ) -> Transformer:
        """A student of the family.

        Raises:
            ModelError: the model is not available, is no plain encoder, or has too few positions.
            RecipeError: it has fewer layers.
        """
        from transformers import AutoConfig, AutoModel

        is_pretrained = init == "pretrained" and not context.shapes_only
        folder = None if is_pretrained else context.source
        folder = folder or source_folder(model, weights=is_pretrained, role="student")
        with explained(lambda reason: ModelError(f"student {model!r} cannot be loaded as a text encoder: {reason}")):
            config: Any = AutoConfig.from_pretrained(folder, local_files_only=True, num_labels=context.num_outputs)
            check_encoder(config, "student", model, context.max_length)
            if layers is not None:
                _cut(config, layers, model)
            with quiet():
                if is_pretrained:
                    encoder = AutoModel.from_pretrained(folder, config=config, local_files_only=True, dtype=torch.float32)
                else:
                    encoder = AutoModel.from_config(config, dtype=torch.float32)
        student = PooledClassifier(encoder, pooling_of_files(folder) or "mean", context.num_outputs)
        if target_of(context.task).are_vectors and not context.shapes_only:
            keep_cosines(student.head)
        return Transformer(student)


def _cut(config: Any, layers: int, model: str) -> None:
    """Keep only the first layers in a configuration. transformers then does not read the weights of the others."""
    if layers > config.num_hidden_layers:
        raise RecipeError(
            f"student.layers is {layers}, and {model!r} has {config.num_hidden_layers}; give at most that many, or none for all"
        )
    shorten(config, range(layers))
