"""Projections: maps from the student's width to the teacher's, learned with the student and discarded after training."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from autodistill.errors import RecipeError, not_allowed
from autodistill.losses.tensors import full_precision, positions

KINDS = ("linear", "mlp", "orthogonal", "none")


def build_projection(kind: str, student_width: int, teacher_width: int) -> nn.Module:
    """The projection of a recipe: a module (..., student_width) → (..., teacher_width).

    linear: one affine map. mlp: linear to the teacher's width, GELU, linear. none: the states as they are.
    orthogonal: a linear map without bias whose rows or columns stay orthonormal during training. It rotates the student's space but
    does not scale it, so the learning has to happen in the student. It is the Cayley transform of a skew-symmetric matrix, where the
    paper uses the matrix exponential. Both cover the orthogonal maps around their start, and a step of ours costs a third (17 ms for 60
    maps of 384×384 on one core). The cost is cubic in the wider side: 200 ms at 1024×384, so beware of `layer_map: all` for pairs of
    texts. Use it together with `normalise` on the teacher's side.
    Source: Miles, Elezi, Deng 2024, "V_kD: Improving Knowledge Distillation using Orthogonal Projections", section 3 (there with a smooth
    l1 loss on pooled states; mse and l1 are ours).

    Raises:
        RecipeError: an unknown kind, or `none` where the widths differ.
    """
    match kind:
        case "linear":
            return nn.Linear(student_width, teacher_width)
        case "mlp":
            return nn.Sequential(nn.Linear(student_width, teacher_width), nn.GELU(), nn.Linear(teacher_width, teacher_width))
        case "orthogonal":
            return parametrizations.orthogonal(nn.Linear(student_width, teacher_width, bias=False), orthogonal_map="cayley")
        case "none":
            if student_width != teacher_width:
                raise RecipeError(
                    f"projection is 'none', but the student's states are {student_width} wide and the teacher's {teacher_width}; "
                    "choose projection linear, mlp or orthogonal, or a student of the teacher's width"
                )
            return nn.Identity()
    raise RecipeError(not_allowed("projection", kind, KINDS))


def normalise(teacher_state: Tensor, mask: Tensor | None = None, how: Literal["standardise", "whiten"] = "standardise") -> Tensor:
    """V_kD's normalisation of the teacher's states, to be used with the orthogonal projection.

    standardise, for discriminative tasks (every task here): each vector minus its mean, divided by its standard deviation, as in a
    layer norm without parameters. whiten, for generative tasks: the batch's kept vectors are transformed so that their covariance is
    the identity (ZCA, with 1e-5 of the mean variance added to every direction).
    Shapes: teacher_state (B, D) or (B, T, D); mask (B, T) bool or None → as teacher_state. Whitened values where the mask is False
    have no meaning.
    Source: Miles, Elezi, Deng 2024, "V_kD", section 3 (task-specific normalisation).

    Raises:
        RecipeError: an unknown way to normalise.
    """
    state = full_precision(teacher_state)
    if how == "standardise":
        return F.layer_norm(state, state.shape[-1:])
    if how != "whiten":
        raise RecipeError(not_allowed("normalisation", how, ("standardise", "whiten")))
    kept = positions(state, mask)
    mean = kept.mean(dim=0)
    covariance = (kept - mean).T @ (kept - mean) / max(len(kept) - 1, 1)
    values, vectors = torch.linalg.eigh(covariance)
    floor = 1e-5 * values.mean().clamp(min=torch.finfo(values.dtype).tiny)
    return (state - mean) @ (vectors / (values.clamp(min=0) + floor).sqrt()) @ vectors.T
