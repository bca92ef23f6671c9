"""scikit-learn's handwritten digits: 1,797 grey images of 8×8 pixels, no download."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from autodistill.tasks.files import open_path
from autodistill.tasks.kept import kept
from autodistill.tasks.source import Source


def open_digits() -> Source:
    """The digits as images; their 17 grey levels are scaled to 0 to 255."""
    return open_path(kept("digits", _write), own=False)


def _write(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    images = []
    for grey in np.round(data.images * (255 / 16)).astype(np.uint8):
        buffer = io.BytesIO()
        Image.fromarray(grey).save(buffer, format="png")
        images.append(buffer.getvalue())
    pq.write_table(pa.table({"image": pa.array(images, pa.binary()), "label": data.target.astype(np.int64)}), folder / "all.parquet")
    (folder / "dataset.json").write_text(json.dumps({"task": "classification", "classes": list("0123456789")}), encoding="utf-8")
