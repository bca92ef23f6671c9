"""Which of the student's layers learns from which of the teacher's.

Layers are numbered from 1, the layer nearest to the input. 0 is the embeddings, which are never mapped. For image models a layer is a
feature stage.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from autodistill.errors import DivergedError, RecipeError, not_allowed

LAYER_MAPS = ("skip", "last", "first", "emd", "all")


def layer_pairs(layer_map: str, student_layers: int, teacher_layers: int, layers: int | None = None) -> list[tuple[int, int]]:
    """The pairs (student's layer, teacher's layer), ordered by the student's layer.

    skip: every layer of the student, with the teacher's layer at the same share of the depth: layer s of S with round(s · T/S), where
    a half is rounded up (TinyBERT's uniform map, Jiao et al. 2020). last: the last min(S, T) layers of each, aligned at the top. first:
    the first min(S, T) of each. emd, all: every pair; `PairWeights` weighs them. PKD-Skip and PKD-Last (Sun et al. 2019) are skip and
    last without the last layer of each model, because their students learn the last layer only from the logits; here the last layers
    are a pair too.
    layers: keep only the last so many of the student's layers in the map; None keeps all.

    Raises:
        RecipeError: an unknown map, or a model without layers to tap.
    """
    if min(student_layers, teacher_layers) < 1:
        raise RecipeError(
            f"layer_map {layer_map!r} needs a student and a teacher of at least one layer; they have {student_layers} and {teacher_layers}"
        )
    pairs = _all_pairs(layer_map, student_layers, teacher_layers)
    kept = sorted({student for student, _ in pairs})[-layers if layers else 0 :]
    return [pair for pair in pairs if pair[0] in kept]


def _all_pairs(layer_map: str, student_layers: int, teacher_layers: int) -> list[tuple[int, int]]:
    both = min(student_layers, teacher_layers)
    match layer_map:
        case "skip":
            return [
                (layer, max(1, (2 * layer * teacher_layers + student_layers) // (2 * student_layers)))
                for layer in range(1, student_layers + 1)
            ]
        case "last":
            return [(student_layers - back, teacher_layers - back) for back in range(both - 1, -1, -1)]
        case "first":
            return [(layer, layer) for layer in range(1, both + 1)]
        case "emd" | "all":
            return [(student, teacher) for student in range(1, student_layers + 1) for teacher in range(1, teacher_layers + 1)]
    raise RecipeError(not_allowed("layer_map", layer_map, LAYER_MAPS))


class LearnedWeights(nn.Module):
    """layer_map `all`: each layer of the student spreads its share 1/S over the teacher's layers by a softmax of learned logits.

    The logits start equal. Training moves them to the teacher's layers that the student's layer can imitate.
    """

    def __init__(self, student_layers: int, teacher_layers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(student_layers, teacher_layers))

    def forward(self, losses: Tensor) -> Tensor:
        """Losses of the pairs (S · T,) → their weights (S · T,), which sum to 1, with a gradient to the logits."""
        return (self.logits.softmax(dim=1) / self.logits.shape[0]).flatten().to(losses.dtype)


class EmdWeights(nn.Module):
    """layer_map `emd`: the optimal transport plan between the student's and the teacher's layers, BERT-EMD.

    The pairs' losses are the costs D. The plan F minimises Σ F_ij D_ij with row sums w_i (the student's layer weights) and column sums
    w'_j (the teacher's); all of them sum to 1. So the loss Σ F_ij D_ij is the earth mover's distance. While training, the cost attention
    follows: a layer's unit cost is C_i = Σ_j F_ij D_ij / w_i, and its next weight is
    w_i = softmax_i((Σ_k C_k / C_i) / attention_temperature), so layers that are cheap to match get more of the mass. This ratio has no
    meaning for costs below zero (MI bounds, vid), so if there are any the weights stay as they are. The plan does not change when a
    constant is added to the costs.
    Source: Li, Liu, Zhao, Xu, Yang, Jin 2020, "BERT-EMD: Many-to-Many Layer Mapping for BERT Compression with Earth Mover's Distance",
    sections 3.2 (EMD) and 3.3 (cost attention). A later release of the authors' code divides the ratios by their sum instead of taking
    the softmax.
    """

    student_weight: Tensor
    teacher_weight: Tensor

    def __init__(self, student_layers: int, teacher_layers: int, attention_temperature: float = 1.0) -> None:
        super().__init__()
        self.attention_temperature = attention_temperature
        self.register_buffer("student_weight", torch.full((student_layers,), 1 / student_layers, dtype=torch.float64))
        self.register_buffer("teacher_weight", torch.full((teacher_layers,), 1 / teacher_layers, dtype=torch.float64))

    def forward(self, losses: Tensor) -> Tensor:
        """Losses of the pairs (S · T,) → the transport plan (S · T,), which sums to 1, without a gradient."""
        student, teacher = (weight.double().cpu().numpy() for weight in (self.student_weight, self.teacher_weight))
        cost = losses.detach().double().cpu().numpy().reshape(len(student), len(teacher))
        plan = transport_plan(student, teacher, cost - min(cost.min(), 0.0))
        if self.training and cost.min() >= 0.0:
            self.student_weight.copy_(torch.from_numpy(self._attend((plan * cost).sum(axis=1) / student)))
            self.teacher_weight.copy_(torch.from_numpy(self._attend((plan * cost).sum(axis=0) / teacher)))
        return torch.from_numpy(plan.reshape(-1)).to(losses)

    def _attend(self, unit_cost: np.ndarray) -> np.ndarray:
        from scipy.special import softmax  # SciPy takes seconds to import, in every worker, and few recipes ask for it

        total = unit_cost.sum()
        share = total / np.maximum(unit_cost, 1e-6 * total) if total > 0 else np.ones_like(unit_cost)
        weight = np.maximum(softmax(share / self.attention_temperature), 1e-6)  # the unit cost divides by the weight
        return weight / weight.sum()


def transport_plan(supply: np.ndarray, demand: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """The exact optimal transport plan, by linear programming.

    Shapes: supply (S,) and demand (T,), of equal sums; cost (S, T), finite → (S, T), with row sums `supply` and column sums `demand`.

    Raises:
        DivergedError: a cost is not a finite number.
    """
    if not np.isfinite(cost).all():
        raise DivergedError("the loss of a layer pair is not a finite number; lower the learning rate or the objective's weight")
    from scipy.optimize import linprog

    rows, columns = cost.shape
    sums = np.vstack([np.kron(np.eye(rows), np.ones(columns)), np.kron(np.ones(rows), np.eye(columns))])
    totals = np.concatenate([supply, demand * (supply.sum() / demand.sum())])
    scale = max(np.abs(cost).max(), np.finfo(float).tiny)  # the solver's tolerances are absolute
    # The last equation follows from the others, and rounding might make it contradict them, so it is left out.
    result = linprog(cost.reshape(-1) / scale, A_eq=sums[:-1], b_eq=totals[:-1], bounds=(0, None), method="highs")
    return np.maximum(result.x, 0.0).reshape(rows, columns)


class PairWeights(nn.Module):
    """The weighted sum of the pairs' losses, for a layer map that weighs them: emd (EmdWeights) or all (LearnedWeights).

    Raises:
        RecipeError: another layer map.
    """

    def __init__(self, layer_map: str, student_layers: int, teacher_layers: int) -> None:
        super().__init__()
        if layer_map not in ("emd", "all"):
            raise RecipeError(not_allowed("layer_map of weighted pairs", layer_map, ("emd", "all")))
        self.weigh = (EmdWeights if layer_map == "emd" else LearnedWeights)(student_layers, teacher_layers)

    def forward(self, losses: Tensor) -> Tensor:
        """Losses (S · T,), in the order of `layer_pairs` → their weighted mean, a scalar."""
        return (self.weigh(losses) * losses).sum()
