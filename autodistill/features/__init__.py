"""Dataset features (meta-features): a dataset described by a few dozen numbers, for the recommender and the recorded studies.

Importing this package imports neither torch nor scikit-learn; measuring does.
"""

from autodistill.features.measure import dataset_features
from autodistill.features.names import FEATURES, OF_LABELS, VERSION

__all__ = ["FEATURES", "OF_LABELS", "VERSION", "dataset_features"]
