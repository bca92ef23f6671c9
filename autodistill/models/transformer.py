"""A transformers encoder with a classification head that returns `Outputs`: wraps teachers and transformer students."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from autodistill.errors import ModelError
from autodistill.models.base import Outputs, StudentModule, TextBatch
from autodistill.models.pooled import PooledClassifier

_QUERY = ("query", "q_lin", "q_proj", "query_proj", "q")
_KEY = ("key", "k_lin", "k_proj", "key_proj", "k")
_VALUE = ("value", "v_lin", "v_proj", "value_proj", "v")


class Transformer(StudentModule):
    """Wraps a sequence classification model of transformers.

    The embedding is the input of the head's last linear layer. Queries, keys and values are the outputs of the linear layers with
    those names, split into heads. An encoder without such layers (with a fused projection) has no attention taps. reads_segments: whether
    the model has an input that tells the two texts of a pair apart.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.heads = int(getattr(model.config, "num_attention_heads", 1))
        self.reads_segments = getattr(model.config, "type_vocab_size", 0) > 1 and model.config.model_type != "distilbert"
        self._head = head_layer(model, model.config.num_labels)[0]  # by name, because a module must not be registered twice
        self._projections = [_layers_named(model, names) for names in (_QUERY, _KEY, _VALUE)]

    @property
    def attention_layers(self) -> int:
        """The number of layers whose queries, keys and values can be tapped."""
        return len(self._projections[0])

    @property
    def large_matrices(self) -> bool:
        """Its projections and feed-forward layers are."""
        return True

    @property
    def output_layer(self) -> nn.Module:
        """The head's last linear layer."""
        return self.model.get_submodule(self._head)

    def forward(self, batch: TextBatch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """See `Model`."""
        read: list[Tensor] = []
        projected: list[list[Tensor]] = [[], [], []]
        handles = [self.model.get_submodule(self._head).register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))]
        if "attention" in taps:
            if not self.attention_layers:
                kind = self.model.config.model_type
                raise ModelError(f"{kind} models have no separate query, key and value layers to tap; use objective.attention.kind: none")
            for layers, outs in zip(self._projections, projected, strict=True):
                handles += [layer.register_forward_hook(lambda _, __, out, outs=outs: outs.append(out)) for layer in layers]
        extra = {"token_type_ids": batch.segments} if self.reads_segments else {}
        try:
            out = self.model(input_ids=batch.ids, attention_mask=batch.mask.long(), output_hidden_states="states" in taps, **extra)
        finally:
            for handle in handles:
                handle.remove()
        states = list(out.hidden_states) if "states" in taps else []
        if isinstance(self.model, PooledClassifier):
            projected = [[self.model.together(one, batch.ids, batch.mask) for one in outs] for outs in projected]
        queries, keys, values = ([self._split(one) for one in outs] for outs in projected)
        sentences = [state[:, 0] for state in states]
        return Outputs(out.logits, read[-1], states=states, sentences=sentences, queries=queries, keys=keys, values=values)

    def _split(self, projected: Tensor) -> Tensor:
        batch, tokens, width = projected.shape
        return projected.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)


def head_layer(model: nn.Module, num_outputs: int) -> tuple[str, nn.Linear]:
    """The last linear layer of the head, and its name.

    Raises:
        ModelError: the model's last linear layer does not give the logits.
    """
    encoder = f"{getattr(model, 'base_model_prefix', '')}."  # XLM-R lists its head before it
    linear = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear) and not name.startswith(encoder)]
    if not linear or linear[-1][1].out_features != num_outputs:
        raise ModelError(f"{type(model).__name__} does not end in a linear layer with {num_outputs} outputs; choose another teacher")
    return linear[-1]


def _layers_named(model: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    return [module for name, module in model.named_modules() if name.rpartition(".")[2] in names and isinstance(module, nn.Linear)]
