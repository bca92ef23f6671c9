"""A trained student on the disk, under the name that a trial knows it by: see `models.saved`."""

from autodistill.models.saved import load_saved_student, save_student

__all__ = ["load_saved_student", "save_student"]
