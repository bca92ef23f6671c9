"""Quantisation-aware training rounds as onnxruntime does, and gives back what rounding took."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autodistill.errors import DivergedError, RunError, UsageError
from autodistill.export import onnx as exporting
from autodistill.export import qat
from autodistill.export.int8 import qat_result
from autodistill.export.quantise import quantise
from autodistill.export.student import onnx_run
from autodistill.recipe import Recipe

TENSORS = {
    "both signs": torch.linspace(-1.0, 3.0, 37) ** 3,
    "far from zero": torch.linspace(2.0, 5.0, 33),
    "all below": -torch.linspace(0.1, 0.7, 20),
    "zeros": torch.zeros(8),
    "one far out": torch.cat([torch.linspace(-0.1, 0.1, 64), torch.tensor([9.0])]),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("grid", [qat.ACTIVATIONS, qat.LSTM_WEIGHTS], ids=["uint8", "int8"])
def test_a_tensor_is_rounded_as_onnxruntime_quantises_it(name: str, grid: qat.Grid) -> None:
    quant_utils = pytest.importorskip("onnxruntime.quantization.quant_utils")
    from onnx import TensorProto

    values = TENSORS[name]
    kind = TensorProto.INT8 if grid.symmetric else TensorProto.UINT8
    zero, scale, integers = quant_utils.quantize_data(values.numpy(), kind, grid.symmetric, reduce_range=grid.symmetric)
    assert tuple(map(float, grid.of(values))) == (float(scale), int(zero))
    np.testing.assert_array_equal(grid.integers(values).numpy(), integers)
    np.testing.assert_array_equal(qat.rounded(values, grid).numpy(), (integers.astype(np.float32) - np.float32(zero)) * np.float32(scale))


def test_the_gradient_is_that_at_the_rounded_weights() -> None:
    """Of L = ½ |W x|² by W, with W rounded: (W x) xᵀ, as if the rounding were the identity."""
    torch.manual_seed(0)
    weights, x = torch.randn(4, 3, requires_grad=True), torch.randn(3)
    there = qat.rounded(weights)
    (0.5 * (there @ x).square().sum()).backward()
    assert not torch.equal(there, weights)
    torch.testing.assert_close(weights.grad, torch.outer(there.detach() @ x, x))


class Model(nn.Module):
    """Layers whose weights onnxruntime quantises, and biases, which it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(12, 8)
        self.across = nn.Conv1d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.across(self.words(ids).transpose(1, 2)).relu().amax(dim=2))


def write(module: nn.Module, path: Path) -> None:
    """The model as an ONNX file, written by hand, because torch takes seconds."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    weights = {name: value.detach().numpy() for name, value in module.named_parameters()} | {"end": np.array([2])}
    weights["head.weight"] = weights["head.weight"].T  # as torch writes linear layers
    nodes = [
        ("Gather", ["words.weight", "ids"], "words", {}),
        ("Transpose", ["words"], "turned", {"perm": [0, 2, 1]}),
        ("Conv", ["turned", "across.weight", "across.bias"], "features", {"pads": [1, 1]}),
        ("Relu", ["features"], "positive", {}),
        ("ReduceMax", ["positive", "end"], "texts", {"keepdims": 0}),
        ("MatMul", ["texts", "head.weight"], "products", {}),
        ("Add", ["products", "head.bias"], "logits", {}),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, names, [out], **fields) for kind, names, out, fields in nodes],
        "model",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


IDS = torch.randint(12, (64, 9), generator=torch.Generator().manual_seed(1))


def quantised(module: nn.Module, folder: Path) -> Path:
    write(module, folder / "float32.onnx")
    quantise(folder / "float32.onnx", folder / "model.onnx", [{"ids": IDS.numpy()}])
    return folder / "model.onnx"


def exactly(path: Path) -> np.ndarray:
    """The logits of a file as ONNX specifies them, each operator by itself."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(None, {"ids": IDS.numpy()})[0]
    return logits


def held_weights(path: Path) -> dict[str, np.ndarray]:
    """The weights of an int8 file as real numbers, by the specification of ONNX's DequantizeLinear."""
    from onnx import load, numpy_helper

    graph = load(path).graph
    held = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    weights = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in held:
            integers, scale, zero = (held[name] for name in node.input)
            shape = [1] * integers.ndim
            if scale.ndim:
                shape[node.attribute[0].i] = -1
            real = (integers.astype(np.float32) - zero.reshape(shape).astype(np.float32)) * scale.reshape(shape)
            weights[node.input[0].removesuffix("_quantized")] = real
    return weights


