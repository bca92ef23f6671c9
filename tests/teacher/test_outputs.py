from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny_teacher import image_dataset, save_bert, save_tokenizer, text_dataset

from autodistill.errors import ModelError, RunError, UsageError
from autodistill.modality import Text
from autodistill.models.base import Outputs
from autodistill.models.image import EncodedImages
from autodistill.models.text import EncodedText, encode_split
from autodistill.recipe import Teacher
from autodistill.teacher import outputs as store
from autodistill.teacher.finetune import finetune_teacher
from autodistill.teacher.load import load_teacher
from autodistill.teacher.outputs import OutputsProgress, Taps, TeacherOutputs, ensure_outputs
from autodistill.teacher.plan import TeacherShape

pytestmark = pytest.mark.usefixtures("float32")

DATASET = text_dataset(40)
EVERYTHING = Taps(pooled=frozenset({"cls", "mean"}), tokens=(0, 2, 4), attention=(1, 3))
ROWS = torch.tensor([7, 3, 39, 0, 3, 21])


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return save_bert(tmp_path / "teacher")


@pytest.fixture
def encoded(tmp_path: Path) -> EncodedText:
    assert DATASET.train.texts is not None
    return encode_split(DATASET.train.texts, None, save_tokenizer(tmp_path / "tok"), 16)


def stored(teacher: Path, encoded: Any, taps: Taps = EVERYTHING, **options: Any) -> TeacherOutputs:
    return ensure_outputs(
        options.pop("dataset", DATASET), options.pop("split", "train"), encoded, teacher, taps=taps, device="cpu", **options
    )


def said_by(teacher: Path, inputs: Any, rows: torch.Tensor) -> Outputs:
    model, _ = load_teacher(teacher)
    with torch.no_grad():
        return model(inputs.batch(rows), taps=frozenset({"states", "attention"} if isinstance(inputs, EncodedText) else {"states"}))


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    """Equal as float16 goes: 11 bits."""
    torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)


def check_text(stored_outputs: Outputs, live: Outputs, mask: torch.Tensor) -> None:
    torch.testing.assert_close(stored_outputs.logits, live.logits, atol=1e-5, rtol=1e-4)
    close(stored_outputs.embedding, live.embedding)
    weights = mask[..., None].float()
    for layer in range(5):
        close(stored_outputs.sentences[layer], live.sentences[layer])
        close(stored_outputs.means[layer], (live.states[layer] * weights).sum(1) / weights.sum(1))
    for layer in EVERYTHING.tokens:
        close(stored_outputs.states[layer], live.states[layer] * weights)
    for layer in EVERYTHING.attention:
        for name in ("queries", "keys", "values"):
            close(getattr(stored_outputs, name)[layer], getattr(live, name)[layer] * weights[:, None])
    assert [state.numel() > 0 for state in stored_outputs.states] == [True, False, True, False, True]
    assert [query.numel() > 0 for query in stored_outputs.queries] == [False, True, False, True]


@pytest.mark.parametrize("sizes", [(128, 8192), (3, 8192), (128, 20)])
def test_stored_outputs_are_what_the_teacher_says(
    teacher: Path, encoded: EncodedText, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "at_once", lambda shape, device: sizes)
    outputs = stored(teacher, encoded)
    assert outputs.plan.live == ()
    assert outputs.plan.message == ""
    for rows in (ROWS, torch.tensor([11])):
        check_text(outputs.batch(rows), said_by(teacher, encoded, rows), encoded.batch(rows).mask)


@pytest.mark.parametrize("budget_bytes", [None, 0])
def test_the_texts_of_pairs_have_a_mean_each(teacher: Path, tmp_path: Path, budget_bytes: int | None) -> None:
    dataset = text_dataset(40, pairs=True)
    assert dataset.train.texts is not None
    pairs = encode_split(dataset.train.texts, dataset.train.text_pairs, save_tokenizer(tmp_path / "tok"), 16)
    outputs = stored(teacher, pairs, Taps(pooled=frozenset({"texts"})), dataset=dataset, budget_bytes=budget_bytes)
    live, batch = said_by(teacher, pairs, ROWS), pairs.batch(ROWS)
    found = outputs.batch(ROWS).texts
    for row in range(len(ROWS)):
        first, second = (batch.mask[row] & (batch.segments[row] == text) for text in (0, 1))
        assert second.any()
        for layer, state in enumerate(live.states):
            close(found[layer][row], torch.stack([state[row, first].mean(dim=0), state[row, second].mean(dim=0)]))


