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
