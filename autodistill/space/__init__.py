"""Search spaces: which recipes a search may propose.

A space file (search_spaces/*.yaml, or a user's own) lists key paths of the recipe, each with a domain and, as `when:`, the conditions
under which it applies. A recipe is a point of a space: `suggest` makes one by asking for each value in turn, and `encode` turns one back
into values. Kinds that do not fit the task are left out automatically.
"""

from __future__ import annotations

from autodistill.space.domain import NONE as NONE
from autodistill.space.domain import Domain as Domain
from autodistill.space.domain import Scalar as Scalar
from autodistill.space.file import shipped_spaces as shipped_spaces
from autodistill.space.file import space_tasks as space_tasks
from autodistill.space.parameters import Choose as Choose
from autodistill.space.space import Space as Space
from autodistill.space.teachers import FAMILY as FAMILY
from autodistill.space.teachers import INIT as INIT
from autodistill.space.teachers import LEARNED as LEARNED
from autodistill.space.teachers import TEACHER as TEACHER
