"""Projections: maps from the student's width to the teacher's, learned with the student and thrown away after training."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations

from autodistill.errors import RecipeError, not_allowed

KINDS = ("linear", "mlp", "orthogonal", "none")


def build_projection(kind: str, student_width: int, teacher_width: int) -> nn.Module:
    """The projection of a recipe: a module (..., student_width) → (..., teacher_width).

    linear: one affine map. mlp: linear to the teacher's width, GELU, linear. orthogonal: a linear map without bias whose rows or
    columns stay orthonormal while they are learned, so it can turn the student's space but neither squeeze nor stretch it, and
    all that is to be learned is learned by the student: V_kD, Miles, Elezi, Deng 2024, "V_kD: Improving Knowledge Distillation
    using Orthogonal Projections", section 3. none: the states as they are.

    Raises:
        RecipeError: an unknown kind, or `none` where the widths differ.
    """
    match kind:
        case "linear":
            return nn.Linear(student_width, teacher_width)
        case "mlp":
            return nn.Sequential(nn.Linear(student_width, teacher_width), nn.GELU(), nn.Linear(teacher_width, teacher_width))
        case "orthogonal":
            return parametrizations.orthogonal(nn.Linear(student_width, teacher_width, bias=False), orthogonal_map="matrix_exp")
        case "none":
            if student_width != teacher_width:
                raise RecipeError(
                    f"projection is 'none', but the student's states are {student_width} wide and the teacher's {teacher_width}; "
                    "choose projection linear, mlp or orthogonal, or a student of the teacher's width"
                )
            return nn.Identity()
    raise RecipeError(not_allowed("projection", kind, KINDS))
