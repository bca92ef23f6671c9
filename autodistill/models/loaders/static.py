"""Opens the student in this folder; needs numpy, safetensors and tokenizers.
>>> model, tokenizer = load()
>>> logits = model(*encode(tokenizer, ["a text", "another"]))  # of pairs of texts: [("one", "the other"), …]
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

HASH, PRIME = (1_640_531_527, 1_093_470_553, 805_459_861), 2**31 - 1


class Static:
    """The sum of the vectors of a text's pieces and n-grams, scaled to length √E, and one or two linear layers."""

    def __init__(self, weights, config):  # type: ignore[no-untyped-def]
        self.weights, self.config = weights, config

    def __call__(self, input_ids, attention_mask, token_type_ids):  # type: ignore[no-untyped-def]
        """(B, T) int64 each: the mask is 1 on tokens, the types (of pairs) are 1 on the second text → logits (B, C)."""
        weights, mask = self.weights, attention_mask == 1
        rows = weights["mapping"][input_ids] if "mapping" in weights else input_ids
        vectors, types = [weights["embeddings"][rows] * mask[..., None]], [token_type_ids]
        words = mask & ~np.isin(input_ids, self.config["special"]) if self.config["ngrams"] > 1 else mask
        for size in range(2, self.config["ngrams"] + 1):
            parts = [slice(start, start + max(input_ids.shape[1] - size + 1, 0)) for start in range(size)]
            bucket = sum(input_ids[:, part] * HASH[place] for place, part in enumerate(parts)) % PRIME % len(weights["ngrams"])
            vectors.append(weights["ngrams"][bucket] * np.all([words[:, part] for part in parts], axis=0)[..., None])
            types.append(token_type_ids[:, parts[0]])
        all_vectors = np.concatenate(vectors, axis=1)
        text = scaled(all_vectors.sum(axis=1))
        if self.config["pairs"]:
            second = np.concatenate(types, axis=1)[..., None] == 1
            one, other = scaled((all_vectors * ~second).sum(axis=1)), scaled((all_vectors * second).sum(axis=1))
            text = np.concatenate([one, other, abs(one - other), one * other], axis=1)
        if "hidden.weight" in weights:
            text = np.maximum(text @ weights["hidden.weight"].T + weights["hidden.bias"], 0.0)
        logits = text @ weights["classifier.weight"].T + weights["classifier.bias"]
        return scaled(logits) / np.float32(logits.shape[1] ** 0.5) if self.config.get("unit_length") else logits


def scaled(vectors):  # type: ignore[no-untyped-def]
    """The vectors scaled to length √E; zeros stay zeros."""
    return vectors * np.float32(vectors.shape[1] ** 0.5) / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def load(folder=Path(__file__).parent):  # type: ignore[no-untyped-def]
    """The model, and the tokenizer."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    return Static(load_file(Path(folder) / "model.safetensors"), config), Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))


def encode(tokenizer, texts):  # type: ignore[no-untyped-def]
    """Token ids, mask and types, (B, T) int64 each; cut and padded as the tokenizer's file says."""
    rows = tokenizer.encode_batch(texts)
    return tuple(np.array([getattr(row, name) for row in rows], dtype=np.int64) for name in ("ids", "attention_mask", "type_ids"))
