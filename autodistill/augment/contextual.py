"""Contextual augmentation: words are replaced by the predictions of a masked language model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file

from autodistill.augment.neighbours import Vocabulary, vocabulary
from autodistill.cache import ensure
from autodistill.components import TEXT, component
from autodistill.errors import ModelError, explained
from autodistill.models.base import pick_device
from autodistill.models.sources import quiet, source_folder, weight_files
from autodistill.models.text import load_tokenizer
from autodistill.storage import cache_folder, digest, file_fingerprint, new_tensors

_LOGITS_AT_ONCE = 2**26
_LONGEST = 512
_WORD = re.compile(r"^(\W*)([^\W\d_](?:.*\w)?)(\W*)$", re.DOTALL)
_WAY_OUT = "give augmentation.masked_lm the folder or hub id of a masked language model (bert-base-uncased, say), or use another kind"


@component("augmentation", tasks=TEXT, level="texts")
def contextual(
    texts: list[str],
    rng: np.random.Generator,
    teacher_model: str,
    device: str,
    *,
    strength: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1,
    masked_lm: Annotated[str, Field(min_length=1)] = "teacher",
    guesses: Annotated[int, Field(ge=1, le=1000)] = 10,
) -> list[str]:
    """Contextual: with probability `strength`, a word is replaced by a masked language model's prediction for its place.

    All chosen words of a text are masked at once. Each replacement is drawn from the `guesses` most likely other words, weighted by
    probability. Words beyond the model's longest input stay as they are. masked_lm: a folder or hub id; `teacher` means the
    checkpoint that the recipe's teacher was fine-tuned from, which must still have its masked-language-model head. The model runs once
    for each view, and its predictions are cached; on another kind of machine rounding may lead to other predictions.

    Source: Kobayashi 2018, "Contextual Augmentation: Data Augmentation by Words with Paradigmatic Relations", with a masked
    language model as in Wu et al. 2019, "Conditional BERT Contextual Augmentation", here not conditional on the label.
    When: small training sets; more fluent than synonyms, but like them it may change the label.

    Raises:
        ModelError: there is no masked language model.
    """
    words = [text.split() for text in texts]
    places = [(row, place) for row, line in enumerate(words) for place, word in enumerate(line) if _WORD.match(word)]
    hit = np.flatnonzero(rng.random(len(places)) < strength)
    draws = rng.random(len(hit))
    chosen = [places[index] for index in hit]
    if not chosen:
        return list(texts)
    folder = _folder(teacher_model if masked_lm == "teacher" else masked_lm)
    tokenizer = load_tokenizer(folder)
    weights = [file_fingerprint(file) for file in weight_files(folder)]
    inputs = digest(*texts), hit.tobytes(), draws.tobytes(), str(guesses)
    key = digest("contextual-1", *weights, tokenizer.backend_tokenizer.to_str(), *inputs)
    path = cache_folder() / "contextual" / f"{key}.safetensors"

    def write() -> None:
        predicted = _predict(words, chosen, draws, folder, tokenizer, guesses, pick_device(device))
        with new_tensors(path, {"ids": ("int32", predicted.shape)}) as arrays:
            arrays["ids"][:] = predicted

    ensure(path, write)
    for (row, place), token in zip(chosen, load_file(path)["ids"].tolist(), strict=True):
        if token >= 0:
            before, _, after = _parts(words[row][place])
            words[row][place] = before + tokenizer.decode([token]).strip() + after
    changed = {row for row, _ in chosen}
    return [" ".join(words[row]) if row in changed else text for row, text in enumerate(texts)]


def _predict(
    words: list[list[str]],
    chosen: list[tuple[int, int]],
    draws: np.ndarray,
    folder: Path,
    tokenizer: Any,
    guesses: int,
    device: torch.device,
) -> np.ndarray:
    """The model's words for the chosen places: (places,) int32 token ids, −1 for places beyond its longest input."""
    if tokenizer.mask_token is None:
        raise ModelError(f"the tokenizer in {folder} has no mask token; {_WAY_OUT}")
    model = _load(folder).to(device)
    vocab = vocabulary(tokenizer)
    lines = _mask(words, chosen, tokenizer.mask_token)
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", _LONGEST) - 2, _LONGEST)
    encoded = tokenizer([line.text for line in lines], truncation=True, max_length=longest)
    lengths = np.array([len(ids) for ids in encoded["input_ids"]])
    order = np.argsort(-lengths, kind="stable").tolist()
    predicted = np.full(len(chosen), -1, dtype=np.int32)
    at = 0
    while at < len(order):
        part = order[at : at + max(1, _LOGITS_AT_ONCE // int(lengths[order[at]] * model.config.vocab_size))]
        at += len(part)
        masks = [  # the row in the batch, the token, the place in `chosen`
            (row, encoded.char_to_token(number, start), place)
            for row, number in enumerate(part)
            for place, start in zip(lines[number].places, lines[number].starts, strict=True)
        ]
        masks = [mask for mask in masks if mask[1] is not None]
        if not masks:
            continue
        rows, tokens, places = (list(column) for column in zip(*masks, strict=True))
        batch = tokenizer.pad({name: [encoded[name][number] for number in part] for name in encoded}, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**batch.to(device)).logits[rows, tokens].float().cpu()
        originals = [_parts(words[row][place])[1] for row, place in (chosen[index] for index in places)]
        predicted[places] = _draw(logits[:, : len(vocab.word)], originals, draws[places], vocab, guesses)
    return predicted


def _draw(logits: torch.Tensor, originals: list[str], draws: np.ndarray, vocab: Vocabulary, guesses: int) -> np.ndarray:
    """For each row of logits (P, V), one of the most likely words, drawn by their probabilities; never the original."""
    word = torch.from_numpy(vocab.word)[: logits.shape[1]]
    original = torch.tensor([vocab.numbers.get(text.casefold(), -1) for text in originals])
    logits = logits.masked_fill((word < 0) | (word == original[:, None]), -torch.inf)
    top = logits.topk(min(guesses, len(word)), dim=1)
    reached = top.values.softmax(dim=1).double().cumsum(dim=1)
    column = (reached <= torch.from_numpy(draws)[:, None] * reached[:, -1:]).sum(dim=1)
    return top.indices.gather(1, column[:, None]).squeeze(1).numpy().astype(np.int32)


class _Line(NamedTuple):
    """A text with masks. places: the masks' indices among the chosen places. starts: the character at which each mask begins."""

    text: str
    places: list[int]
    starts: list[int]


def _mask(words: list[list[str]], chosen: list[tuple[int, int]], mask: str) -> list[_Line]:
    """The texts that have chosen places, with a mask in each of these places."""
    of_row: dict[int, dict[int, int]] = {}
    for index, (row, place) in enumerate(chosen):
        of_row.setdefault(row, {})[place] = index
    lines = []
    for row, places in of_row.items():
        pieces, starts, at = [], [], 0
        for place, word in enumerate(words[row]):
            if place in places:
                before, _, after = _parts(word)
                starts.append(at + len(before))
                word = before + mask + after
            pieces.append(word)
            at += len(word) + 1
        lines.append(_Line(" ".join(pieces), list(places.values()), starts))
    return lines


def _parts(word: str) -> tuple[str, str, str]:
    """The punctuation before a word, the word, and the punctuation after it."""
    match = _WORD.match(word)
    assert match is not None, "only words are chosen"
    return match[1], match[2], match[3]


def _folder(model: str) -> Path:
    try:
        return source_folder(model)
    except ModelError as cause:
        raise ModelError(f"augmentation contextual: there is no masked language model {model!r} ({cause}); {_WAY_OUT}") from None


def _load(folder: Path) -> Any:
    from transformers import AutoModelForMaskedLM

    refusal = f"augmentation contextual: {folder} is not a masked language model"
    with explained(lambda reason: ModelError(f"{refusal} ({reason}); {_WAY_OUT}")), quiet():
        model, report = AutoModelForMaskedLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32, output_loading_info=True)
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(f"{model.base_model_prefix}."))
    if missing:
        raise ModelError(f"augmentation contextual: {folder} has no masked-language-model head ({missing[0]} is missing); {_WAY_OUT}")
    return model.eval()
