from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from autodistill.dashboards import gallery, page_all
from generated import library
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_the_study_with_the_most_trials_stands_for_its_task() -> None:
    first, second, third = library(3, 3)
    studies = [first, replace(second, records=second.records[:4]), replace(third, task="image-classification")]
    assert [study.name for study in gallery.one_a_task(studies)] == ["set-0", "set-2"]


def test_without_recorded_studies_there_is_nothing_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gallery, "shipped", list)
    assert gallery.main(["--out", str(tmp_path)]) == 2
    assert "no recorded studies to show" in capsys.readouterr().err


@pytest.mark.browser
@pytest.mark.slow
def test_the_gallery_has_pages_and_their_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine (looked for chromium, chromium-browser, google-chrome)")
    studies = library(3, 12)
    monkeypatch.setattr(gallery, "shipped", lambda: studies)
    monkeypatch.setattr(page_all, "recommender_table", lambda studies, progress: ([], "left out here"))
    assert gallery.main(["--out", str(tmp_path), "set-1"]) == 0
    names = {f"{page}{suffix}" for page in ("all-studies", "set-1") for suffix in (".html", ".png", "-phone.png")}
    assert {item.name for item in tmp_path.iterdir()} == names | {"plotly.min.js"}
    drawn = [Image.open(tmp_path / f"set-1{suffix}.png") for suffix in ("", "-phone")]
    assert [(picture.width, picture.mode) for picture in drawn] == [(1280, "P"), (390, "P")]
    for picture in drawn:
        colours = np.array([colour for _, colour in picture.convert("RGB").getcolors(256)])
        assert np.abs(colours - (0xD5, 0x5E, 0x00)).max(1).min() < 20  # the best trial's, which few pixels have
