"""Recipe: one knowledge-distillation pipeline, the object that passes through the whole product.

A space makes it, a trial trains it, records keep it, a recommender ranks it, export retrains it. Where and how fast
something runs (devices, workers, paths, seeds) is never part of it.

The parts with a `kind` (a student's is `family`) are components (components.py): their fields are the keyword-only
parameters of the component's function, so a recipe is checked in full without importing torch.
"""

from __future__ import annotations

from autodistill.recipe.fields import BY_EMBEDDINGS as BY_EMBEDDINGS
from autodistill.recipe.fields import SHARED as SHARED
from autodistill.recipe.fields import SLOTS as SLOTS
from autodistill.recipe.fields import ClassWeights as ClassWeights
from autodistill.recipe.objective import Objective as Objective
from autodistill.recipe.parts import Component as Component
from autodistill.recipe.recipe import Recipe as Recipe
from autodistill.recipe.recipe import without_teacher as without_teacher
from autodistill.recipe.teacher import SELF as SELF
from autodistill.recipe.teacher import Teacher as Teacher
from autodistill.recipe.training import Training as Training
from autodistill.recipe.versions import ADDED as ADDED
from autodistill.recipe.versions import migrate as migrate
