"""The teacher's outputs for every row: computed once, stored, memory-mapped, and shared by all trials of a node.

    outputs/<teacher and dataset>/<split, view and rows>/logits.safetensors, embedding.safetensors, cls.safetensors,
    mean.safetensors, tokens-3.safetensors, attention-5.safetensors, maps-2.safetensors, teacher.json (the shapes)

A file is either complete or does not exist. Tokens are stored without padding; all outputs except the logits are float16.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from autodistill.augment.views import ORIGINAL
from autodistill.cache import discard_damaged, fetched, is_whole
from autodistill.errors import RunError
from autodistill.modality import Modality
from autodistill.models.base import (
    Batch,
    DeviceRows,
    Inputs,
    Outputs,
    StudentModule,
    TextBatch,
    full_precision,
    mixed_precision,
    pick_device,
    to_device,
)
from autodistill.models.fitting import cpu_threads
from autodistill.models.sides import text_means
from autodistill.storage import cache_folder, digest, disk_errors, lock, new_tensors
from autodistill.tasks.base import Dataset
from autodistill.teacher.load import load_teacher, teacher_fingerprint
from autodistill.teacher.plan import StoragePlan, Taps, TeacherShape, arrays_of, plan_outputs, store_budget

SHAPE = "teacher.json"
"""The file with the shapes of the outputs, from which the files of the store are laid out."""
_POOLED = {"cls": "sentences", "mean": "means", "texts": "texts"}
"""The kinds with a vector for each row, or for each text of a pair, and the list of `Outputs` that they fill."""
_BY_TOKEN = ("tokens-", "attention-")
"""The prefixes of the kinds that are stored token by token, without padding."""

TOKENS_AT_ONCE = 8192
ROWS_AT_ONCE = 128
"""The most that the teacher reads at once on the CPU. A GPU reads what fits into a quarter of its free memory, see `at_once`."""
MOST_TOKENS, MOST_ROWS = 32 * TOKENS_AT_ONCE, 32 * ROWS_AT_ONCE
"""The most that it reads at once on a GPU, which is then long busy."""
FREE_SHARE = 0.25
_WORKING = 16
"""How many times its widest state a teacher's layer needs while it runs (a feed-forward layer is four times as wide as the states)."""
_HALF_MAX = 65504.0


@dataclass(frozen=True)
class OutputsProgress:
    """The teacher's progress through a split. kinds: what is being stored."""

    rows: int
    done: int
    kinds: tuple[str, ...]
    seconds: float


