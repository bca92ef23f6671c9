"""The loops that benchmarks/trial_cost.py compares: each makes one training step on a batch of rows.

Ours run the Trainer of a trial. The others are written as their documentation shows it, for the same student, teacher, rows and loss.
They have a fused optimizer, as ours has. torchdistill is run twice: with its own data loader (rows in random order, padded to the longest
of their batch), and on the batches that ours reads (texts of similar length together), so that only the step differs.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import RandomSampler
from trial_world import HARD, KL, MI, OBJECTIVES, World

from autodistill.losses.layer_map import layer_pairs
from autodistill.losses.mutual_information import build_scorer, mi
from autodistill.models import build_student
from autodistill.models.base import Batch, Outputs, StudentModule, TextBatch, full_precision, mixed_precision, pick_device, to_device
from autodistill.models.text import EncodedText
from autodistill.recipe import Recipe
from autodistill.teacher.load import load_teacher
from autodistill.train.trial import GRADIENT_NORM, Trainer

LEARNING_RATE = 3e-4
STATES = frozenset({"states"})


class Arm(Protocol):
    """One of the loops."""

    def step(self, rows: Tensor) -> object:
        """One optimizer step on the rows."""
        ...


class Ours:
    """A trial of ours: `plain` (no teacher), `stored`, `attention`, or `live` (stored's loss, the teacher run with every batch)."""

    def __init__(self, world: World, student: dict[str, Any], kind: str, batch_size: int, device: str, threads: int) -> None:
        objective = OBJECTIVES[world.modality]["stored" if kind == "live" else kind]
        recipe = world.recipe(student, objective, batch_size)
        data = world.data(recipe, device, threads, live=kind == "live")
        torch.manual_seed(0)
        built = build_student(recipe, data.context).to(pick_device(device))
        self.trainer = Trainer(recipe, built, data, pick_device(device), epochs=100, seed=0)
        built.train()
        self.trainer.objective.train()

    def step(self, rows: Tensor) -> object:
        """As in `Trainer.train_epoch`."""
        return self.trainer.step(rows, 1)


class Others:
    """What the loops of other libraries have in common: the student, the labels, and how rows are read."""

    def __init__(self, world: World, student: dict[str, Any], batch_size: int, device: str) -> None:
        self.world, self.device = world, pick_device(device)
        self.recipe: Recipe = world.recipe(student, {}, batch_size)
        torch.manual_seed(0)
        self.student: StudentModule = build_student(self.recipe, world.opened.context).to(self.device).train()
        self.labels = torch.from_numpy(world.opened.dataset.train.labels).long()

    def batch(self, rows: Tensor) -> tuple[Batch, Tensor]:
        """Inputs and labels, on the device."""
        return to_device(self.world.opened.train.batch(rows), self.device), self.labels[rows].to(self.device)

    def precision(self) -> Any:
        """As ours."""
        return mixed_precision(self.student, self.device)

    def optimizer(self, *modules: nn.Module) -> torch.optim.Optimizer:
        """AdamW, fused, over all parameters alike."""
        parameters = [parameter for module in modules for parameter in module.parameters()]
        return torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01, fused=True)


class HandWritten(Others):
    """The plain loop as a good engineer writes it: rows tokenised beforehand, cross-entropy, clipping, a fused optimizer."""

    def __init__(self, world: World, student: dict[str, Any], batch_size: int, device: str) -> None:
        super().__init__(world, student, batch_size, device)
        self.adamw = self.optimizer(self.student)
        inputs = world.opened.train
        self.tokens = (
            [inputs.ids[a:b].long() for a, b in inputs.offsets.unfold(0, 2, 1).tolist()] if isinstance(inputs, EncodedText) else []
        )

    def read(self, rows: Tensor) -> tuple[Batch, Tensor]:
        """Padded token ids, or normalised pixels."""
        if not self.tokens:
            return self.batch(rows)
        ids = pad_sequence([self.tokens[row] for row in rows.tolist()], batch_first=True)
        return to_device(TextBatch(ids, ids != 0, torch.zeros_like(ids)), self.device), self.labels[rows].to(self.device)

    def step(self, rows: Tensor) -> object:
        """One step of the loop."""
        batch, labels = self.read(rows)
        with self.precision():
            loss = F.cross_entropy(self.student(batch).logits.float(), labels)
        self.adamw.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), GRADIENT_NORM)
        self.adamw.step()
        return loss.detach()


