"""A search for a distilled student as a good engineer writes it today: Ray Tune, OptunaSearch and ASHA around a plain loop.

The teacher (a transformers AutoModel) is fine-tuned once and saved. Every trial loads it and runs it live on every batch: cross-entropy,
softened KL divergence, and the mean squared error between one projected hidden state of the student and the teacher's. `python
peer_search.py SETTINGS.json` reads the rows of benchmarks/search_throughput.py from a file, and writes its result into SETTINGS.json as
"answer".

Some improvements that a good engineer makes are not in the libraries' own examples. They are a switch, on by default, so that the peer
is the stronger one: texts tokenised once and shared by all trials, batches padded to their own longest text, a fused optimizer, actors
that are reused.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

Rows = list[tuple[list[int], int]]


def batches(rows: Rows, size: int, pad: int, length: int | None, shuffle: bool) -> Any:
    """Batches as a DataLoader with a padding collator makes them. length: pad all texts to it; None for the longest of the batch."""

    def collate(items: Rows) -> tuple[Tensor, Tensor, Tensor]:
        longest = length or max(len(ids) for ids, _ in items)
        ids = torch.tensor([list(ids) + [pad] * (longest - len(ids)) for ids, _ in items])
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in items])
        return ids, mask, torch.tensor([label for _, label in items])

    return torch.utils.data.DataLoader(rows, batch_size=size, shuffle=shuffle, collate_fn=collate)  # type: ignore[arg-type]


def accuracy(model: nn.Module, rows: Rows, pad: int, length: int | None) -> float:
    """The accuracy on rows, in batches of 128."""
    model.eval()
    right = 0
    with torch.inference_mode():
        for ids, mask, labels in batches(rows, 128, pad, length, shuffle=False):
            right += int((model(input_ids=ids, attention_mask=mask).logits.argmax(-1) == labels).sum())
    return right / len(rows)


def tokenise(asked: dict[str, Any]) -> tuple[Rows, Rows, int, int]:
    """The training and validation rows as token numbers; the padding token; the number of tokens."""
    tokenizer = AutoTokenizer.from_pretrained(asked["model"])
    splits = []
    for split in ("train", "validation"):
        encoded = tokenizer(asked[split]["texts"], truncation=True, max_length=asked["max_length"])["input_ids"]
        splits.append(list(zip(encoded, asked[split]["labels"], strict=True)))
    return splits[0], splits[1], tokenizer.pad_token_id, len(tokenizer)


def train_teacher(asked: dict[str, Any], train: Rows, pad: int) -> None:
    """Fine-tune and save the teacher."""
    torch.manual_seed(0)
    torch.set_num_threads(asked["teacher_threads"])
    model = AutoModelForSequenceClassification.from_pretrained(asked["model"], num_labels=asked["classes"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=asked["teacher"]["learning_rate"], weight_decay=0.01, fused=asked["fused"])
    model.train()
    for _ in range(asked["teacher"]["epochs"]):
        for ids, mask, labels in batches(train, 32, pad, None if asked["pad_to_batch"] else asked["max_length"], shuffle=True):
            loss = F.cross_entropy(model(input_ids=ids, attention_mask=mask).logits, labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    model.save_pretrained(asked["teacher_folder"])


def train_student(config: dict[str, Any], asked: dict[str, Any], data: tuple[Rows, Rows, int, int] | None) -> None:
    """One trial."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train, validation, pad, vocabulary = data or tokenise(asked)
    teacher = AutoModelForSequenceClassification.from_pretrained(asked["teacher_folder"]).eval()
    shape = asked["student"]
    student = BertForSequenceClassification(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=shape["hidden_size"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            intermediate_size=4 * shape["hidden_size"],
            num_labels=asked["classes"],
            pad_token_id=pad,
        )
    )
    projection = nn.Linear(shape["hidden_size"], teacher.config.hidden_size)
    parameters = [*student.parameters(), *projection.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config["learning_rate"], weight_decay=0.01, fused=asked["fused"])
    length, temperature, best = None if asked["pad_to_batch"] else asked["max_length"], config["temperature"], 0.0
    for epoch in range(1, asked["epochs"] + 1):
        student.train()
        for ids, mask, labels in batches(train, asked["batch_size"], pad, length, shuffle=True):
            with torch.inference_mode():
                teacher_outputs = teacher(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            made = student(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            soft = F.log_softmax(made.logits / temperature, -1)
            kl = F.kl_div(soft, F.softmax(teacher_outputs.logits.clone() / temperature, -1), reduction="batchmean") * temperature**2
            hidden = F.mse_loss(projection(made.hidden_states[-1][:, 0]), teacher_outputs.hidden_states[-1][:, 0].clone())
            hard = F.cross_entropy(made.logits, labels)
            loss = config["hard_label_weight"] * hard + 0.8 * kl + config["hidden_weight"] * hidden
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        score = accuracy(student, validation, pad, length)
        if score > best:
            best = score
            student.save_pretrained(Path(asked["students"]) / tune.get_context().get_trial_id())
        tune.report({"accuracy": score, "epoch": epoch})


def main(path: Path) -> None:
    """Search, and write the times and scores into the file."""
    asked = json.loads(path.read_text(encoding="utf-8"))
    began = time.perf_counter()
    data = tokenise(asked)
    train_teacher(asked, data[0], data[2])
    teacher_seconds = time.perf_counter() - began
    space = {
        "learning_rate": tune.loguniform(5e-5, 1e-3),
        "temperature": tune.loguniform(1.0, 8.0),
        "hard_label_weight": tune.loguniform(0.05, 1.0),
        "hidden_weight": tune.loguniform(0.01, 3.0),
    }
    trainable = tune.with_parameters(train_student, asked=asked, data=data if asked["tokenise_once"] else None)
    results = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=asked["trials"],
            max_concurrent_trials=asked["workers"],
            search_alg=OptunaSearch(seed=0),
            scheduler=ASHAScheduler(max_t=asked["epochs"], grace_period=max(1, asked["epochs"] // 9), reduction_factor=3),
            reuse_actors=asked["reuse_actors"],
        ),
        run_config=tune.RunConfig(storage_path=asked["results"], verbose=0),
    ).fit()
    frame = results.get_dataframe()
    answer = {
        "teacher_seconds": teacher_seconds,
        "trials": len(results) - results.num_errors,
        "failed": results.num_errors,
        "epochs": int(frame["epoch"].sum()),
        "best": float(frame["accuracy"].max()),
    }
    path.write_text(json.dumps(asked | {"answer": answer}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