class TeacherOutputs:
    """A teacher's outputs on one view of a split; `batch` returns those of any rows.

    Outputs beyond the size budget (`plan.live`) are computed by the teacher, batch by batch; only then is the teacher loaded.
    """

    def __init__(
        self,
        folder: Path,
        teacher: Path,
        inputs: Inputs,
        shape: TeacherShape,
        plan: StoragePlan,
        device: torch.device,
        entries: tuple[int, ...] = (),
    ) -> None:
        self.folder, self.teacher, self.inputs, self.shape, self.plan, self.device = folder, teacher, inputs, shape, plan, device
        self.entries = entries
        self._rows: DeviceRows = inputs
        self._stored = {kind: load_file(folder / f"{kind}.safetensors") for kind in plan.stored}
        for kind in _POOLED.keys() & self._stored.keys() if entries else ():
            self._stored[kind] = {str(layer): self._stored[kind][str(layer)] for layer in entries}
        self._model: StudentModule | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def bytes(self) -> int:
        """Of the stored outputs that `batch` reads."""
        return sum(array.nbytes for arrays in self._stored.values() for array in arrays.values())

    def to(self, device: torch.device) -> TeacherOutputs:
        """The same outputs on a device, which must not be computed live. Row numbers are then on that device."""
        assert not self.plan.live, "only stored outputs can be moved"
        moved = copy.copy(self)
        moved.device, moved._rows = device, self.inputs.to(device) if _token_kinds(self._stored) else self._rows
        moved._stored = {kind: {name: array.to(device) for name, array in arrays.items()} for kind, arrays in self._stored.items()}
        return moved

    def batch(self, rows: Tensor, length: int | None = None) -> Outputs:
        """The outputs of some rows, float32, where the outputs are: on the CPU, unless `to` moved them. rows: (B,) int64.

        Lists are as long as the teacher's; an entry that was not asked for is an empty tensor. Outputs for single tokens are padded with
        zeros to the longest of the rows, or to `length`, like `inputs.batch(rows, length)`.
        """
        parts: dict[str, dict[str, Tensor]] = {}
        tokens = _token_index(self._rows, rows, self._stored, length)
        for kind, arrays in self._stored.items():
            if kind in tokens:
                index, mask = tokens[kind]
                parts[kind] = {name: array[index].float().masked_fill_(~mask[..., None], 0.0) for name, array in arrays.items()}
            else:
                parts[kind] = {name: array[rows].float() for name, array in arrays.items()}
        if self.plan.live:
            parts |= self._run_live(rows)
        return self._assemble(parts)

    def column(self, name: str) -> Tensor:
        """One output of every row, (N, …) float32. name: `logits` or `embedding`.

        Unlike a `batch` of all rows, it loads no other output into memory.
        """
        if name in self._stored:
            return self._stored[name][name].float()
        rows = torch.arange(len(self)).split(ROWS_AT_ONCE)
        return torch.cat([getattr(self.batch(part), name) for part in rows])

    def _run_live(self, rows: Tensor) -> dict[str, dict[str, Tensor]]:
        if self._model is None:
            self._model = load_teacher(self.teacher)[0].to(self.device)
        batch = to_device(self.inputs.batch(rows), self.device)
        with torch.no_grad(), mixed_precision(self._model, self.device):
            outputs = self._model(batch, taps=_taps_for(self.plan.live))
        by_kind = {kind: _take(full_precision(outputs), kind, batch) for kind in self.plan.live}
        for kind, (_, mask) in _token_index(self.inputs, rows, by_kind).items():
            by_kind[kind] = {name: part * mask[..., None].to(part.device) for name, part in by_kind[kind].items()}
        return {kind: {name: part.float().cpu() for name, part in arrays.items()} for kind, arrays in by_kind.items()}

    def _assemble(self, parts: dict[str, dict[str, Tensor]]) -> Outputs:
        out = Outputs(parts["logits"]["logits"], parts["embedding"]["embedding"])
        empty = torch.empty(0, device=out.logits.device)
        for kind, arrays in parts.items():
            name, _, number = kind.partition("-")
            if name in _POOLED:
                setattr(out, _POOLED[name], [arrays.get(str(layer), empty) for layer in range(len(self.shape.states))])
            elif name in ("tokens", "maps"):
                out.states = out.states or [empty] * len(self.shape.states)
                out.states[int(number)] = arrays[name]
            elif name == "attention":
                heads, size = self.shape.attention[int(number)]
                for part, values in arrays.items():
                    if not getattr(out, part):
                        setattr(out, part, [empty] * len(self.shape.attention))
                    getattr(out, part)[int(number)] = values.unflatten(2, (heads, size)).transpose(1, 2)
        return out


def ensure_outputs(
    dataset: Dataset,
    split: str,
    inputs: Inputs,
    teacher: str | Path,
    *,
    view: str = ORIGINAL,
    taps: Taps = Taps(),  # noqa: B008 — frozen
    budget_bytes: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Callable[[OutputsProgress], None] | None = None,
) -> TeacherOutputs:
    """The teacher's outputs on a split: found in the store, or computed in one pass and stored.

    Args:
        dataset: the dataset of the rows.
        split: its name.
        inputs: the rows as the teacher reads them (for a view: augmented).
        teacher: folder of a fine-tuned teacher.
        view: names the augmentation with everything that it depends on (kind, fields, seed, copy).
        taps: the outputs that are needed beside logits and embedding. Only what the store lacks is computed.
        budget_bytes: for all stored outputs of this teacher and dataset; None for AUTODISTILL_STORE_BYTES, or 4 GB.
        device: where the teacher runs.
        threads: of the CPU; None for torch's own number.
        progress: called after every batch.

    Raises:
        ModelError: the folder holds no teacher.
        RunError: the teacher has no such outputs, its outputs are not finite, or the store cannot be written.
    """
    teacher, where = Path(teacher), pick_device(device)
    budget = store_budget(budget_bytes)
    group = cache_folder() / "outputs" / digest("outputs-1", teacher_fingerprint(teacher), dataset.fingerprint)
    folder = group / f"{split}-{digest(split, view, inputs.fingerprint)}"
    shape = _read_shape(folder, dataset.modality)
    if shape is None or _missing(folder, taps):
        with lock(folder):  # of two processes one computes, and the other then finds the files
            with disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                for left in folder.glob("*.part-*"):  # left by a killed process: nobody else writes while we hold the lock
                    left.unlink()
            for kind in taps.kinds:
                discard_damaged(folder / f"{kind}.safetensors")
                fetched(folder / f"{kind}.safetensors")
            fetched(folder / SHAPE)
            shape = _read_shape(folder, dataset.modality)
            if shape is None or _missing(folder, taps):
                shape = _fill(folder, group, teacher, dataset.modality, inputs, taps, budget, where, threads, progress)
    # What is still missing is over the budget.
    plan = plan_outputs(len(inputs), len(inputs.ids), taps, shape, budget, taken=budget + 1, present=_present(folder, taps))
    return TeacherOutputs(folder, teacher, inputs, shape, plan, where, taps.entries)


