"""How large students read images: a space, adapted to the dataset's images."""

from __future__ import annotations

from dataclasses import replace

from autodistill.space import Domain, Space

SIZE = "student.image_size"


def fit_images(space: Space, image_size: int | None) -> Space:
    """The space without sizes to which no image is enlarged, because the dataset's are as large: they would be the same student twice.
    A range stays as it is.

    image_size: the side of the dataset's images in pixels; None if it has none.
    """
    domains = space.parameters.get(SIZE, ())
    no_change = {value for domain in domains if _named(domain) for value in domain.values if 0 < float(value) <= (image_size or 0)}
    if not no_change:
        return space
    fitted = (domain.without(no_change, 0) if _named(domain) else domain for domain in domains)
    return replace(space, parameters={**space.parameters, SIZE: tuple(fitted)})


def _named(domain: Domain) -> bool:
    return domain.kind in ("choice", "value")
