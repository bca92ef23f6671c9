"""What a dataset is like, in a few dozen numbers: its dataset features (meta-features), for the recommender and the recorded studies.

Importing this package imports neither torch nor scikit-learn; measuring does.
"""

from autodistill.features.measure import dataset_features
from autodistill.features.names import FEATURES, VERSION

__all__ = ["FEATURES", "VERSION", "dataset_features"]
