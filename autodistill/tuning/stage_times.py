"""What the stages before the trials took, kept in study.json for the report."""

from __future__ import annotations

from autodistill.events import Event, Listen, StageFinished, StageProgress
from autodistill.study import Study
from autodistill.study_folder import write_about


class StageTimes:
    """A listener that passes events on and keeps the seconds of the stages that had work to do, by stage.

    A teacher or outputs that were found in the cache tell no progress: their stage is left out, for its time is not the work's.
    """

    def __init__(self, listen: Listen) -> None:
        self.listen = listen
        self.seconds: dict[str, float] = {}
        self._working: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Take an event in, and pass it on."""
        match event:
            case StageProgress(stage):
                self._working.add(stage)
            case StageFinished(stage, seconds) if stage in self._working:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
                self._working.discard(stage)
        self.listen(event)

    def keep(self, study: Study) -> None:
        """Write the seconds into the study's latest session."""
        study.about["sessions"][-1]["seconds"] = {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}
        write_about(study.folder, study.about)
