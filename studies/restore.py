"""Make an entry of studies/recorded a search's folder again, so that recording goes on where the folder is lost.

    python studies/restore.py --work DIR NAME ...      # then studies/record.py --work DIR NAME ...

The trials come back as they are in the entry: what they ran, their curves and costs, and their points in the space, from which Optuna
proposes. Not the students, and not the teacher: the search trains it again, with the same seed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import optuna

from autodistill.errors import AutodistillError
from autodistill.recommender.library import load
from autodistill.restoring import restore

RECORDED = Path(__file__).resolve().parent / "recorded"


def main() -> int:
    """Restore; returns an error's exit code where an entry could not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--work", type=Path, required=True, help="where the searches' own folders lie")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        for name in args.names:
            print(restore(load(RECORDED / name), args.work).folder)
    except AutodistillError as error:
        print(f"restore: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
