"""8-bit weights for an ONNX file, by onnxruntime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from autodistill.errors import RunError, explained
from autodistill.export.asking import Arrays

OPERATORS = ("Conv", "MatMul", "Gemm", "Gather", "Relu", "Clip")
"""What works on 8-bit integers. Relu and Clip are among them because a convolution's outputs are then rounded within their bounds: without
them a student of images lost ten points. Sums (Add) are not: those of a transformer's residual connections cost it more than a point."""
LSTM, EMBEDDING = "LSTM", "Gather"


def quantise(source: Path, path: Path, batches: Iterable[Arrays]) -> None:
    """Write an ONNX file with 8-bit weights and activations.

    A convolution or linear layer has one scale for each output channel, an embedding one. Activations are rounded within fixed ranges, from
    the smallest to the largest value that occurs in the batches; so a file needs no ranges at run time, which onnxruntime's dynamic
    quantisation measures anew for each input. Only the weights of an LSTM are quantised dynamically: there is no other operator for it.

    Weights that are multiplied use 7 of the 8 bits (`reduce_range`). With 8, x86 processors without VNNI overflow where they add pairs of
    products in 16 bits: a student of images lost four points there.

    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"; a scale for
    each channel: Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference".

    Args:
        source: the float32 file.
        batches: its inputs, by name.

    Raises:
        RunError: onnxruntime cannot do it.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

    class Reader(CalibrationDataReader):
        left = iter(batches)

        def get_next(self) -> Any:
            return next(self.left, None)

    model = onnx.load(source)
    del model.graph.value_info[:]  # shapes from before quantising: the quantiser transposes weights, and would find contradictions
    failed = explained(lambda reason: RunError(f"onnxruntime cannot give this student 8-bit weights ({reason}); use the format onnx"))
    with failed, quiet_packages():
        if any(node.op_type == LSTM for node in model.graph.node):
            quantize_dynamic(model, path, op_types_to_quantize=[LSTM], weight_type=QuantType.QInt8, reduce_range=True)
            model = onnx.load(path)
        held = {item.name for item in model.graph.initializer}
        looked_up = {node.input[0] for node in model.graph.node if node.op_type == EMBEDDING} & held  # and not multiplied
        quantize_static(
            model,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            extra_options={"TensorQuantOverrides": {name: [{"quant_type": QuantType.QUInt8, "reduce_range": False}] for name in looked_up}},
        )


@contextlib.contextmanager
def quiet_packages() -> Iterator[None]:
    """Keep the progress and the internal warnings of torch's exporter and of onnxruntime's quantiser off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
