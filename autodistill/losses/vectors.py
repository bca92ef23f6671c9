"""Objectives on the vectors of texts, the outputs of a student of sentence embeddings; `mse` in prediction.py is one more."""

from __future__ import annotations

from torch import Tensor

from autodistill.components import EMBEDDING, component
from autodistill.losses.tensors import unit


@component("objective.prediction", tasks=EMBEDDING)
def cosine(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cosine distance between the student's and the teacher's vectors.

    Shapes: student_logits, teacher_logits (B, D) → scalar.
    Formula: mean over rows b of 1 − ⟨z_b, v_b⟩ / (‖z_b‖ ‖v_b‖), z the student's vectors, v the teacher's.
    Scale: between 0 and 2; at random initialisation gradient 0.58 × cross-entropy's (entries of about 1; it is proportional to 1/‖z_b‖).
    Source: Reimers, Gurevych 2020, "Making Monolingual Sentence Embeddings Multilingual using Knowledge Distillation", section 2, whose
        loss on the vectors is `mse`; for vectors of length 1 that is twice the cosine distance.
    When: vectors that are only compared by their cosines, so that their lengths need not be learned, as mse does.
    """
    return (1.0 - (unit(student_logits) * unit(teacher_logits.detach())).sum(dim=-1)).mean()
