"""How the output layer of a student of sentence embeddings starts."""

from __future__ import annotations

import torch
from torch import nn


def keep_cosines(layer: nn.Linear, gain: float = 1.0) -> None:
    """Make a layer orthogonal, without bias: its outputs then have the cosines of its inputs, where they are at least as wide.

    If they are narrower, it is a random projection. gain: the factor by which outputs are longer than inputs.
    """
    with torch.no_grad():
        nn.init.orthogonal_(layer.weight, gain)
        layer.bias.zero_()