def _present(folder: Path, taps: Taps) -> frozenset[str]:
    return frozenset(kind for kind in taps.kinds if is_whole(folder / f"{kind}.safetensors"))


def _missing(folder: Path, taps: Taps) -> bool:
    return len(_present(folder, taps)) < len(taps.kinds)


def _taken(group: Path) -> int:
    used = 0
    for file in group.rglob("*.safetensors*"):
        with suppress(FileNotFoundError):  # another process may be at work on another split
            used += file.stat().st_size
    return used


def _read_shape(folder: Path, modality: Modality) -> TeacherShape | None:
    """The shapes of the outputs in a folder; None if it has no outputs, or if they cannot be read."""
    try:
        data = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
        checksum = data.pop("checksum", None)  # older files have none
        if checksum is not None and checksum != digest(json.dumps(data)):
            raise ValueError("other contents than were written")
        states, attention = (tuple(tuple(item) for item in data[name]) for name in ("states", "attention"))
        return TeacherShape(modality, data["num_outputs" if "num_outputs" in data else "outputs"], data["embedding"], states, attention)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        logging.getLogger(__name__).warning("%s is damaged (%s); it is written again", folder / SHAPE, cause)
        return None


def _write_shape(folder: Path, shape: TeacherShape) -> None:
    data = {"num_outputs": shape.num_outputs, "embedding": shape.embedding, "states": shape.states, "attention": shape.attention}
    with disk_errors(folder):
        aside = folder / f"{SHAPE}.part-new"
        aside.write_text(json.dumps({**data, "checksum": digest(json.dumps(data))}), encoding="utf-8")
        aside.rename(folder / SHAPE)


def _measure(model: StudentModule, modality: Modality, inputs: Inputs, device: torch.device) -> TeacherShape:
    """The shapes of a teacher's outputs, from a run on one row."""
    batch = to_device(inputs.batch(torch.tensor([0])), device)
    with torch.inference_mode():
        outputs = model(batch, taps=frozenset({"states", "attention"} if model.attention_layers else {"states"}))
    states = tuple(modality.state_shape(tuple(state.shape)) for state in outputs.states)
    attention = tuple((part.shape[1], part.shape[3]) for part in outputs.queries)
    return TeacherShape(modality, outputs.logits.shape[1], outputs.embedding.shape[1], states, attention)


def _fill(
    folder: Path,
    group: Path,
    teacher: Path,
    modality: Modality,
    inputs: Inputs,
    taps: Taps,
    budget: int,
    device: torch.device,
    threads: int | None,
    progress: Callable[[OutputsProgress], None] | None,
) -> TeacherShape:
    """Run the teacher once over all rows and store every missing kind that the budget allows."""
    with cpu_threads(threads):
        model: StudentModule | None = None
        shape = _read_shape(folder, modality)
        if shape is None:
            model = load_teacher(teacher)[0].to(device)
            shape = _measure(model, modality, inputs, device)
            _write_shape(folder, shape)
        present = _present(folder, taps)
        plan = plan_outputs(len(inputs), len(inputs.ids), taps, shape, budget, _taken(group), present)
        kinds = tuple(kind for kind in plan.stored if kind not in present)
        if kinds:
            _store(folder, model or load_teacher(teacher)[0].to(device), inputs, kinds, shape, device, progress)
    return shape