def test_the_batches_of_a_gpu_are_as_large_as_its_memory_allows() -> None:
    width, layers = 384, 6
    shape = TeacherShape(Text(), 2, width, ((width,),) * (layers + 1), ((12, 32),) * layers)
    a_token = 4 * width * (7 + 3 * 6 + 16)  # bytes: of the states, of queries, keys and values, and while a layer runs
    assert store.largest_batch(shape, 20_000 * a_token) == (store.MOST_ROWS, 20_000)
    assert store.largest_batch(shape, 10**12) == (store.MOST_ROWS, store.MOST_TOKENS)
    assert store.largest_batch(shape, 0) == (store.ROWS_AT_ONCE, store.TOKENS_AT_ONCE) == store.at_once(shape, torch.device("cpu"))


def test_only_the_entries_that_are_asked_for_are_read(teacher: Path, encoded: EncodedText) -> None:
    every = stored(teacher, encoded).batch(ROWS)
    some = stored(teacher, encoded, Taps(pooled=frozenset({"cls", "mean"}), entries=(1, 4))).batch(ROWS)
    for name in ("sentences", "means"):
        states = getattr(some, name)
        assert [state.numel() > 0 for state in states] == [False, True, False, False, True]
        for layer in (1, 4):
            assert torch.equal(states[layer], getattr(every, name)[layer])