@pytest.fixture
def model() -> nn.Module:
    """One weight of its convolution is far out, so that the others of its channel have few of the 256 values left."""
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    module = Model().eval()
    with torch.no_grad():
        module.get_parameter("across.weight")[0, 0, 0] = 12.0
    return module


def test_the_rounded_model_is_the_int8_file(model: nn.Module, tmp_path: Path) -> None:
    path = quantised(model, tmp_path)
    grids = qat.rounded_weights(model, path)
    assert grids == {"words.weight": qat.ACTIVATIONS, "across.weight": qat.CHANNELS, "head.weight": qat.CHANNELS}
    weights = {name: qat.rounded(model.get_parameter(name), grid) for name, grid in grids.items()}
    for name, held in held_weights(path).items():
        if name in weights:  # and not a bias
            turned = held.T if name == "head.weight" else held
            np.testing.assert_allclose(weights[name].detach().numpy(), turned, atol=1e-7, err_msg=name)
    with torch.no_grad(), qat._rounded_inputs(model, grids):
        said = torch.func.functional_call(model, weights, (IDS,)).numpy()
    file, float32 = exactly(path), exactly(tmp_path / "float32.onnx")
    step = np.ptp(float32) / 255  # the file also rounds what leaves a layer
    assert np.abs(said - file).mean() < step
    assert np.abs(float32 - file).mean() > 2 * step
    run = onnx_run(path)
    np.testing.assert_allclose(run({"ids": IDS.numpy()}), file, atol=2 * step)  # no sum overflows, whatever the processor
    np.testing.assert_array_equal(
        run({"ids": IDS[:1].numpy()}), run({"ids": IDS.numpy()})[:1]
    )  # ranges are fixed, so other rows do not matter


def test_what_onnxruntime_cannot_quantise_ends_with_a_sentence(model: nn.Module, tmp_path: Path) -> None:
    write(model, tmp_path / "float32.onnx")
    with pytest.raises(RunError, match=r"cannot give this student 8-bit weights \(.*\); use the format onnx"):
        quantise(tmp_path / "float32.onnx", tmp_path / "model.onnx", [{"other": IDS.numpy()}])


def test_a_convolution_with_its_batch_normalisation_in_the_file_is_found(model: nn.Module, tmp_path: Path) -> None:
    """Folded: a channel's weights times γ / √(σ² + ε), which may be negative."""
    path = quantised(model, tmp_path)
    torch.manual_seed(1)
    unfolded = Model().eval()
    unfolded.load_state_dict(model.state_dict())
    with torch.no_grad():
        unfolded.across.weight /= torch.tensor([1.7, -0.3, 2.9, 0.11, -1.3, 5.1, 0.7, -0.9]).view(8, 1, 1)
    assert qat.rounded_weights(unfolded, path)["across.weight"] == qat.CHANNELS
    with torch.no_grad():
        unfolded.across.weight.copy_(torch.randn(8, 8, 3) ** 3)
    assert "across.weight" not in qat.rounded_weights(unfolded, path)


def test_the_gates_of_an_lstm_may_stand_in_another_order(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper, save_model

    torch.manual_seed(0)
    module = nn.LSTM(5, 4)
    gates = {name: value.detach().view(4, 4, -1)[[0, 3, 1, 2]].reshape(1, 16, -1) for name, value in module.named_parameters()}
    biases = torch.cat([gates.pop("bias_ih_l0").view(1, -1), gates.pop("bias_hh_l0").view(1, -1)], dim=1)
    node = helper.make_node("LSTM", ["x", *gates, "biases"], ["states"], hidden_size=4)
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6, 2, 5])],
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, [6, 1, 2, 4])],
        [numpy_helper.from_array(value.numpy(), name) for name, value in (gates | {"biases": biases}).items()],
    )
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "float32.onnx")
    quantise(tmp_path / "float32.onnx", tmp_path / "int8.onnx", [{"x": torch.randn(6, 2, 5).numpy()}])
    assert qat.rounded_weights(module, tmp_path / "int8.onnx") == dict.fromkeys(gates, qat.LSTM_WEIGHTS)


