"""Render the gallery from the recorded studies: HTML pages and pictures of them, in build/gallery/, which git ignores.

    python dashboards/gallery.py [--out build/gallery] [NAME ...]     # or: make gallery

The pictures need Chromium; without it, only the pages are written, with a message. NAME chooses studies; by default there is one study of
each task. The page across all studies is always written, with a judgement of the recommender, which takes minutes.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from autodistill.dashboards.page import render_recorded
from autodistill.dashboards.page_all import render_all
from PIL import Image
from plotly.offline import get_plotlyjs

from autodistill.recommender.library import RecordedStudy, find, shipped

_WIDTHS = {"": 1280, "-phone": 390}
_COLOURS = 256
"""Of a picture: the palette and the grey edges of letters, in a third of the bytes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, then their pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("build") / "gallery")
    args = parser.parse_args(argv)
    studies = shipped()
    if not studies:
        print("there are no recorded studies to show (studies/recorded is empty)", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    pages = {
        "all-studies": render_all(
            studies, judging=lambda done, total: print(f"judging the recommender: {done} of {total}", file=sys.stderr)
        )
    }
    for study in [find(name, studies) for name in args.names] or one_a_task(studies):
        pages[study.name] = render_recorded(study)
    (args.out / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    for name, text in pages.items():  # the pages lie in one folder, so they share the 5 MB of Plotly that a report contains
        shared = text.replace(f"<script>{get_plotlyjs()}</script>", '<script src="plotly.min.js"></script>')
        shared = shared.replace("script-src 'unsafe-inline'", "script-src 'unsafe-inline' 'self' file:")
        (args.out / f"{name}.html").write_text(shared, encoding="utf-8")
    code = pictures([args.out / f"{name}.html" for name in pages])
    print(f"{len(pages)} pages{' and their pictures' if code == 0 else ''} in {args.out}")
    return code


def one_a_task(studies: Sequence[RecordedStudy]) -> list[RecordedStudy]:
    """For each task, the study with the most trials."""
    by_task: dict[str, RecordedStudy] = {}
    for study in sorted(studies, key=lambda item: (-len(item.records), item.name)):
        by_task.setdefault(study.task, study)
    return list(by_task.values())


def pictures(pages: Sequence[Path]) -> int:
    """A PNG of each page, at the width of a screen and of a phone."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("there is no Chromium on this machine, so only the pages were written, without pictures", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for path in pages:
            for suffix, width in _WIDTHS.items():
                page = browser.new_page(viewport={"width": width, "height": 900})
                page.goto(path.resolve().as_uri())
                page.wait_for_function("() => [...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('svg.main-svg'))")
                shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
                small = shot.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)  # keeps the colours of a few points
                small.save(path.with_name(f"{path.stem}{suffix}.png"), optimize=True)
                page.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
