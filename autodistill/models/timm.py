"""Image models: every timm model with stages to tap, as a student or wrapped as a teacher."""

from __future__ import annotations

import difflib
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autodistill.components import IMAGE, component
from autodistill.errors import ModelError
from autodistill.models.base import ImageBatch, Outputs, StudentContext, StudentModule

SMALL_IMAGE, TINY_IMAGE = 64, 40


class TimmModel(StudentModule):
    """Wraps a timm classifier. states: its stages' feature maps (B, C, H, W); embedding: what its last linear layer reads."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def output_layer(self) -> nn.Module:
        """The last layer, as timm names it."""
        return self.model.get_classifier()  # type: ignore[no-any-return]

    def forward(self, batch: ImageBatch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """See `Model`."""
        read: list[Tensor] = []
        handle = self.output_layer.register_forward_pre_hook(lambda _, given: read.append(given[0].flatten(1)))
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


@component("student", tasks=IMAGE)
def timm(context: StudentContext, variant: str, *, init: Literal["random", "pretrained"] = "random") -> TimmModel:
    """A timm model, named after the colon: `timm:resnet10t`, `timm:mobilenetv3_small_050`, …

    On images of at most 64 pixels the first convolution keeps the resolution (stride 1 in place of 2), and up to 40 pixels the
    max-pooling of a ResNet's stem is left out, as is usual on CIFAR (He et al. 2016, section 4.2). Source: Wightman 2019,
    "PyTorch Image Models".

    Raises:
        ModelError: timm has no such model, it has no stages to tap, or its weights cannot be had.
    """
    return build_timm(variant, context.outputs, context.image_size, pretrained=init == "pretrained" and not context.shapes_only)


def build_timm(name: str, outputs: int, image_size: int, pretrained: bool) -> TimmModel:
    """A timm model with `outputs` logits for images of image_size × image_size.

    Raises:
        ModelError: timm has no such model, it has no stages to tap, or its weights cannot be had.
    """
    from timm import create_model

    check_name(name)
    if pretrained:
        _check_weights(name)
    keywords: dict[str, Any] = {"num_classes": outputs, "pretrained": pretrained}
    model: Any
    try:
        try:
            model = create_model(name, img_size=image_size, **keywords)  # transformers need it, and convolutional nets refuse it
        except TypeError:
            model = create_model(name, **keywords)
    except (AssertionError, ValueError, RuntimeError) as cause:
        raise _unfit(name, image_size, cause) from None
    except OSError as cause:
        raise _unreachable(name, cause) from None
    if not hasattr(model, "forward_intermediates") or not isinstance(model.get_classifier(), nn.Linear | nn.Conv2d):
        raise ModelError(f"timm:{name} has no stages to tap or no single classifier; choose one such as resnet18")
    if image_size <= SMALL_IMAGE:
        _keep_resolution(model, image_size)
    # Small convolutions take two thirds of the time where channels are last, on CPUs too; batches of images come so (image.py).
    built = TimmModel(model).to(memory_format=torch.channels_last).eval()
    try:
        with torch.no_grad():
            pixels = torch.zeros(1, 3, image_size, image_size, device=next(built.parameters()).device)
            built(ImageBatch(pixels), taps=frozenset({"states"}))
    except (AssertionError, ValueError, RuntimeError) as cause:
        raise _unfit(name, image_size, cause) from None
    return built.train()


def check_name(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        ModelError: with the names that are near.
    """
    from timm import is_model, list_models

    if not is_model(name.partition(".")[0]):
        near = difflib.get_close_matches(name, list_models(), n=3, cutoff=0.5)
        guess = f" Near ones: {', '.join(near)}." if near else ""
        raise ModelError(f"timm has no model {name!r}.{guess} All of them: python -c 'import timm; print(timm.list_models())'")


def normalisation(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of the RGB channels that a timm model wants; ImageNet's where it says none."""
    from timm import get_pretrained_cfg

    from autodistill.models.image import IMAGENET_MEAN, IMAGENET_STD

    config = get_pretrained_cfg(name)
    return (tuple(config.mean), tuple(config.std)) if config else (IMAGENET_MEAN, IMAGENET_STD)  # type: ignore[return-value]


def _check_weights(name: str) -> None:
    """Refuse a model whose weights cannot be had. The hub is asked once: its downloads try for much longer before they give up."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from timm import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None or not (config.url or config.hf_hub_id or config.file):
        raise ModelError(f"timm:{name} has no pretrained weights; use init: random (a teacher: init: scratch), or another model")
    hub_id = config.hf_hub_id
    if not hub_id or any(isinstance(try_to_load_from_cache(hub_id, file), str) for file in ("model.safetensors", "pytorch_model.bin")):
        return
    try:
        HfApi().model_info(hub_id, timeout=10.0)
    except Exception as cause:  # the errors of whatever HTTP library the hub's client was built with
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


def _keep_resolution(model: nn.Module, image_size: int) -> None:
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    if first.stride == (2, 2):
        first.stride = (1, 1)
    if image_size <= TINY_IMAGE and isinstance(getattr(model, "maxpool", None), nn.MaxPool2d):
        model.maxpool = nn.Identity()
