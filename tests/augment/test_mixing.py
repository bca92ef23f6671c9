"""CutMix beside mixup: boxes, their area, and what a recipe may ask for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autodistill.augment.mixup import ImageMix, TextMix
from autodistill.errors import RecipeError
from autodistill.modality import Image, Text
from autodistill.models.base import ImageBatch, Outputs, TextBatch
from autodistill.recipe import Recipe


def test_a_cut_image_is_its_partner_in_the_box_and_itself_elsewhere() -> None:
    rng = np.random.default_rng(0)
    pixels = torch.randn(6, 3, 12, 20)
    kept = pixels.clone()
    for _ in range(50):
        mix = ImageMix.cut(1.0, 6, 12, 20, rng)
        out = mix.batch(ImageBatch(pixels))
        assert isinstance(out, ImageBatch)
        assert mix.box is not None
        top, bottom, left, right = mix.box
        inside = torch.zeros(12, 20, dtype=torch.bool)
        inside[top:bottom, left:right] = True
        assert torch.equal(out.pixels, torch.where(inside, pixels[mix.partner], pixels))
        assert mix.share == pytest.approx(1 - inside.float().mean().item())
    assert torch.equal(pixels, kept)


def test_the_boxs_area_is_that_of_the_share_drawn_where_the_edge_cuts_nothing_off() -> None:
    for seed in range(30):
        drawn = ImageMix.draw(1.0, 4, np.random.default_rng(seed))
        cut = ImageMix.cut(1.0, 4, 1000, 1000, np.random.default_rng(seed))
        assert torch.equal(cut.partner, drawn.partner)
        assert cut.share >= drawn.share - 2e-3
        assert cut.box is not None
        top, bottom, left, right = cut.box
        if min(top, left) > 0 and max(bottom, right) < 1000:
            assert cut.share == pytest.approx(drawn.share, abs=2e-3)
    seeds = [np.random.default_rng(seed) for seed in range(30) for _ in range(2)]
    pairs = zip(seeds[::2], seeds[1::2], strict=True)
    assert any(ImageMix.cut(1.0, 4, 1000, 1000, one).share - ImageMix.draw(1.0, 4, other).share > 0.05 for one, other in pairs)


def test_what_the_teacher_said_is_added_up_by_the_area() -> None:
    mix = ImageMix(torch.tensor([1, 0]), 0.75, (0, 2, 0, 2))
    outputs = Outputs(torch.randn(2, 5), torch.randn(2, 4), states=[torch.randn(2, 3, 4, 4), torch.empty(0)])
    mixed = mix.outputs(outputs)
    for one, other in ((mixed.logits, outputs.logits), (mixed.embedding, outputs.embedding), (mixed.states[0], outputs.states[0])):
        torch.testing.assert_close(one, 0.75 * other + 0.25 * other.flip(0))
    assert mixed.states[1].numel() == 0


def test_the_recipe_says_how_a_batch_is_mixed() -> None:
    images, texts = ImageBatch(torch.randn(4, 3, 8, 8)), TextBatch(*[torch.ones(4, 6, dtype=torch.int64)] * 3)
    cut, added = (Image().mix(images, mixing, 1.0, np.random.default_rng(0)) for mixing in ("cutmix", "mixup"))
    assert isinstance(cut, ImageMix)
    assert isinstance(added, ImageMix)
    assert cut.box is not None
    assert added.box is None
    assert isinstance(Text().mix(texts, "mixup", 1.0, np.random.default_rng(0)), TextMix)


@pytest.mark.parametrize("augmentation", [{"kind": "none", "mixup": 0.2}, {"kind": "flip_crop", "mixup": 0.2}])
def test_recipes_mix_by_mixup_where_they_do_not_say(augmentation: dict[str, object]) -> None:
    base = {"task": "image-classification", "teacher": {"model": "m"}, "student": {"family": "timm:resnet10t"}}
    assert Recipe.parse({**base, "augmentation": augmentation}).augmentation.mixing == "mixup"
    assert Recipe.parse({**base, "augmentation": {**augmentation, "mixing": "cutmix"}}).augmentation.mixing == "cutmix"


def test_texts_are_not_cut() -> None:
    recipe = {"task": "text-classification", "teacher": {"model": "m"}, "student": {"family": "cnn"}}
    with pytest.raises(RecipeError, match="augmentation.mixing is 'cutmix', which cuts images; for text-classification only 'mixup'"):
        Recipe.parse({**recipe, "augmentation": {"kind": "none", "mixing": "cutmix", "mixup": 0.2}})


def test_beyond_a_texts_end_the_segments_are_its_partners() -> None:
    """There the partner's words stand alone, so that a pair's second text is not taken for its first."""
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    segments = torch.tensor([[0, 1, 0, 0], [0, 0, 1, 1]])
    mixed = TextMix(torch.tensor([1, 0]), 0.7).batch(TextBatch(torch.zeros(2, 4, dtype=torch.int64), mask, segments))
    assert isinstance(mixed, TextBatch)
    assert mixed.mask.all()
    assert mixed.segments.tolist() == [[0, 1, 1, 1], [0, 0, 1, 1]]
