"""How large students read images: a space, adapted to the dataset's images."""

from __future__ import annotations

from dataclasses import replace

from autodistill.space import Space

SIZE = "student.image_size"


def fit_images(space: Space, image_size: int) -> Space:
    """The space without sizes to which no image is enlarged, because the dataset's are as large: they would be the same student twice."""
    domains = space.parameters.get(SIZE, ())
    no_change = {value for domain in domains for value in domain.values if 0 < float(value) <= image_size}
    if not no_change:
        return space
    return replace(space, parameters={**space.parameters, SIZE: tuple(domain.without(no_change, 0) for domain in domains)})
