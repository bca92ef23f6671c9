"""Datasets: where they come from, how they are checked and split."""

from autodistill.tasks.load import load_dataset

__all__ = ["load_dataset"]
