"""Opens the student in this folder; needs torch, safetensors and tokenizers.

>>> from load import encode, load
>>> model, tokenizer = load()
>>> logits = model(*encode(tokenizer, ["a text", "another"]))  # of pairs of texts: [("one", "the other"), …]
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer


class ResidualConvolution(torch.nn.Module):
    """Adds to each word what a convolution makes of it and of two others, `apart` words before and after it."""

    def __init__(self, width, apart):  # type: ignore[no-untyped-def]
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.convolution = torch.nn.Conv1d(width, width, 3, padding=apart, dilation=apart)

    def forward(self, words, mask):  # type: ignore[no-untyped-def]
        """(B, T, E) and (B, T, 1) → (B, T, E)."""
        around = self.convolution((self.norm(words) * mask).transpose(1, 2)).transpose(1, 2)
        return (words + torch.nn.functional.gelu(around)) * mask


class Cnn(torch.nn.Module):
    """Convolutions over word embeddings, the maximum of each feature over the text, and one linear layer."""

    rows: torch.Tensor

    def __init__(self, vocabulary, pieces, embedding_size, channels, kernels, num_outputs, blocks=0, pairs=False, unit_length=False):  # type: ignore[no-untyped-def]
        super().__init__()
        self.pairs, self.unit_length = pairs, unit_length
        self.register_buffer("rows", torch.zeros(vocabulary, dtype=torch.int64))  # the index of the embedding for each token id
        self.embedding = torch.nn.Embedding(pieces, embedding_size)
        self.blocks = torch.nn.ModuleList(ResidualConvolution(embedding_size, 2**place) for place in range(blocks))
        self.convolutions = torch.nn.ModuleList(torch.nn.Conv1d(embedding_size, channels, size, padding=size // 2) for size in kernels)
        self.classifier = torch.nn.Linear(channels * len(kernels) * (4 if pairs else 1), num_outputs)

    def forward(self, input_ids, attention_mask, token_type_ids=None):  # type: ignore[no-untyped-def]
        """(B, T) int64 each: the mask is 1 on tokens, the types (of pairs) are 1 on the second text → logits (B, C)."""
        mask = attention_mask.bool().unsqueeze(-1)
        words = self.embedding(self.rows[input_ids]) * mask
        for block in self.blocks:
            words = block(words, mask)
        words = words.transpose(1, 2)
        features = torch.cat([layer(words)[..., : input_ids.shape[1]] for layer in self.convolutions], dim=1).relu().transpose(1, 2)
        logits = self.classifier(pooled(features, mask, token_type_ids) if self.pairs else largest(features, mask))
        return torch.nn.functional.normalize(logits, dim=1) if self.unit_length else logits


def largest(states, mask):  # type: ignore[no-untyped-def]
    """The maximum of each feature over the tokens; zeros if there are none."""
    return states.masked_fill(~mask, -torch.inf).amax(dim=1).masked_fill(~mask.any(dim=1), 0.0)


def pooled(states, mask, token_type_ids):  # type: ignore[no-untyped-def]
    """Of a pair: both texts, their absolute difference, and their product."""
    second = (token_type_ids == 1).unsqueeze(-1)
    one, other = largest(states, mask & ~second), largest(states, mask & second)
    return torch.cat([one, other, (one - other).abs(), one * other], dim=1)


def load(folder=Path(__file__).parent):  # type: ignore[no-untyped-def]
    """The model in evaluation mode, and the tokenizer."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    sizes = config["model"]
    sizes["num_outputs"] = sizes.pop("outputs", sizes.get("num_outputs"))  # its name in folders of older versions
    model = Cnn(**sizes)
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval(), Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))


def encode(tokenizer, texts):  # type: ignore[no-untyped-def]
    """Token ids, mask and types, (B, T) int64 each; cut and padded as the tokenizer's file says."""
    rows = tokenizer.encode_batch(texts)
    return tuple(torch.tensor([getattr(row, name) for row in rows]) for name in ("ids", "attention_mask", "type_ids"))
