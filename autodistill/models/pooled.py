"""A text encoder that is pooled to one vector, and read by one linear layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

POOLINGS = ("cls", "mean")


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """From token states (B, T, D) to one vector each (B, D). mask: (B, T), 1 on tokens. pooling: `cls`, the first token, or `mean`."""
    if pooling == "cls":
        return states[:, 0]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1.0)


class PooledClassifier(nn.Module):
    """An encoder of transformers, a pooling of its last states, and a linear layer: called as transformers' own classifiers are.

    The encoder's own pooler, where it has one, is taken off: nothing reads it. Source of the form: Reimers, Gurevych 2019,
    "Sentence-BERT", section 3, whose encoders are pooled by the mean.
    """

    def __init__(self, encoder: Any, pooling: str, outputs: int) -> None:
        super().__init__()
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None
        self.config, self.pooling = encoder.config, pooling
        self.encoder = encoder
        self.head = nn.Linear(int(encoder.config.hidden_size), outputs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool = False, **extra: Tensor) -> Any:
        """Logits (B, C), and the hidden states of every layer where they are asked for."""
        from transformers.modeling_outputs import SequenceClassifierOutput

        read = self.encoder(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=output_hidden_states, **extra)
        logits = self.head(pool(read.last_hidden_state, attention_mask, self.pooling))
        return SequenceClassifierOutput(logits=logits, hidden_states=read.hidden_states)
