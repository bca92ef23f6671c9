"""Small teachers and datasets with nothing behind them but this file, for tests that have to run in seconds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import BertWordPieceTokenizer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from autodistill.models.base import Inputs, StudentModule
from autodistill.models.fitting import all_logits
from autodistill.recipe import Teacher
from autodistill.tasks.base import Dataset, DatasetRef, Split
from autodistill.teacher.finetune import FinetunedTeacher
from autodistill.teacher.load import encode, load_teacher

GOOD, BAD, PLAIN = ["good", "great", "fine", "lovely"], ["bad", "awful", "poor", "sad"], ["film", "plot", "actor", "scene", "end", "music"]
WORDS = [*GOOD, *BAD, *PLAIN, "the", "a", "un", "##ly", "##s"]


def save_tokenizer(folder: Path, words: list[str] = WORDS) -> BertTokenizerFast:
    folder.mkdir(parents=True, exist_ok=True)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocab))
    BertWordPieceTokenizer(str(folder / "vocab.txt")).save(str(folder / "tokenizer.json"))
    tokenizer = BertTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_bert(
    folder: Path, layers: int = 4, width: int = 32, heads: int = 4, num_outputs: int = 2, seed: int = 0, positions: int = 64
) -> Path:
    """A random BERT whose weights are large enough for its layers to matter."""
    tokenizer = save_tokenizer(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=positions,
        num_labels=num_outputs,
        initializer_range=0.2,
    )
    torch.manual_seed(seed)
    model = BertForSequenceClassification(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "LayerNorm" in name:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def save_distilbert(folder: Path) -> Path:
    tokenizer = save_tokenizer(folder)
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=128,
        max_position_embeddings=64,
        num_labels=2,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    return folder


def save_masked_lm(folder: Path) -> Path:
    """A random BERT with the head of a masked language model, sure enough to prefer some words to others."""
    tokenizer = save_tokenizer(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    torch.manual_seed(5)
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def texts(rows: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Sentences that are told apart by one word; of very different lengths."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    out = []
    for label in labels:
        words = list(random.choice(PLAIN, random.integers(1, 12)))
        words.insert(int(random.integers(0, len(words) + 1)), str(random.choice(GOOD if label else BAD)))
        out.append(" ".join(words))
    return out, labels


def save_rows(path: Path) -> str:
    """Write the rows of `text_dataset` as a user's file, a parquet table; gives its path."""
    made = text_dataset(96).train
    pd.DataFrame({"text": made.texts, "label": made.labels}).to_parquet(path)
    return str(path)


def text_dataset(rows: int = 96, regression: bool = False, pairs: bool = False, seed: int = 0) -> Dataset:
    splits = []
    for number, count in enumerate((rows, rows // 2)):
        lines, labels = texts(count, seed=10 * seed + number)
        targets = (100 + 50 * labels).astype(np.float32) if regression else labels.astype(np.int64)
        splits.append(Split(targets, texts=lines, text_pairs=lines[::-1] if pairs else None))
    kind = "text-pair" if pairs else "text"
    return Dataset(
        name="tiny",
        task=f"{kind}-{'regression' if regression else 'classification'}",  # type: ignore[arg-type]
        metric="spearman" if regression else "accuracy",
        classes=None if regression else ("bad", "good"),
        train=splits[0],
        validation=splits[1],
        fingerprint=_fingerprint(*splits),
        ref=DatasetRef("tiny"),
    )


def image_dataset(rows: int = 64, size: int = 16, seed: int = 0) -> Dataset:
    """Images of two classes, light at the top or at the bottom."""
    random = np.random.default_rng(seed)
    splits = []
    for count in (rows, rows // 2):
        labels = random.integers(0, 2, count)
        images = random.integers(0, 100, (count, size, size, 3), dtype=np.uint8)
        images[labels == 0, : size // 2] += 120
        images[labels == 1, size // 2 :] += 120
        splits.append(Split(labels.astype(np.int64), images=images))
    return Dataset(
        name="tiny-images",
        task="image-classification",
        metric="accuracy",
        classes=("top", "bottom"),
        train=splits[0],
        validation=splits[1],
        fingerprint=_fingerprint(*splits),
        ref=DatasetRef("tiny-images"),
        image_size=size,
    )


def _fingerprint(*splits: Split) -> str:
    sha = hashlib.sha256()
    for split in splits:
        sha.update(split.labels.tobytes() + repr(split.texts).encode() + (b"" if split.images is None else split.images.tobytes()))
    return sha.hexdigest()[:16]


def save_encoder(folder: Path, family: str, words: list[str] = WORDS, layers: int = 2) -> Path:
    """A random encoder of a family of transformers, with the tests' words."""
    import transformers

    tokenizer = save_tokenizer(folder, words)
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "max_position_embeddings": 66,
    }
    own = {
        "Bert": sizes,
        "Roberta": sizes,
        "XLMRoberta": sizes,
        "DistilBert": {"dim": 32, "n_layers": layers, "n_heads": 4, "hidden_dim": 128, "max_position_embeddings": 66},
        "Electra": sizes | {"embedding_size": 16},
        "MPNet": sizes,
        "DebertaV2": sizes | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0},
        "ModernBert": sizes | {"global_attn_every_n_layers": 2, "local_attention": 16},
    }[family]
    fields = {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    config = getattr(transformers, f"{family}Config")(**own, **fields, initializer_range=0.2)
    torch.manual_seed(0)
    getattr(transformers, f"{family}Model")(config).save_pretrained(folder)
    return folder


ENCODERS = ("Bert", "Roberta", "XLMRoberta", "DistilBert", "Electra", "MPNet", "DebertaV2", "ModernBert")


def as_sentence_transformer(folder: Path, pooling: str) -> Path:
    """Put beside a model what sentence-transformers puts there. pooling: cls, mean or max."""
    import json

    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{name}": name.startswith(pooling) for name in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    return folder


def pooled_teacher(folder: Path, **fields: Any) -> Teacher:
    """A teacher that starts at its probe and trains for four steps. fields: its pooling, and any other."""
    usual = {"model": str(folder), "head_init": "probe", "epochs": 9, "max_steps": 4, "patience": 4, "max_length": 32}
    return Teacher(**usual | {"batch_size": 16, "learning_rate": 1e-3} | fields)


def opened_again(kept: FinetunedTeacher, dataset: Dataset, teacher: Teacher) -> tuple[StudentModule, float]:
    """A stored teacher, and its accuracy on the validation split."""
    model, tokenizer = load_teacher(kept.folder)
    inputs = encode(dataset, dataset.validation, tokenizer, teacher)
    with torch.no_grad():
        logits = model(inputs.batch(torch.arange(len(inputs)))).logits
    return model, float((logits.argmax(dim=1).numpy() == dataset.validation.labels).mean())


def validation_metrics(model: StudentModule, inputs: Inputs, dataset: Dataset) -> dict[str, float]:
    """A model's metrics on the validation split, in float32. inputs: its rows."""
    logits = all_logits(model, inputs, dataset.num_outputs, torch.device("cpu"))
    return dataset.target.evaluate(dataset.metric, logits.numpy(), dataset.validation.labels)
