"""Whether a search's study is there or not, and which there are."""

from __future__ import annotations

from pathlib import Path

from autodistill.errors import StudyError
from autodistill.settings import SearchSettings


def check_existence(settings: SearchSettings) -> None:
    """A new study must not exist, and one that is to be resumed must.

    Raises:
        StudyError: it is the other way round.
    """
    exists = (settings.folder / "study.json").exists()
    if exists and not settings.resume:
        raise StudyError(f"the study {settings.folder} exists; go on with it with --resume, or start another with --study NAME")
    if settings.resume and not exists:
        raise StudyError(no_study(settings))


def no_study(settings: SearchSettings) -> str:
    """The sentence for a study that is not there to be resumed, with those that are."""
    there = study_names(settings.folder.parent)
    return f"there is no study {settings.study!r} in {settings.folder.parent} to resume; studies there: {', '.join(there) or 'none'}"


def study_names(folder: Path) -> list[str]:
    """The studies in a folder."""
    return sorted(item.parent.name for item in folder.glob("*/study.json"))
