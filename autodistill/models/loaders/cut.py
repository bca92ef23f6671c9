"""Opens the student in this folder; needs timm, torch and safetensors.

The student is the first stages of a timm network, the mean over the positions of their maps, and a linear layer.

>>> from load import load
>>> model, transform = load()
>>> logits = model(transform(image.convert("RGB")).unsqueeze(0))
"""

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file


class Student(torch.nn.Module):
    """Pixels (B, 3, H, W) in, logits (B, C) out."""

    def __init__(self, config):  # type: ignore[no-untyped-def]
        super().__init__()
        self.network = timm.create_model(config["built_from"], num_classes=config["num_classes"], **config["model_args"])
        self.stages, self.image_size = list(range(config["stages"])), config.get("image_size", 0)
        self.network.prune_intermediate_layers(self.stages, prune_norm=True, prune_head=True)
        if config["stride1"]:
            next(module for module in self.network.modules() if isinstance(module, torch.nn.Conv2d)).stride = (1, 1)
        if config["without_max_pooling"]:
            self.network.maxpool = torch.nn.Identity()
        self.head = torch.nn.Linear(config["num_features"], config["num_classes"])

    def forward(self, pixels):  # type: ignore[no-untyped-def]
        """The logits."""
        if pixels.shape[-1] < self.image_size:
            size = (self.image_size, self.image_size)
            pixels = torch.nn.functional.interpolate(pixels, size, mode="bilinear", align_corners=False)
        maps = self.network.forward_intermediates(pixels, indices=self.stages, intermediates_only=True)
        return self.head(maps[-1].mean(dim=(2, 3)))


def load(folder=Path(__file__).parent):  # type: ignore[no-untyped-def]
    """The model in evaluation mode, and the transform from a PIL image to its pixels."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    model = Student(config)
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval(), timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"]))
