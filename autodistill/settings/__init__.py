"""The settings of a search, a recommendation and a distillation: every setting once, one file for each class.

A field has its type, its allowed values (values.py), its default, its text for people, and its place on the command line. It gives the
command's option, Python's keyword, the key of a `--config` file and of study.json, and the command that reproduces a study.
To add a setting: a field in one of these files, then `python docs/settings.py`, which writes keywords.py and docs/settings.md.
"""

from __future__ import annotations

from autodistill.settings.dataset import DatasetSettings as DatasetSettings
from autodistill.settings.distill import DistillSettings as DistillSettings
from autodistill.settings.pretrain import PretrainSettings as PretrainSettings
from autodistill.settings.recommend import RecommendSettings as RecommendSettings
from autodistill.settings.search import SearchSettings as SearchSettings
from autodistill.settings.search import default_name as default_name
from autodistill.settings.space import SpaceSettings as SpaceSettings