class MutualInformation(nn.Module):
    """The intermediate term of OBJECTIVES["stored"], over two models' outputs: the mean over the layer pairs of −I_α."""

    def __init__(self, student: list[Tensor], teacher: list[Tensor]) -> None:
        super().__init__()
        self.pairs = [(one - 1, other - 1) for one, other in layer_pairs(MI["layer_map"], len(student), len(teacher), MI["layers"])]
        widths = [(student[one].shape[-1], teacher[other].shape[-1]) for one, other in self.pairs]
        self.scorers = nn.ModuleList(build_scorer(*pair, critic="inner", critic_width=128, baseline="constant") for pair in widths)

    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Layers' pooled states, (B, D) each → the mean."""
        pairs = zip(self.pairs, self.scorers, strict=True)
        return torch.stack([mi(student[one], teacher[other], None, scorer) for (one, other), scorer in pairs]).mean()


def pooled(outputs: Outputs) -> list[Tensor]:
    """The pooled state of every layer (text) or stage (images)."""
    return outputs.sentences[1:] if outputs.sentences else [maps.mean(dim=(2, 3)) for maps in outputs.states]


class TorchDistill(Others):
    """torchdistill's DistillationBox: KDLoss on hooked logits, and the MI term registered as a loss of its own, as its docs say."""

    own_loader = True

    def __init__(self, world: World, student: dict[str, Any], batch_size: int, device: str) -> None:
        from torchdistill.common.constant import def_logger
        from torchdistill.core.distillation import DistillationBox
        from torchdistill.core.interfaces.registry import register_forward_proc_func
        from torchdistill.datasets.registry import register_collate_func
        from torchdistill.losses.registry import register_mid_level_loss

        super().__init__(world, student, batch_size, device)
        def_logger.setLevel(logging.ERROR)
        teacher = load_teacher(world.opened.folder)[0].to(self.device)
        with torch.no_grad():
            batch = self.batch(torch.arange(2))[0]
            term = MutualInformation(*(pooled(model(batch, taps=STATES)) for model in (self.student, teacher)))
        term.to(self.device)

        @register_forward_proc_func(key="with_states")
        def with_states(model: StudentModule, sample_batch: Batch, *_: Any, **__: Any) -> Outputs:
            with self.precision():
                return full_precision(model(sample_batch, taps=STATES))

        @register_mid_level_loss(key="mutual_information")
        def mutual_information() -> Any:
            return lambda student, teacher, *_: term(pooled(student["."]["output"]), pooled(teacher["."]["output"]))

        @register_collate_func(key="read_rows")
        def read_rows(rows: list[Any]) -> tuple[Batch, Tensor, dict[str, Any]]:
            return *self.batch(torch.tensor([row for row, _, _ in rows])), {}

        heads = [_head(model) for model in (self.student, teacher)]
        kd: dict[str, Any] = {
            "student_module_path": heads[0],
            "student_module_io": "output",
            "teacher_module_path": heads[1],
            "teacher_module_io": "output",
        }
        kd |= {"temperature": KL["temperature"], "alpha": HARD, "beta": KL["weight"]}
        terms = {
            "kd": {"criterion": {"key": "KDLoss", "kwargs": kd}, "weight": 1.0},
            "mi": {"criterion": {"key": "mutual_information", "kwargs": {}}, "weight": MI["weight"]},
        }
        loader = {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler, "kwargs": {}},
            "collate_fn": "read_rows",
            "kwargs": {"batch_size": batch_size, "drop_last": True, "num_workers": 0},
        }
        config = {
            "num_epochs": 1,
            "train_data_loader": loader,
            "teacher": {"forward_proc": "with_states", "forward_hook": {"input": [], "output": [heads[1]]}, "requires_grad": False},
            "student": {"forward_proc": "with_states", "forward_hook": {"input": [], "output": [heads[0]]}, "requires_grad": True},
            "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": terms}},
            "optimizer": {"key": "AdamW", "kwargs": {"lr": LEARNING_RATE, "fused": True}, "max_grad_norm": GRADIENT_NORM},
        }
        rows = [(row, int(label)) for row, label in enumerate(self.labels)]
        self.box = DistillationBox(teacher, self.student, {"train": rows}, config, self.device, None, False, 1)
        self.box.optimizer.add_param_group({"params": list(term.parameters())})
        self.box.pre_epoch_process(epoch=0)
        self.batches: Iterator[Any] = iter(())

    def step(self, rows: Tensor) -> object:
        """As in the training loop of torchdistill's examples."""
        batch, labels, supplement = self._next() if self.own_loader else (*self.batch(rows), {})
        loss = self.box.forward_process(batch, labels, supplement)
        self.box.post_forward_process(loss=loss)
        return loss.detach()

    def _next(self) -> Any:
        batch = next(self.batches, None)
        if batch is None:
            self.batches = iter(self.box.train_data_loader)
            batch = next(self.batches)
        return batch


