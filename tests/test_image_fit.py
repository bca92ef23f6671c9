"""A space for images of some size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autodistill.errors import ModelError
from autodistill.events import Event, SearchMessage
from autodistill.image_fit import SIZE, fit_images
from autodistill.prepare import fit_networks
from autodistill.space import FAMILY, Domain, Space


@pytest.mark.parametrize(("image_size", "allowed"), [(28, {0, 96}), (95, {0, 96}), (96, {0}), (224, {0})])
def test_students_are_not_asked_to_enlarge_images_that_are_as_large(image_size: int, allowed: set[int]) -> None:
    space = Space.load("image", "image-classification")
    fitted = fit_images(space, image_size)
    assert {value for domain in fitted.parameters[SIZE] for value in domain.values} == allowed
    assert fitted.defaults() == space.defaults()
    text = Space.load("text", "text-classification")
    assert fit_images(text, image_size) is text


def test_students_whose_pretrained_weights_do_not_exist_are_left_out_with_a_warning_where_there_are_others() -> None:
    space = Space.load("image", "image-classification")
    families = ["cut:lcnet_035", "timm:lcnet_050"]
    both = replace(space, parameters={**space.parameters, FAMILY: (Domain("choice", families[0], choices=tuple(families)),)})
    told: list[Event] = []
    assert [domain.values for domain in fit_networks(both, told.append).parameters[FAMILY]] == [("timm:lcnet_050",)]
    reason = "timm:lcnet_035 has no pretrained weights; use init: random (a teacher: init: scratch), or another model"
    assert told == [SearchMessage(f"left out: {reason}", "warning")]
    with pytest.raises(ModelError, match="lcnet_035 has no pretrained weights"):
        fit_networks(space.fixed(FAMILY, families[0]), told.append)


def test_families_of_other_teachers_and_other_starts_are_not_looked_at() -> None:
    space = Space.load("image", "image-classification")

    def with_families(*domains: Domain, **more: tuple[Domain, ...]) -> Space:
        others = {f"student.{name}": more[name] for name in more}
        return replace(space, parameters={**space.parameters, FAMILY: domains, **others})

    told: list[Event] = []
    of_another = Domain("value", "cut:lcnet_035", when=(("teacher.model", ("timm:another",)),))
    kept = with_families(of_another, Domain("value", "timm:lcnet_050")).for_its_teachers()
    assert fit_networks(kept, told.append) is kept
    random = with_families(Domain("value", "cut:lcnet_035"), init=(Domain("value", "random"),))
    assert fit_networks(random, told.append) is random
    either = with_families(Domain("value", "cut:lcnet_035"), init=(Domain("choice", "random", choices=("random", "pretrained")),))
    assert fit_networks(either, told.append) is either
    assert told == []


def test_a_range_of_sizes_stays() -> None:
    space = Space.load("image", "image-classification")
    sizes = replace(space, parameters={**space.parameters, SIZE: (Domain("int", 64, low=32, high=128),)})
    assert fit_images(sizes, 64) is sizes
