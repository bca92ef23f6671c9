"""Image teachers: timm models, which may read larger images than the students do. They are stored as timm.json and model.safetensors."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_model, save_model

from autodistill.errors import ModelError
from autodistill.models.timm import ScaledTimm, TimmModel, build_timm, normalisation, pretrained_file
from autodistill.recipe import Teacher
from autodistill.storage import digest, file_fingerprint

TIMM_FILE = "timm.json"


def timm_name(teacher: Teacher) -> str:
    """The timm name in an image teacher's `model`, which may begin with `timm:` or not."""
    return teacher.model.removeprefix("timm:")


def weights_fingerprint(teacher: Teacher) -> str:
    """Identifies the weights that training starts from; by their digest if they may come from more than one place.

    Raises:
        ModelError: such weights cannot be fetched.
    """
    import timm

    file = pretrained_file(timm_name(teacher)) if teacher.init == "pretrained" else None
    weights = [] if file is None else [file_fingerprint(file)]
    return digest("timm", timm.__version__, timm_name(teacher), teacher.init, *weights)


def build(num_outputs: int, image_size: int, teacher: Teacher) -> TimmModel:
    """The module to train, for images of image_size × image_size.

    Raises:
        ModelError: timm has no such model, it does not fit, or its weights cannot be fetched.
    """
    if teacher.head_init == "own":
        raise ModelError(f"teacher.head_init is own, which is for texts, and {teacher.model!r} reads images; give probe or random")
    size = max(teacher.image_size or 0, image_size)
    return _scaled(build_timm(timm_name(teacher), num_outputs, size, pretrained=teacher.init == "pretrained"), size, image_size)


def _scaled(model: TimmModel, size: int, image_size: int) -> TimmModel:
    return model if size == image_size else ScaledTimm(model.model, size)


def save(
    model: TimmModel, classes: tuple[str, ...] | None, num_outputs: int, image_size: int | None, teacher: Teacher, folder: Path
) -> None:
    """Write a trained teacher."""
    mean, std = normalisation(timm_name(teacher))
    about = {"name": timm_name(teacher), "num_outputs": num_outputs, "image_size": image_size, "mean": mean, "std": std}
    scaled = {"scaled_to": model.size} if isinstance(model, ScaledTimm) else {}
    (folder / TIMM_FILE).write_text(json.dumps(about | scaled | {"classes": classes}, indent=1), encoding="utf-8")
    save_model(model.model, str(folder / "model.safetensors"))


def load(folder: Path) -> TimmModel:
    """Open what `save` wrote.

    Raises:
        OSError and others: the folder holds none.
    """
    about = json.loads((folder / TIMM_FILE).read_text(encoding="utf-8"))
    size = about.get("scaled_to", about["image_size"])
    model = build_timm(about["name"], about["num_outputs" if "num_outputs" in about else "outputs"], size, pretrained=False)
    load_model(model.model, folder / "model.safetensors")
    return _scaled(model, size, about["image_size"])