def test_training_brings_the_int8_outputs_closer(model: nn.Module, tmp_path: Path) -> None:
    def apart() -> float:
        return float(np.abs(exactly(quantised(model, tmp_path)) - wanted).mean())

    with torch.no_grad():
        model.get_parameter("across.weight")[0, 0, 0] = 0.0
        model.get_parameter("words.weight")[0, 0] = 60.0  # so all other words have few of the 256 values left
        model.get_parameter("across.weight")[:, 0] *= 0.02  # and the logits' range, by which they are rounded, does not grow
        wanted = model(IDS).numpy()
    before, losses = apart(), []
    grids = qat.rounded_weights(model, tmp_path / "model.onnx")
    options: dict[str, Any] = {"batch_size": 32, "steps": 60, "step_done": lambda step, loss: losses.append(loss)}
    soft_loss = {"kind": "mse"}
    qat.fine_tune(model, grids, lambda rows: {"ids": IDS[rows].numpy()}, 64, soft_loss, learning_rate=3e-3, **options)
    assert apart() < 0.8 * before
    assert len(losses) == 60
    with pytest.raises(DivergedError, match="the loss of the fine-tuning is not a finite number in step 2; export without --qat"):
        qat.fine_tune(model, grids, lambda rows: {"ids": IDS[rows].numpy()}, 64, soft_loss, learning_rate=float("inf"), **options)


@pytest.mark.parametrize(("loss", "after", "kept"), [(0.004, 1.0, "int8"), (0.006, 0.8, "int8"), (0.006, 0.9, "int8_after_qat")])
def test_the_better_int8_file_is_kept(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float, after: float, kept: str
) -> None:
    asked = {"task": "text-classification", "teacher": {"model": "t"}, "student": {"family": "cnn"}, "training": {"batch_size": 8}}
    (tmp_path / "recipe.yaml").write_text(Recipe.parse(asked).to_yaml(), encoding="utf-8")
    before = quantised(model, tmp_path).read_bytes()
    rows = SimpleNamespace(rows=lambda split, places: IDS[places])
    data: Any = SimpleNamespace(all_training_rows=IDS, train=IDS, modality=rows)
    target = SimpleNamespace(soft_loss={"kind": "mse"})

    def encode(ids: Any) -> dict[str, np.ndarray]:
        return {"ids": np.stack([np.asarray(row) for row in ids])}

    student: Any = SimpleNamespace(folder=tmp_path, about={"family": "cnn"}, target=target, encode=encode)
    monkeypatch.setattr(qat, "STEPS", 3)
    monkeypatch.setattr(exporting, "traceable", lambda student: model)
    monkeypatch.setattr(exporting, "write_onnx", lambda student, data, path, module: write(module, path))
    monkeypatch.setattr(exporting, "_checked", lambda *_: {"validation": {"onnx": after}, "of": "the trained one"})
    plain, small = {"validation": {"onnx": 0.9}}, {"validation": {"onnx": 0.9 - loss}, "beside_float32": {"loss": loss}}
    folders: Any = {"float32": tmp_path, "int8": tmp_path}
    facts = exporting._trained_for_int8(student, data, folders, plain, small, lambda event: None)
    tried = loss > 0.005
    assert facts["qat"]["validation"] == {"float32": 0.9, "int8": 0.9 - loss} | ({"int8_after_qat": after} if tried else {})
    assert (facts["qat"]["kept"], facts["qat"]["steps"]) == (kept, 3 if tried else 0)
    assert (facts.get("of") == "the trained one") == ((tmp_path / "model.onnx").read_bytes() != before) == (kept == "int8_after_qat")
    words = {
        0.004: "0.9000 float32, 0.8960 int8; no training, as int8 loses at most 0.005",
        0.006: f"0.9000 float32, 0.8940 int8, {after:.4f} int8 after 3 steps of training; ",
    }
    assert qat_result(facts["qat"]).startswith(words[loss])
    if tried:
        monkeypatch.setattr(exporting, "traceable", lambda student: nn.Linear(2, 2))
        with pytest.raises(UsageError, match="none of the 8-bit weights in the file of this cnn student is one of its own parameters"):
            exporting._trained_for_int8(student, data, folders, plain, small, lambda event: None)
