"""Which unlabelled rows a student learns on, chosen by the teacher's outputs."""

from __future__ import annotations

import torch
from torch import Tensor

REDUCED = 32
"""The number of principal directions of the embeddings in which distances are measured."""


def chosen_rows(choice: str, keep: float, logits: Tensor, embeddings: Tensor, seed: int) -> Tensor:
    """The rows that a choice keeps, ascending: (K,) int64, K = max(1, round(keep · N)), up to rounding in each class.

    Args:
        choice: `all`; `random`; `confident` and `uncertain`, the rows whose likeliest class has the largest or the smallest probability,
            with the same share of each predicted class, because a teacher's confidence differs from class to class; `diverse`, see
            `spread_rows`.
        keep: share of the rows, above 0 to 1.
        logits: the teacher's, (N, C).
        embeddings: the teacher's, (N, D).
        seed: of `random`, and of the first row of `diverse`.
    """
    if choice == "all":
        return torch.arange(len(logits))
    count = max(1, round(keep * len(logits)))
    if choice == "random":
        return torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))[:count].sort().values
    if choice == "diverse":
        return spread_rows(embeddings, count, seed)
    confidence, predicted = logits.float().softmax(-1).max(-1)
    order = torch.argsort(confidence, descending=choice == "confident", stable=True)
    kept = []
    for label in predicted.unique():
        rows = order[predicted[order] == label]
        kept.append(rows[: max(1, round(keep * len(rows)))])
    return torch.cat(kept).sort().values


def spread_rows(embeddings: Tensor, count: int, seed: int) -> Tensor:
    """Rows that cover all others: each is the one farthest from the rows chosen before it (greedy k-centre). (count,) int64, ascending.

    Distances are Euclidean, in the first principal directions of the embeddings (N, D).
    Source: Sener, Savarese 2018, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", algorithm 1.
    """
    points = embeddings.float() - embeddings.float().mean(dim=0)
    if points.shape[1] > REDUCED:
        directions = torch.linalg.eigh(points.T @ points).eigenvectors[:, -REDUCED:]
        points = points @ directions
    first = int(torch.randint(len(points), (1,), generator=torch.Generator().manual_seed(seed)))
    chosen, distances = [first], (points - points[first]).square().sum(dim=1)
    distances[first] = -1.0  # below every distance, so that no row is chosen twice
    while len(chosen) < count:
        row = int(distances.argmax())
        chosen.append(row)
        distances = torch.minimum(distances, (points - points[row]).square().sum(dim=1))
        distances[row] = -1.0
    return torch.tensor(chosen).sort().values
