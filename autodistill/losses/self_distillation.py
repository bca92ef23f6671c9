"""Self-distillation: a student's own past predictions beside the hard labels, with a growing share. It needs no teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PastPredictions(nn.Module):
    """The student's prediction for each training row at the row's last visit, as a target; at the first visit it is the label.

    Formula: H(p, q) = −mean_b Σ_c p_bc log q_bc, with q = softmax(student) and p = q of the row's last visit. In epoch t of T the loss on
        hard labels is (1 − s t/T) · CE + s t/T · H(p, q), with s the recipe's `objective.self_distillation`. Cross-entropy is linear in
        its target, so this is that of the target (1 − s t/T) y + s t/T p.
    Scale: as cross-entropy.
    Source: Kim, Ji, Yoon, Hwang 2021, "Self-Knowledge Distillation with Progressive Refinement of Targets" (PS-KD), eq. 4 and 5 (s is
        α_T, 0.8 there); compared with the authors' code, https://github.com/lgcnsai/PS-KD-Pytorch (main.py, loss/pskd_loss.py).

    rows, classes: N and C. The predictions are a buffer, so a checkpoint has them.
    """

    predictions: Tensor
    visited: Tensor

    def __init__(self, rows: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("predictions", torch.zeros(rows, classes))
        self.register_buffer("visited", torch.zeros(rows, dtype=torch.bool))

    def forward(self, student_logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """H(p, q), and q is kept. Shapes: student_logits (B, C); labels, index (B,) int64, `index` of training rows → scalar."""
        log_q = student_logits.float().log_softmax(-1)
        hard = F.one_hot(labels, student_logits.shape[1]).float()
        past = torch.where(self.visited[index][:, None], self.predictions[index], hard)
        with torch.no_grad():
            self.predictions[index] = log_q.detach().exp()
            self.visited[index] = True
        return -(past * log_q).sum(-1).mean()
