"""Students of images that are the first stages of a pretrained timm network, with a new head."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from autodistill.components import IMAGE, component
from autodistill.errors import ModelError, RecipeError
from autodistill.models.base import ImageBatch, Normalisation, Outputs, StudentContext, StudentModule
from autodistill.models.family import SavedStudent, StudentFamily
from autodistill.models.reread import renormalisation
from autodistill.models.timm import create_timm, described, keep_resolution, normalisation, require_weights, run_once
from autodistill.models.writing import write_json, write_loader, write_weights
from autodistill.recipe.parts import Component


class Cut(StudentModule):
    """The stages of a network, the mean over the positions of the last one's maps, and a linear layer.

    states: the maps of each stage, (B, C, H, W). embedding: the mean, (B, C).
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: Any, stages: int, num_outputs: int, width: int, image_size: int, given: Normalisation, own: Normalisation):
        """image_size: smaller images are enlarged to it. given: how images are normalised. own: how the network expects them."""
        super().__init__()
        self.network, self.stages, self.image_size = network, list(range(stages)), image_size
        self.head = nn.Linear(width, num_outputs)
        self.same = given == own
        scale, shift = renormalisation(given, own)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def read(self, pixels: Tensor) -> Tensor:
        """The images as the network reads them."""
        pixels = pixels if self.same else pixels * self.scale + self.shift
        if pixels.shape[-1] >= self.image_size:
            return pixels
        return F.interpolate(pixels, (self.image_size, self.image_size), mode="bilinear", align_corners=False)

    @property
    def output_layer(self) -> nn.Module:
        """The linear layer."""
        return self.head

    def forward(self, batch: ImageBatch, *, taps: frozenset[str] = frozenset()) -> Outputs:
        """See `Model`."""
        states = self.network.forward_intermediates(self.read(batch.pixels), indices=self.stages, intermediates_only=True)
        embedding = states[-1].mean(dim=(2, 3))
        return Outputs(self.head(embedding), embedding, states if "states" in taps else [])


@component("student", kind="cut", tasks=IMAGE, size=("stages", "image_size"))
class CutFamily(StudentFamily):
    """The first stages of a timm network, which is named after the colon: `cut:tf_efficientnet_lite0`.

    stages: how many of its stages, as timm counts them (`feature_info`): each but the first halves the maps. init `pretrained`: the
    network's own weights; `random`: none, as a control. image_size: images with fewer pixels a side are enlarged to this size; 0 leaves
    them as they are.

    The last stages of a network hold most of its parameters, and the first ones what is of use for other images. Up to 64 pixels the
    first convolution has stride 1, as in the family `timm`, so the stages see what they were pretrained on at twice the size. The network
    reads pixels with the normalisation of its own pretraining, whatever that of the teacher.

    Source: Yosinski et al. 2014, "How transferable are features in deep neural networks?" (what the first layers learn is general);
    for texts the same is done by Sun et al. 2019 and Sanh et al. 2019, whose students start from some of their teacher's layers.
    """

    library = "timm"
    loader = "autodistill.models.loaders.cut"

    def build(
        self,
        context: StudentContext,
        variant: str,
        *,
        stages: Annotated[int, Field(ge=1)] = 4,
        init: Literal["pretrained", "random"] = "pretrained",
        image_size: Annotated[int, Field(ge=0, le=1024)] = 0,
    ) -> Cut:
        """A student: the first stages of the timm network named `variant`.

        Raises:
            ModelError: timm has no such network, it has no stages to cut, or its weights cannot be fetched.
            RecipeError: it has fewer stages.
        """
        size = max(image_size, context.image_size)
        network = create_timm(variant, size, init == "pretrained" and not context.shapes_only)
        width = cut_off(network, variant, stages)
        keep_resolution(network, size)
        own = normalisation(variant)
        student = Cut(network, stages, context.num_outputs, width, image_size, context.normalisation or own, own)
        return run_once(student.to(memory_format=torch.channels_last), variant, context.image_size)

    def pretrained_weights(self, part: Component) -> Path | None:
        """With `init: pretrained`, those of the variant."""
        return require_weights(part.variant) if part.own["init"] == "pretrained" else None

    def write(self, folder: Path, saved: SavedStudent, names: dict[int, str]) -> dict[str, Any]:
        """With a load.py, which needs timm."""
        student, name = saved.model, saved.recipe.student.variant.partition(".")[0]
        assert isinstance(student, Cut)
        reads = normalisation(saved.recipe.student.variant) if saved.facts["context"].get("normalisation") else None
        config, stem, about = described(saved, student.network, student.head.in_features, names, reads, student.image_size)
        config |= {
            "architecture": f"{name}_cut",
            "built_from": name,
            "stages": len(student.stages),
            "image_size": student.image_size,
            **stem,
        }  # no name that timm would build
        write_json(folder / "config.json", config)
        write_weights(folder, student.state_dict())
        write_loader(folder, self.loader)
        return about

    def open(self, folder: Path, about: dict[str, Any]) -> nn.Module:
        """As load.py does."""
        module: nn.Module = importlib.import_module(self.loader).load(folder)[0]
        return module

    def usage(self, about: dict[str, Any], pairs: bool) -> str:
        """By load.py."""
        return (
            "from load import load  # load.py in this folder: the first stages of a timm network\n\n"
            'model, transform = load(FOLDER)\nlogits = model(transform(image.convert("RGB")).unsqueeze(0))\n'
        )


def cut_off(network: Any, name: str, stages: int) -> int:
    """Remove all that comes after the first stages of a timm network, in place; returns the channels of the last stage.

    Raises:
        ModelError: the network cannot be cut.
        RecipeError: it has fewer stages.
    """
    try:
        known = network.feature_info
        network.prune_intermediate_layers(list(range(stages)), prune_norm=True, prune_head=True)
        return int(known[stages - 1]["num_chs"])
    except AttributeError:
        raise ModelError(f"timm:{name} has no stages that can be cut off; choose one such as tf_efficientnet_lite0 or resnet18") from None
    except (AssertionError, IndexError):
        raise RecipeError(f"student.stages is {stages}, and {name} has {len(known)}; give at most that many") from None
