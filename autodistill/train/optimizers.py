"""Optimizers of students, beside AdamW: SGD, and DOT, which treats the teacher's gradients apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from autodistill.models.fitting import make_optimizer, parameter_groups
from autodistill.recipe import Training


def training_optimizer(modules: Iterable[nn.Module], training: Training, capturable: bool = False) -> torch.optim.Optimizer:
    """The optimizer that a recipe asks for, of all parameters that learn. capturable: AdamW's steps can be part of a CUDA graph."""
    if training.optimizer == "adamw":
        return make_optimizer(modules, training.learning_rate, training.weight_decay, capturable)
    parameters = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    groups = parameter_groups(parameters, training.learning_rate, training.weight_decay)
    return Dot(groups, training.momentum, training.dot_difference if training.optimizer == "dot" else 0.0)


class Dot(torch.optim.Optimizer):
    """SGD with a momentum for the gradients of the hard labels, and a larger one for those of the distillation terms.

    v_task ← g_task + (μ − Δ) v_task,  v_teacher ← g_teacher + (μ + Δ) v_teacher,  θ ← θ − γ (v_task + v_teacher). A parameter that only
    one of the two losses reaches in a step, such as a projection, has momentum μ for it, and the other velocity rests. With Δ = 0 it is SGD
    with momentum μ. Weight decay is decoupled, as AdamW's is: θ ← θ (1 − γ λ) first (the authors add λ θ to g_task).

    `backward` in place of a loss's own leaves the sum of both gradients in `.grad`, and keeps the teacher's part.

    Source: Zhao, Cui, Song, Qiu, Liang 2023, "DOT: A Distillation-Oriented Trainer", section 3.3; compared with the authors' code,
    https://github.com/megvii-research/mdistiller (mdistiller/engine/dot.py and, for μ ± Δ, trainer.py).
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float, difference: float) -> None:
        super().__init__(groups, {"momentum": momentum, "difference": difference})
        self._of_teacher: dict[Tensor, Tensor] = {}
        self._of_both: set[Tensor] = set()

    def backward(self, task: Tensor | None, teacher: Tensor | None) -> None:
        """The gradients of two losses, of which one may be None; those of before are forgotten."""
        self.zero_grad(set_to_none=True)
        self._of_teacher, self._of_both = {}, set()
        if teacher is not None:
            teacher.backward(retain_graph=task is not None)
            reached = (parameter for group in self.param_groups for parameter in group["params"])
            self._of_teacher = {item: item.grad for item in reached if item.grad is not None}
            self.zero_grad(set_to_none=True)
        if task is not None:
            task.backward()
        for parameter, gradient in self._of_teacher.items():
            if parameter.grad is None:
                parameter.grad = gradient.clone()
            else:
                parameter.grad.add_(gradient)
                self._of_both.add(parameter)

    def scale(self, parameters: Iterable[Tensor], factor: Tensor) -> None:
        """Multiply the teacher's part of the gradients, where their sums were multiplied (clipped) by someone else."""
        for parameter in parameters:
            if parameter in self._of_teacher:
                self._of_teacher[parameter].mul_(factor)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step. Parameters without a gradient stay as they are."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                teacher, difference = self._of_teacher.get(parameter), 0.0
                parts = {"task": parameter.grad} if teacher is None else {"teacher": teacher}
                if teacher is not None and parameter in self._of_both:
                    parts["task"], difference = parameter.grad - teacher, group["difference"]
                for name, gradient in parts.items():
                    momentum = group["momentum"] + (difference if name == "teacher" else -difference)
                    velocity = self.state[parameter].setdefault(name, torch.zeros_like(parameter))
                    parameter.sub_(velocity.mul_(momentum).add_(gradient), alpha=group["lr"])
