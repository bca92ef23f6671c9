"""What 8-bit weights cost a student: in numbers, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEPT = {False: "int8", True: "int8_after_qat"}
INT8_LOSS = 0.005
"""The largest loss of score with which 8-bit weights are still recommended: half a point."""


def beside_float32(latency: Mapping[str, float], float32: float, int8: float) -> dict[str, Any]:
    """Compare 8-bit weights with 32-bit ones. latency: `onnx_float32` and `onnx`, in milliseconds; float32, int8: the scores."""
    speedup, loss = latency["onnx_float32"] / latency["onnx"], float32 - int8
    reasons = [f"it is {speedup:.2f} times as fast as float32 here"] if speedup > 1 else ["it is not faster than float32 here"]
    reasons.append(f"it loses {max(loss, 0.0):.4f} of the score")
    recommended = speedup > 1 and loss <= INT8_LOSS
    return {"speedup": speedup, "loss": loss, "recommended": recommended, "reasons": reasons}


def int8_advice(beside: Mapping[str, Any]) -> str:
    """The result of `beside_float32`, as a sentence without its full stop."""
    which = "recommended" if beside["recommended"] else "not recommended, use float32"
    return f"{which}: {' and '.join(beside['reasons'])} (at most {INT8_LOSS} is accepted)"


def qat_result(facts: Mapping[str, Any]) -> str:
    """What quantisation-aware training gave, as a sentence without its full stop. facts: `qat` of an exported folder's export.json."""
    scores = facts["validation"]
    text = f"{scores['float32']:.4f} float32, {scores['int8']:.4f} int8"
    if not facts["steps"]:
        return f"{text}; no training, as int8 loses at most {INT8_LOSS}"
    which = "the trained one" if facts["kept"] == KEPT[True] else "the one before training"
    return f"{text}, {scores['int8_after_qat']:.4f} int8 after {facts['steps']} steps of training; {which} is kept"
