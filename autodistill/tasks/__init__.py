"""Datasets: where they come from, how they are checked and split."""

from autodistill.tasks.catalog import CatalogEntry, catalog
from autodistill.tasks.load import load_dataset

__all__ = ["CatalogEntry", "catalog", "load_dataset"]
