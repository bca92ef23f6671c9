"""docs/terminal.svg: the live view of a real search, as it stood when most of its trials had ended.

    python docs/terminal.py [--dataset movie-reviews] [--limit-train 1000] [--unlabelled rest] [--trials 6] [--time-budget 5m]

The search is run for it; nothing is staged. A terminal of 100 × 24 is drawn by rich, without the web font that its template loads.
"""

from __future__ import annotations

import argparse
import io
import re
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

import autodistill
from autodistill.events import Event, TrialFinished, TrialReported
from autodistill.terminal.live import LiveView
from autodistill.terminal.progress import Progress

WIDTH, HEIGHT = 100, 24


class Camera:
    """Listens to a search as its terminal does, and keeps the view of the latest moment at which a trial was still running."""

    def __init__(self, dataset: str) -> None:
        self.console = Console(file=io.StringIO(), width=WIDTH, height=HEIGHT, force_terminal=True, color_system="truecolor")
        self.view = LiveView(self.console, dataset, Progress(), auto_refresh=False)
        self.taken: tuple[int, Console] | None = None

    def listen(self, event: Event) -> None:
        """Take an event in, as the terminal does; take a picture where it shows more than the last one."""
        self.view.progress.hear(event)
        progress = self.view.progress
        if isinstance(event, TrialFinished | TrialReported) and progress.running:
            picture = Console(file=io.StringIO(), width=WIDTH, height=HEIGHT, force_terminal=True, color_system="truecolor", record=True)
            picture.print(self.view.render())
            self.taken = (len(progress.finished), picture)


def main() -> None:
    """Search, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="movie-reviews")
    parser.add_argument("--limit-train", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--unlabelled", default="rest")
    parser.add_argument("--time-budget", default="5m")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "terminal.svg")
    args = parser.parse_args()
    camera = Camera(args.dataset)
    asked = {name: getattr(args, name) for name in ("limit_train", "unlabelled", "trials", "time_budget")}
    with tempfile.TemporaryDirectory() as folder:
        autodistill.search(args.dataset, studies_dir=folder, listen=camera.listen, **asked)
    if camera.taken is None:
        raise SystemExit("no trial was ever seen running")
    ended, picture = camera.taken
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in asked.items())
    own = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    args.out.write_text(
        picture.export_svg(title=f"autodistill search --dataset {args.dataset} {options}", code_format=own), encoding="utf-8"
    )
    Console().print(Text(f"{args.out}: {ended} trials had ended"))


if __name__ == "__main__":
    main()
