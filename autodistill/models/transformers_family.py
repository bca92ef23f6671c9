"""What the families of transformers models share: how students are exported and opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autodistill.models.family import SavedStudent, TextFamily
from autodistill.models.pooled import (
    DENSE,
    HEAD_WEIGHTS,
    VECTORS_USAGE,
    PooledClassifier,
    classifier,
    read_head,
    read_modules,
    write_head,
    write_modules,
)
from autodistill.models.sources import quiet
from autodistill.models.transformer import Transformer
from autodistill.models.vocabulary import TrimmedEmbedding
from autodistill.task_types import target_of

_INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
_TOKENIZER_OUTPUTS = ["input_ids", "token_type_ids", "attention_mask"]


class TransformersFamily(TextFamily):
    """Students that are a `Transformer`, written as a transformers folder."""

    library = "transformers"

    def word_table(self, student: Transformer) -> nn.Embedding:
        """The model's input embeddings."""
        table: nn.Embedding = student.model.get_input_embeddings()
        return table

    def write(self, folder: Path, saved: SavedStudent, names: dict[int, str]) -> dict[str, Any]:
        """See `StudentFamily`."""
        assert isinstance(saved.model, Transformer)
        model, context = saved.model.model, saved.facts["context"]
        inputs = _INPUTS if saved.model.reads_segments else _INPUTS[:2]
        config = model.config
        config.id2label, config.label2id = names, {name: number for number, name in names.items()}
        target = target_of(saved.recipe.task)
        config.problem_type = target.problem_type
        words = model.get_input_embeddings()
        if isinstance(words, TrimmedEmbedding):  # transformers expects one row for each id, so rows that pieces share are repeated
            model.set_input_embeddings(words.expanded())
            config.vocab_size, config.pad_token_id = context["vocab_size"], context["pad_id"]
        is_pooled = isinstance(model, PooledClassifier)
        with quiet():
            (model.encoder if is_pooled else model).save_pretrained(folder)
        is_apart = is_pooled and model.ends is not None
        if is_apart:  # sentence-transformers has no module that compares two vectors
            write_head(folder, model)
        elif is_pooled:
            write_modules(folder, model, context["max_length"], target.are_vectors)
        self.write_tokenizer(folder, saved, [name for name in _TOKENIZER_OUTPUTS if name in inputs])
        about: dict[str, Any] = {"format": "transformers", "inputs": inputs, "max_length": context["max_length"]}
        return about | ({"pooling": model.pooling} if is_pooled else {}) | ({"ends": list(model.ends)} if is_apart else {})

    def open(self, folder: Path, about: dict[str, Any]) -> nn.Module:
        """With transformers."""
        from transformers import AutoModel, AutoModelForSequenceClassification

        kind: Any = AutoModel if "pooling" in about else AutoModelForSequenceClassification
        with quiet():
            model = kind.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        if "pooling" in about:
            head = read_head(folder) if "ends" in about else read_modules(folder)
            assert head is not None
            model = classifier(model, head)
        return _Logits(model).eval()

    def usage(self, about: dict[str, Any], pairs: bool) -> str:
        """With transformers. If the head reads the mean of the tokens: with a separate linear layer, or with sentence-transformers.

        Sentence embeddings with sentence-transformers.
        """
        row = '"a text", "the other"' if pairs else '"a text"'
        if "width" in about:
            return VECTORS_USAGE
        if "ends" in about:
            return (
                "import torch\nfrom safetensors.torch import load_file\nfrom transformers import AutoModel, AutoTokenizer\n\n"
                "tokenizer, model = AutoTokenizer.from_pretrained(FOLDER), AutoModel.from_pretrained(FOLDER)\n"
                f'head = load_file(FOLDER + "/{HEAD_WEIGHTS}")\n'
                "one, other = (\n"
                '    model(**tokenizer(text, truncation=True, return_tensors="pt")).last_hidden_state.mean(dim=1)\n'
                '    for text in ("a text", "the other")\n'
                ")\n"
                "vector = torch.cat([one, other, (one - other).abs(), one * other], dim=1)\n"
                'logits = vector @ head["weight"].T + head["bias"]  # the vector of each text can be kept\n'
            )
        if "pooling" in about:
            pooled = "states.mean(dim=1)" if about["pooling"] == "mean" else "states[:, 0]"
            texts = '[("a text", "the other")]' if pairs else '["a text"]'
            return (
                "from safetensors.torch import load_file\n"
                "from transformers import AutoModel, AutoTokenizer\n\n"
                "tokenizer, model = AutoTokenizer.from_pretrained(FOLDER), AutoModel.from_pretrained(FOLDER)\n"
                f'head = load_file(FOLDER + "/{DENSE}/model.safetensors")\n'
                f'states = model(**tokenizer({row}, truncation=True, return_tensors="pt")).last_hidden_state\n'
                f'logits = {pooled} @ head["linear.weight"].T + head["linear.bias"]  # of one row; padding is not to be read\n\n'
                f"# or, with sentence-transformers: logits = SentenceTransformer(FOLDER).encode({texts})\n"
            )
        return (
            "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
            "tokenizer = AutoTokenizer.from_pretrained(FOLDER)\n"
            "model = AutoModelForSequenceClassification.from_pretrained(FOLDER)\n"
            f'logits = model(**tokenizer({row}, truncation=True, return_tensors="pt")).logits\n'
        )

    def written_note(self, params: int) -> str:
        """A trimmed vocabulary is written in full."""
        return (
            "The student has word embeddings for the pieces of its training rows only; transformers wants one for every token, so they "
            f"are written out, {params:,} parameters in all. `autodistill export` to ONNX keeps them shared."
        )

    def ready_for_onnx(self, module: nn.Module) -> nn.Module:
        """Share the rows of a trimmed vocabulary again, which transformers' format repeats."""
        for path, table in list(module.named_modules()):
            if isinstance(table, nn.Embedding) and path.endswith("word_embeddings"):
                weight, rows = table.weight.detach().unique(dim=0, return_inverse=True)
                if len(weight) < 0.9 * len(rows):
                    module.set_submodule(path, _SharedRows(weight, rows))
        return module


class _Logits(nn.Module):
    """A transformers model that returns only its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(B, T) int64 each → logits (B, C). token_type_ids: for a model that reads them."""
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **segments).logits
        return logits


class _SharedRows(nn.Module):
    """An embedding in which many ids share a row: it stores each row once, and the row's index for each id."""

    rows: Tensor

    def __init__(self, weight: Tensor, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        """(…) int64 → (…, width)."""
        return nn.functional.embedding(self.rows[ids], self.weight)


def evenly_spaced(total: int, count: int) -> list[int]:
    """The numbers, from 0, of `count` layers of `total`: these are divided evenly, and the last of each part is taken."""
    return [-(-(index + 1) * total // count) - 1 for index in range(count)]


def shorten(config: Any, kept: Sequence[int]) -> None:
    """Keep only these layers in a configuration. transformers then reads as many layers, from the first on."""
    config.num_hidden_layers = len(kept)
    if getattr(config, "layer_types", None) is not None:  # ModernBERT lists which layers attend to all tokens and which only to neighbours
        config.layer_types = [config.layer_types[index] for index in kept]
