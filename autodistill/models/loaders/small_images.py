"""Opens the student in this folder; needs timm, torch and safetensors.

The student is a timm network whose first convolution has stride 1, because its images are small. `timm.create_model` would build it with
stride 2: the weights would load without an error, and the predictions would be wrong.

>>> from load import load
>>> model, transform = load()
>>> logits = model(transform(image.convert("RGB")).unsqueeze(0))
"""

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file


def load(folder=Path(__file__).parent):  # type: ignore[no-untyped-def]
    """The model in evaluation mode, and the transform from a PIL image to its pixels."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    model = timm.create_model(config["built_from"], num_classes=config["num_classes"], **config["model_args"])
    next(module for module in model.modules() if isinstance(module, torch.nn.Conv2d)).stride = (1, 1)
    if config["without_max_pooling"]:
        model.maxpool = torch.nn.Identity()
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval(), timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"]))
