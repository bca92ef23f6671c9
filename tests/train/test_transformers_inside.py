"""What is used of transformers' BertLayer without being public is there, and is what it was when it was first used."""

from __future__ import annotations

import inspect

import pytest
import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification

WAY_OUT = (
    f"transformers {transformers.__version__} has changed inside: change autodistill/train/first_token.py, "
    "or bound transformers below it in pyproject.toml"
)


@pytest.fixture
def layer() -> torch.nn.Module:
    config = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    model = BertForSequenceClassification(config).eval()
    assert len(model.bert.encoder.layer) == 2, WAY_OUT
    return model.bert.encoder.layer[-1]


def test_a_bert_layer_is_still_made_of_these_parts(layer: torch.nn.Module) -> None:
    for path in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.self.dropout", "attention.output"):
        try:
            layer.get_submodule(path)
        except AttributeError as cause:
            pytest.fail(f"{cause}. {WAY_OUT}")
    assert layer.attention.self.attention_head_size == 8, WAY_OUT  # type: ignore[union-attr]
    assert hasattr(layer, "feed_forward_chunk"), WAY_OUT


def test_a_bert_layer_is_still_called_with_states_and_mask(layer: torch.nn.Module) -> None:
    assert list(inspect.signature(layer.forward).parameters)[:2] == ["hidden_states", "attention_mask"], WAY_OUT
    states = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))
    answer = layer(states, None)
    assert isinstance(answer, torch.Tensor), WAY_OUT
    assert answer.shape == states.shape, WAY_OUT