class TorchDistillSameBatches(TorchDistill):
    """The same without its data loader: it gets our batches."""

    own_loader = False


def _head(model: StudentModule) -> str:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


class TextBrewer(Others):
    """TextBrewer's GeneralDistiller on the transformers models themselves: KD, hidden matches with the MI term. For bert students."""

    def __init__(self, world: World, student: dict[str, Any], batch_size: int, device: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "is not" with a literal, in its source
            from textbrewer import MATCH_LOSS_MAP, DistillationConfig, GeneralDistiller, TrainingConfig

        super().__init__(world, student, batch_size, device)
        teacher = load_teacher(world.opened.folder)[0].to(self.device)
        with torch.no_grad():
            batch = self.batch(torch.arange(2))[0]
            term = MutualInformation(*(pooled(model(batch, taps=STATES)) for model in (self.student, teacher))).to(self.device)
        matches = []
        for number, (one, other) in enumerate(term.pairs):
            MATCH_LOSS_MAP[f"mi_{number}"] = _match(term.scorers[number])
            weight = MI["weight"] / len(term.pairs)
            matches.append({"layer_S": one + 1, "layer_T": other + 1, "feature": "hidden", "loss": f"mi_{number}", "weight": weight})
        scaled = KL["weight"] * KL["temperature"] ** 2  # its KD loss is the cross-entropy with the teacher, without T²
        config = DistillationConfig(
            temperature=KL["temperature"], kd_loss_weight=scaled, hard_label_weight=HARD, intermediate_matches=matches
        )
        training = TrainingConfig(device=self.device, log_dir=None, output_dir=tempfile.gettempdir())
        inner: tuple[Any, Any] = (teacher.model, self.student.model)
        self.distiller = GeneralDistiller(training, config, *inner, _adapt, _adapt)
        self.adamw = self.optimizer(self.student, term)

    def step(self, rows: Tensor) -> object:
        """As in TextBrewer's train_with_num_steps, without its log and progress bar."""
        batch, labels = self.batch(rows)
        assert isinstance(batch, TextBatch)
        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask.long(), "token_type_ids": batch.segments, "labels": labels}
        with self.precision():
            loss, _ = self.distiller.train_on_batch(inputs, {"output_hidden_states": True})
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), GRADIENT_NORM)
        self.adamw.step()
        self.adamw.zero_grad()
        return loss.detach()


def _adapt(batch: dict[str, Tensor], outputs: Any) -> dict[str, Any]:
    return {"logits": outputs.logits, "hidden": outputs.hidden_states, "losses": outputs.loss, "inputs_mask": batch["attention_mask"]}


def _match(scorer: nn.Module) -> Any:
    return lambda student, teacher, mask=None: mi(student[:, 0], teacher[:, 0], None, scorer)


def build_arm(name: str, world: World, student: dict[str, Any], batch_size: int, device: str, threads: int) -> Arm:
    """An arm by its name."""
    peers: dict[str, type[HandWritten | TorchDistill | TextBrewer]] = {
        "hand_written": HandWritten,
        "torchdistill": TorchDistill,
        "torchdistill_same_batches": TorchDistillSameBatches,
        "textbrewer": TextBrewer,
    }
    return peers[name](world, student, batch_size, device) if name in peers else Ours(world, student, name, batch_size, device, threads)
