from __future__ import annotations

from pathlib import Path

from autodistill.dashboards.page import stage_seconds
from made import a_search, make_study, record

from autodistill.events import Event, StageFinished, StageProgress, StageStarted
from autodistill.study import Study
from autodistill.tuning.stage_times import StageTimes


def test_only_stages_that_had_work_to_do_are_timed_and_they_are_kept_with_the_session(tmp_path: Path) -> None:
    study = make_study(tmp_path, [record(0)])
    study.about["sessions"] = [
        {"started": "2026-01-05T09:30:00+00:00", "seconds": {"teacher": 10.0}},
        {"started": "2026-01-06T09:30:00+00:00"},
    ]
    heard: list[Event] = []
    times = StageTimes(heard.append)
    events = [*a_search(), StageStarted("teacher", "another"), StageProgress("teacher", 1, 1, ""), StageFinished("teacher", 8.8, "")]
    for event in events:
        times(event)
    assert heard == events
    assert times.seconds == {"teacher": 61.2 + 8.8}  # what was in the cache (the outputs: no progress) took no time of this search
    times.keep(study)
    again = Study.open(study.folder)
    assert again.about["sessions"][1]["seconds"] == {"teacher": 70.0}
    assert stage_seconds(again.about) == {"teacher": 80.0}
