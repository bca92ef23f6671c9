"""scikit-learn's handwritten digits: 1,797 grey images of 8×8 pixels, no download."""

from __future__ import annotations

import numpy as np

from autodistill.tasks.source import Info, Source
from autodistill.tasks.tables import Table


def open_digits() -> Source:
    """The digits as images; their 17 grey levels are spread over 0 to 255."""
    import sklearn
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = np.round(data.images * (255 / 16)).astype(np.uint8)
    table = Table("digits", {"image": list(grey), "label": [int(label) for label in data.target]}, stamp=f"digits {sklearn.__version__}")
    return Source(Info("digits", "classification", "accuracy", tuple("0123456789")), {"all": table}, own=False)
