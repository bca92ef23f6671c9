"""The long form of tests/chaos (`make chaos`): prints one JSON object of counts, and exits with 1 if any was lost, stuck or a traceback.

python tests/chaos/run.py [--seed N] [--kills 100] [--files 1000] [--inputs 10000]
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
import random
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tuning")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(f"{datetime.date.today():%Y%m%d}"), help="default: the day's")
    parser.add_argument("--kills", type=int, default=100, help="of searches and their processes")
    parser.add_argument("--files", type=int, default=1000, help="damaged files of students, studies and caches, a third each")
    parser.add_argument("--inputs", type=int, default=10_000, help="mutated spaces and recipes")
    asked = parser.parse_args()
    import chaos

    logging.disable(logging.WARNING)  # each repair of the cache is a warning
    began = time.monotonic()
    result: dict[str, object] = {"seed": asked.seed}
    parts = {
        "students": asked.files // 3,
        "studies": asked.files // 3,
        "caches": asked.files // 3,
        "inputs": asked.inputs,
        "kills": asked.kills,
    }
    bad: list[str] = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as home:
        os.environ["AUTODISTILL_CACHE"] = f"{home}/cache"
        for name, tries in ((name, tries) for name, tries in parts.items() if tries):
            place = Path(home, name)
            place.mkdir()
            tally = getattr(chaos, name)(place, random.Random(f"{asked.seed} {name}"), tries)
            result[name] = tally.summary()
            bad += tally.bad
            print(f"{name}: {tally.summary()}", *tally.bad[:20], sep="\n  ", file=sys.stderr)
    print(json.dumps(result | {"bad": len(bad), "seconds": round(time.monotonic() - began)}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