@pytest.mark.parametrize("budget", [0, None])
def test_a_column_is_that_of_every_row(teacher: Path, encoded: EncodedText, budget: int | None) -> None:
    outputs = stored(teacher, encoded, budget_bytes=budget)
    everyone = outputs.batch(torch.arange(len(outputs)))
    torch.testing.assert_close(outputs.column("logits"), everyone.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(outputs.column("embedding"), everyone.embedding, atol=1e-5, rtol=1e-4)


def test_live_outputs_are_the_same(teacher: Path, encoded: EncodedText) -> None:
    outputs = stored(teacher, encoded, budget_bytes=0)
    assert outputs.plan.stored == ()
    assert not list(outputs.folder.glob("*.safetensors"))
    check_text(outputs.batch(ROWS), said_by(teacher, encoded, ROWS), encoded.batch(ROWS).mask)


def test_the_budget_stores_the_small_kinds_and_says_what_is_live(teacher: Path, encoded: EncodedText) -> None:
    rows, width = 40, 32
    small = rows * 2 * 4 + rows * width * 2 + 2 * 5 * rows * width * 2
    outputs = stored(teacher, encoded, budget_bytes=small + 100)
    assert set(outputs.plan.stored) == {"logits", "embedding", "cls", "mean"}
    assert set(outputs.plan.live) == {"tokens-0", "tokens-2", "tokens-4", "attention-1", "attention-3"}
    assert "over the budget of 28.6 kB" in outputs.plan.message
    tokens = f"tokens-0 ({len(encoded.ids) * width * 2 / 1000:.3g} kB)"
    assert tokens in outputs.plan.message
    check_text(outputs.batch(ROWS), said_by(teacher, encoded, ROWS), encoded.batch(ROWS).mask)
    # What another split has taken counts too; what is stored stays so.
    assert stored(teacher, encoded, split="validation", budget_bytes=small + 100).plan.stored == ()
    assert set(stored(teacher, encoded, budget_bytes=0).plan.stored) == {"logits", "embedding", "cls", "mean"}


def test_the_budget_of_the_environment(teacher: Path, encoded: EncodedText, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODISTILL_STORE_BYTES", "10")
    assert stored(teacher, encoded, Taps()).plan.stored == ()
    monkeypatch.setenv("AUTODISTILL_STORE_BYTES", "4 GB")
    with pytest.raises(UsageError, match="AUTODISTILL_STORE_BYTES is '4 GB'"):
        stored(teacher, encoded, Taps())


def test_only_what_is_missing_is_computed_and_nothing_is_loaded_for_the_rest(
    teacher: Path, encoded: EncodedText, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stored(teacher, encoded, Taps())
    before = {file.name: file.stat().st_mtime_ns for file in first.folder.glob("*.safetensors")}
    assert set(before) == {"logits.safetensors", "embedding.safetensors"}
    seen: list[tuple[str, ...]] = []
    more = Taps(tokens=(4,))
    stored(teacher, encoded, more, progress=lambda at: seen.append(at.kinds))
    assert set(seen) == {("tokens-4",)}
    assert all((first.folder / name).stat().st_mtime_ns == stamp for name, stamp in before.items())

    def refuse(*_: object) -> None:
        raise AssertionError("the teacher is loaded")

    monkeypatch.setattr(store, "load_teacher", refuse)
    outputs = stored(teacher, encoded, more)
    outputs.batch(ROWS)
    with pytest.raises(AssertionError, match="the teacher is loaded"):
        stored(teacher, encoded, Taps(tokens=(3,)))


def test_everything_that_changes_outputs_has_a_folder_of_its_own(tmp_path: Path, teacher: Path, encoded: EncodedText) -> None:
    tokenizer = save_tokenizer(tmp_path / "tok")
    assert DATASET.train.texts is not None
    other_rows = encode_split(DATASET.train.texts[::-1], None, tokenizer, 16)
    shorter = encode_split(DATASET.train.texts, None, tokenizer, 6)
    folders = [
        stored(teacher, encoded, Taps()).folder,
        stored(teacher, encoded, Taps(), split="validation").folder,
        stored(teacher, encoded, Taps(), view="random-1").folder,
        stored(teacher, encoded, Taps(), dataset=replace(DATASET, fingerprint="other")).folder,
        stored(teacher, other_rows, Taps()).folder,
        stored(teacher, shorter, Taps()).folder,
        stored(save_bert(tmp_path / "other", seed=1), encoded, Taps()).folder,
    ]
    assert len(set(folders)) == len(folders)
    save_bert(teacher, seed=2)  # the same folder with other weights
    assert stored(teacher, encoded, Taps()).folder not in folders


def test_image_outputs(tmp_path: Path) -> None:
    dataset = image_dataset(20)
    folder = finetune_teacher(dataset, Teacher(model="timm:resnet10t", init="scratch", epochs=0), 0, device="cpu").folder
    assert dataset.train.images is not None
    inputs = EncodedImages(dataset.train.images)
    taps = Taps(pooled=frozenset({"mean"}), maps=(1, 4))
    rows = torch.tensor([3, 19, 0])
    live = said_by(folder, inputs, rows)
    for budget in (1 << 30, 0):
        outputs = stored(folder, inputs, taps, dataset=dataset, budget_bytes=budget, view=str(budget))
        batch = outputs.batch(rows)
        torch.testing.assert_close(batch.logits, live.logits, atol=1e-4, rtol=1e-4)
        close(batch.embedding, live.embedding)
        assert len(batch.means) == len(live.states) == 5
        for mine, state in zip(batch.means, live.states, strict=True):
            close(mine, state.mean(dim=(2, 3)))
        for stage in (1, 4):
            close(batch.states[stage], live.states[stage])
        assert batch.states[0].numel() == 0
    with pytest.raises(RunError, match=r"'cls' is wanted, but this image teacher has 5 states"):
        stored(folder, inputs, Taps(pooled=frozenset({"cls"})), dataset=dataset)


def test_layers_that_the_teacher_lacks_are_told(teacher: Path, encoded: EncodedText) -> None:
    for taps in (Taps(tokens=(5,)), Taps(attention=(4,)), Taps(maps=(0,))):
        with pytest.raises(RunError, match=r"text teacher has 5 states and 4 attention layers, counted from 0"):
            stored(teacher, encoded, taps)


def test_no_teacher_no_outputs(tmp_path: Path, encoded: EncodedText) -> None:
    with pytest.raises(ModelError, match="holds no fine-tuned teacher"):
        stored(tmp_path / "nowhere", encoded)


def test_a_teacher_of_broken_weights_is_told(teacher: Path, encoded: EncodedText) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(teacher / "model.safetensors")
    tensors["classifier.bias"][:] = float("nan")
    save_file(tensors, teacher / "model.safetensors", {"format": "pt"})
    with pytest.raises(RunError, match="not finite"):
        stored(teacher, encoded, Taps())
    assert not list(Path(os.environ["AUTODISTILL_CACHE"]).rglob("logits.safetensors*"))


def test_a_full_disk_is_told(teacher: Path, encoded: EncodedText, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RunError, match=r"cannot be written: No space left on device\. Make room or .* AUTODISTILL_CACHE"):
        stored(teacher, encoded, Taps())
    assert not list(Path(os.environ["AUTODISTILL_CACHE"]).rglob("logits.safetensors*"))


def test_files_are_plain_safetensors_in_half_precision(teacher: Path, encoded: EncodedText) -> None:
    outputs = stored(teacher, encoded)
    with safe_open(outputs.folder / "tokens-2.safetensors", framework="np") as file:
        tokens = file.get_tensor("tokens")
    assert tokens.dtype == np.float16
    assert tokens.shape == (len(encoded.ids), 32)  # no padding
    with safe_open(outputs.folder / "logits.safetensors", framework="np") as file:
        assert file.get_tensor("logits").dtype == np.float32


def test_outputs_can_be_trained_against(teacher: Path, encoded: EncodedText) -> None:
    """They are ordinary tensors, live ones too: a loss of them and a student can be differentiated."""
    for budget in (0, None):
        weight = torch.ones(32, requires_grad=True)
        (stored(teacher, encoded, budget_bytes=budget).batch(ROWS).embedding * weight).sum().backward()
        assert weight.grad is not None


def work(teacher: Path, encoded: EncodedText, pause: float, messages: Any) -> None:
    """What a second process does: store, and tell each batch and a sum of the outputs."""
    torch.set_num_threads(1)

    def tell(progress: OutputsProgress) -> None:
        messages.put(progress.done)
        time.sleep(pause)

    outputs = stored(teacher, encoded, Taps(tokens=(4,)), progress=tell)
    messages.put(f"sum {float(outputs.batch(torch.arange(len(encoded))).states[4].sum())}")


def start(teacher: Path, encoded: EncodedText, pause: float) -> tuple[Any, Any]:
    context = multiprocessing.get_context("fork")  # the others would import torch anew
    messages = context.Queue()
    process = context.Process(target=work, args=(teacher, encoded, pause, messages))
    process.start()
    return process, messages


@pytest.fixture
def many(tmp_path: Path) -> EncodedText:
    lines = text_dataset(300).train.texts
    assert lines is not None
    return encode_split(lines, None, save_tokenizer(tmp_path / "tok"), 16)


def test_killed_in_the_middle_it_leaves_no_half_store(teacher: Path, many: EncodedText, isolated_cache: Path) -> None:
    process, messages = start(teacher, many, pause=60.0)
    assert messages.get(timeout=60) == 128  # one batch is written, and it sleeps before the next
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(isolated_cache.rglob("tokens-4.safetensors.part-*"))
    assert not list(isolated_cache.rglob("tokens-4.safetensors"))
    done: list[int] = []
    outputs = stored(teacher, many, Taps(tokens=(4,)), progress=lambda at: done.append(at.done))
    assert done == [128, 256, 300]  # all of it anew
    close(outputs.batch(ROWS).states[4], said_by(teacher, many, ROWS).states[4] * many.batch(ROWS).mask[..., None])
    assert not list(isolated_cache.rglob("*.part-*"))


def test_of_two_processes_one_computes_and_the_other_reads(teacher: Path, many: EncodedText) -> None:
    both = [start(teacher, many, pause=0.2) for _ in range(2)]
    received: list[list[Any]] = []
    for process, messages in both:
        received.append([])
        while not received[-1] or not isinstance(received[-1][-1], str):
            received[-1].append(messages.get(timeout=60))
        process.join()
        assert process.exitcode == 0
    assert received[0][-1] == received[1][-1]  # the same sum
    assert sorted(len(one) for one in received) == [1, 4]


def test_reading_maps_the_files(teacher: Path, encoded: EncodedText) -> None:
    outputs = stored(teacher, encoded, Taps(tokens=(4,)))
    path = str(outputs.folder / "tokens-4.safetensors")
    assert path in Path("/proc/self/maps").read_text()
