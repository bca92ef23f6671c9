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


class BiLstm(torch.nn.Module):
    """Word embeddings read in both directions, the maximum of each feature over the text, and one linear layer."""

    rows: torch.Tensor

    def __init__(self, vocabulary, pieces, embedding_size, hidden_size, layers, num_outputs, pairs=False, unit_length=False):  # type: ignore[no-untyped-def]
        super().__init__()
        self.pairs, self.unit_length = pairs, unit_length
        self.register_buffer("rows", torch.zeros(vocabulary, dtype=torch.int64))  # the index of the embedding for each token id
        self.embedding = torch.nn.Embedding(pieces, embedding_size)
        widths = [embedding_size] + [2 * hidden_size] * (layers - 1)
        self.forwards = torch.nn.ModuleList(torch.nn.LSTM(width, hidden_size, batch_first=True) for width in widths)
        self.backwards = torch.nn.ModuleList(torch.nn.LSTM(width, hidden_size, batch_first=True) for width in widths)
        self.classifier = torch.nn.Linear(2 * hidden_size * (4 if pairs else 1), num_outputs)

    def forward(self, input_ids, attention_mask, token_type_ids=None):  # type: ignore[no-untyped-def]
        """(B, T) int64 each: the mask is 1 on tokens, which come first; the types (of pairs) are 1 on the second text → logits (B, C)."""
        if self.pairs:  # 2 B rows: the first texts, and then the second ones, each from position 0 on
            second = attention_mask * (token_type_ids == 1)
            place = torch.arange(input_ids.shape[1], device=input_ids.device).unsqueeze(0)
            start = (attention_mask - second).sum(dim=1, keepdim=True)
            moved = input_ids.gather(1, (place + start).clamp(max=input_ids.shape[1] - 1))
            input_ids = torch.cat([input_ids, moved])
            attention_mask = torch.cat([attention_mask - second, (place < second.sum(dim=1, keepdim=True)).long()])
        texts = self.read(input_ids, attention_mask)
        if self.pairs:  # both texts, their absolute difference, and their product
            one, other = texts[: len(token_type_ids)], texts[len(token_type_ids) :]
            texts = torch.cat([one, other, (one - other).abs(), one * other], dim=1)
        logits = self.classifier(texts)
        return torch.nn.functional.normalize(logits, dim=1) if self.unit_length else logits

    def read(self, input_ids, attention_mask):  # type: ignore[no-untyped-def]
        """(B, T) each → the texts' vectors (B, 2 · hidden_size); zeros for a text without tokens."""
        mask = attention_mask.bool().unsqueeze(-1)
        place = torch.arange(input_ids.shape[1], device=input_ids.device).unsqueeze(0)
        mirrored = attention_mask.sum(dim=1, keepdim=True) - 1 - place  # a row's tokens from its last to its first
        mirrored = torch.where(mirrored < 0, place, mirrored).unsqueeze(-1)
        states = self.embedding(self.rows[input_ids]) * mask
        for ahead, back in zip(self.forwards, self.backwards, strict=True):
            turned = back(states.gather(1, mirrored.expand(-1, -1, states.shape[-1])))[0]
            states = torch.cat([ahead(states)[0], turned.gather(1, mirrored.expand(-1, -1, turned.shape[-1]))], dim=-1)
        return states.masked_fill(~mask, -torch.inf).amax(dim=1).masked_fill(~mask.any(dim=1), 0.0)


def load(folder=Path(__file__).parent):  # type: ignore[no-untyped-def]
    """The model in evaluation mode, and the tokenizer."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    sizes = config["model"]
    sizes["num_outputs"] = sizes.pop("outputs", sizes.get("num_outputs"))  # its name in folders of older versions
    model = BiLstm(**sizes)
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval(), Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))


def encode(tokenizer, texts):  # type: ignore[no-untyped-def]
    """Token ids, mask and types, (B, T) int64 each; cut and padded as the tokenizer's file says."""
    rows = tokenizer.encode_batch(texts)
    return tuple(torch.tensor([getattr(row, name) for row in rows]) for name in ("ids", "attention_mask", "type_ids"))
