"""Opens the student in this folder; needs torch, safetensors and tokenizers.

>>> from load import encode, load
>>> model, tokenizer = load()
>>> logits = model(*encode(tokenizer, ["a text", "another"]))
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer


class Bag(torch.nn.Module):
    """The mean of word embeddings, one linear layer."""

    def __init__(self, vocabulary, pieces, embedding_size, num_outputs, pairs):
        super().__init__()
        self.register_buffer("rows", torch.zeros(vocabulary, dtype=torch.int64))
        self.embedding = torch.nn.Embedding(pieces, embedding_size)
        self.classifier = torch.nn.Linear(embedding_size, num_outputs)

    def forward(self, input_ids, attention_mask):
        """(B, T) int64 each → logits (B, C)."""
        mask = attention_mask.unsqueeze(-1)
        return self.classifier((self.embedding(self.rows[input_ids]) * mask).sum(dim=1) / mask.sum(dim=1))


def load(folder=Path(__file__).parent):
    """The model in evaluation mode, and the tokenizer."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    model = Bag(**config["model"])
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval(), Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))


def encode(tokenizer, texts):
    """Token ids and mask, (B, T) int64 each."""
    rows = tokenizer.encode_batch(texts)
    return tuple(torch.tensor([getattr(row, name) for row in rows]) for name in ("ids", "attention_mask"))
