"""What the labels of a dataset are, and everything that depends on it: one class for each kind of target, in a file each.

A task type ends in the `kind` of its target (task_types.py): `text-pair-regression` has `Scores`. No other code asks for the kind; it asks
the target for what it needs. torch is imported inside methods that compute with tensors, so that plans can be made without it.
"""

from __future__ import annotations

from autodistill.target.base import UNNAMED as UNNAMED
from autodistill.target.base import Prediction as Prediction
from autodistill.target.base import Scaling as Scaling
from autodistill.target.base import Target as Target
from autodistill.target.classes import Classes as Classes
from autodistill.target.labels import Labels as Labels
from autodistill.target.scores import Scores as Scores
from autodistill.target.vectors import Vectors as Vectors

TARGETS: tuple[type[Target], ...] = (Classes, Scores, Labels, Vectors)
"""Every kind of target."""