def _store(
    folder: Path,
    model: StudentModule,
    inputs: Inputs,
    kinds: tuple[str, ...],
    shape: TeacherShape,
    device: torch.device,
    progress: Callable[[OutputsProgress], None] | None,
) -> None:
    start, done, wanted = time.perf_counter(), 0, _taps_for(kinds)
    with ExitStack() as stack, torch.inference_mode():
        files = {
            kind: stack.enter_context(new_tensors(folder / f"{kind}.safetensors", arrays_of(kind, len(inputs), len(inputs.ids), shape)))
            for kind in kinds
        }
        for rows in inputs.even_batches(*at_once(shape, device)):
            batch = to_device(inputs.batch(rows), device)
            with mixed_precision(model, device):
                outputs = full_precision(model(batch, taps=wanted))
            if not bool(outputs.logits.isfinite().all()):
                raise RunError(
                    f"the teacher's logits are not finite numbers, in row {int(rows[0])} or near; fine-tune it with a lower learning rate"
                )
            tokens = _token_index(inputs, rows, kinds)
            for kind, arrays in files.items():
                places = rows
                for name, values in _take(outputs, kind, batch).items():
                    if kind in tokens:
                        index, mask = tokens[kind]
                        places, values = index[mask], values[mask.to(values.device)]
                    arrays[name][places.numpy()] = _to_stored(values, arrays[name].dtype)
            done += len(rows)
            if progress:
                progress(OutputsProgress(len(inputs), done, kinds, time.perf_counter() - start))


def at_once(shape: TeacherShape, device: torch.device) -> tuple[int, int]:
    """The most rows and the most tokens that a teacher reads at once on a device."""
    if device.type != "cuda":
        return ROWS_AT_ONCE, TOKENS_AT_ONCE
    return largest_batch(shape, int(FREE_SHARE * torch.cuda.mem_get_info(device)[0]))


def largest_batch(shape: TeacherShape, memory: int) -> tuple[int, int]:
    """The rows and tokens of a batch whose outputs, and what the teacher needs while it runs, take about this many bytes.

    They are at least those of the CPU, and at most MOST_ROWS and MOST_TOKENS.
    """
    states = [math.prod(state) for state in shape.states]  # for each token, or for each image
    numbers = sum(states) + 3 * sum(math.prod(heads) for heads in shape.attention) + _WORKING * max(states)
    fit = memory // (4 * numbers)
    return min(max(fit, ROWS_AT_ONCE), MOST_ROWS), min(max(fit, TOKENS_AT_ONCE), MOST_TOKENS)


def _token_kinds(kinds: Iterable[str]) -> list[str]:
    return [kind for kind in kinds if kind.startswith(_BY_TOKEN)]


def _token_index(inputs: DeviceRows, rows: Tensor, kinds: Iterable[str], length: int | None = None) -> dict[str, tuple[Tensor, Tensor]]:
    """For the kinds that are stored token by token: the places of the rows' tokens, see `Inputs.token_index`."""
    by_token = _token_kinds(kinds)
    return dict.fromkeys(by_token, inputs.token_index(rows, length)) if by_token else {}


def _taps_for(kinds: tuple[str, ...]) -> frozenset[str]:
    taps = {"attention" if kind.startswith("attention") else "states" for kind in kinds if kind not in ("logits", "embedding")}
    return frozenset(taps)


def _take(outputs: Outputs, kind: str, batch: Batch) -> dict[str, Tensor]:
    """The arrays of a kind from a forward pass: (B, …), or (B, T, D) for tokens."""
    name, _, number = kind.partition("-")
    if name == "logits":
        return {"logits": outputs.logits}
    if name == "embedding":
        return {"embedding": outputs.embedding}
    if name == "cls":
        return {str(layer): state for layer, state in enumerate(outputs.sentences)}
    if name == "mean":
        return {str(layer): batch.mean(state) for layer, state in enumerate(outputs.states)}
    if name == "texts":
        assert isinstance(batch, TextBatch), "only rows of texts have them"
        return {str(layer): text_means(state, batch.mask, batch.segments) for layer, state in enumerate(outputs.states)}
    if name in ("tokens", "maps"):
        return {name: outputs.states[int(number)]}
    layer = int(number)
    parts = {"queries": outputs.queries[layer], "keys": outputs.keys[layer], "values": outputs.values[layer]}
    return {part: values.transpose(1, 2).flatten(2) for part, values in parts.items()}


def _to_stored(values: Tensor, dtype: np.dtype[Any]) -> np.ndarray:
    """As numpy in the file's type. Values beyond the range of float16 are clipped to it."""
    if dtype == np.float16:
        values = values.clamp(-_HALF_MAX, _HALF_MAX).half()
    return values.cpu().numpy()
