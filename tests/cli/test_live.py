from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from made import a_search, ended, failed, make_study, point, record, search_started, started
from rich.console import Console

from autodistill.errors import UsageError
from autodistill.events import (
    Event,
    SearchMessage,
    StageFinished,
    StageProgress,
    StageStarted,
    TrialFinished,
    TrialReported,
)
from autodistill.limits import Limits
from autodistill.records import read_records
from autodistill.terminal.live import LiveView, PlainView, open_view
from autodistill.terminal.progress import Progress, best_line, count_line
from autodistill.terminal.python import job_shown, search_shown


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def live(width: int = 100, height: int = 30, dataset: str = "sst2", clock: Clock | None = None) -> LiveView:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None)
    return LiveView(console, dataset, Progress(clock=clock or Clock()), auto_refresh=False)


def picture(view: LiveView) -> list[str]:
    """The view's lines as they are now."""
    size = view.console.size
    console = Console(file=io.StringIO(), force_terminal=True, width=size.width, height=size.height, color_system=None)
    console.print(view.render())
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def feed(view: LiveView | PlainView, events: list[Event]) -> None:
    for event in events:
        view.listen(event)


def test_the_teacher_has_a_bar_and_then_a_score() -> None:
    view = live()
    feed(view, a_search()[:4])
    text = "\n".join(picture(view))
    assert re.search(r"teacher ━.* 60%  .*epoch 1 of 2", text)
    view.listen(a_search()[4])
    text = "\n".join(picture(view))
    assert "━" not in text
    assert "teacher done in 1m01s  big fine-tuned, accuracy 0.9000" in text


def test_the_table_has_running_trials_then_the_best_then_the_latest() -> None:
    view = live()
    feed(view, a_search())
    lines = picture(view)
    rows = [line.split() for line in lines if re.match(r" *\d+ +(search|no KD|plain KD)", line)]
    assert [(row[0]) for row in rows] == ["7", "4", "1", "0", "5", "3"]
    assert rows[0][1:5] == ["search", "running", "2/8", "0.7000"]  # the best score of its epochs
    assert rows[1][1:] == ["search", "complete", "2/8", "0.8700", "bert", "3×192", "1.23M", "40s"]
    text = "\n".join(lines)
    assert "sst2 · text-classification, 4,000 training and 500 validation rows, accuracy · study s" in text
    assert "0.8700 trial 4 · 96.7% of the teacher · +0.0600 vs no KD · bert 3×192" in text
    assert "3/8 + 2 baselines · 3 complete · 1 pruned · 1 failed · 1 infeasible" in text
    assert "trial 5 failed: DivergedError: the loss is nan" in view.console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("height", [8, 12, 16, 24])
def test_the_view_fits_its_terminal(width: int, height: int) -> None:
    view = live(width, height, dataset="データ[red]" * 8)
    feed(view, a_search())
    feed(view, [event for number in range(10, 60) for event in (started(number), TrialFinished(record(number, score=0.5)))])
    lines = picture(view)
    assert len(lines) < height
    assert any("running" in line for line in lines) or width < 30


def test_sixty_columns_keep_the_score_and_the_parameters() -> None:
    view = live(60, 24)
    feed(view, a_search())
    text = "\n".join(picture(view))
    assert re.search(r"4 search +complete +2/8 0.8700 +1.23M +40s", text)


def test_running_trials_come_before_all_others_where_the_room_is_small() -> None:
    view = live(80, 14)
    feed(view, a_search())
    feed(view, [started(number) for number in range(10, 14)])
    lines = [line for line in picture(view) if re.match(r" *\d+ +\S", line)]
    assert [line.split()[0] for line in lines[:5]] == ["7", "10", "11", "12", "13"]
    feed(view, [started(number) for number in range(14, 40)])
    lines = picture(view)
    assert len(lines) < 14
    shown = sum("running" in line for line in lines)
    hidden = int(re.search(r"… (\d+) more", "\n".join(lines)).group(1))  # type: ignore[union-attr]
    assert shown + hidden == 31  # five and 26


def test_left_out_trials_are_counted() -> None:
    view = live(80, 24)
    feed(view, [search_started(), *(TrialFinished(record(number, score=number / 100)) for number in range(50))])
    lines = picture(view)
    rows = [int(line.split()[0]) for line in lines if re.match(r" *\d+ +search", line)]
    half = (len(rows) + 1) // 2
    assert rows[:half] == list(range(49, 49 - half, -1))
    assert f"… {50 - len(rows)} more" in "\n".join(lines)


def test_names_are_shown_as_they_are() -> None:
    view = live(dataset="[red]größe[/red]\x1b[2J")
    feed(view, [search_started(), TrialFinished(failed(1, "ValueError: [bold]no[/bold] \x1b[31mred"))])
    text = "\n".join(picture(view)) + view.console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]größe[/red]" in text
    assert "ValueError: [bold]no[/bold]  [31mred" in text
    assert "\x1b[2J" not in text


def test_the_live_display_opens_and_closes_in_order() -> None:
    view = live()
    with view:
        feed(view, a_search())
        view.listen(SearchMessage("Ray stopped", "warning"))
    written = view.console.file.getvalue()  # type: ignore[attr-defined]
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # the cursor is hidden and comes back
    assert "Ray stopped" in written
    assert "running" not in "\n".join(picture(view))  # what stays is the summary: the leaderboard comes after it


def test_an_exception_leaves_the_terminal_in_order() -> None:
    view = live()
    with pytest.raises(KeyboardInterrupt), view:
        raise KeyboardInterrupt
    assert view.console.file.getvalue().endswith("\x1b[?25h")  # type: ignore[attr-defined]


def test_plain_lines_one_for_each_start_and_end() -> None:
    stream = io.StringIO()
    with PlainView(stream, "s\x1bst2", Progress(clock=Clock())) as view:
        feed(view, [*a_search(), ended(200.0, "time budget"), StageFinished("trials", 200.0, "")])
    lines = stream.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d \S", line) for line in lines)
    assert all(line.isprintable() for line in lines)
    assert [line[9:] for line in lines] == [
        "search on s st2: starting",
        "data: reading sst2",
        "data done in 0.5s: sst2: text-classification, 4,000 training and 500 validation rows, accuracy",
        "teacher: fine-tuning big",
        "teacher done in 1m01s: big fine-tuned, accuracy 0.9000",
        "outputs: storing",
        "outputs done in 9.5s: stored, 31 MB",
        "study s in /studies/s: 8 trials, 2 at a time",
        "trial 0 (no KD) started: bert, 1.23M parameters, at most 8 epochs",
        "trial 1 (plain KD) started: bert, 1.23M parameters, at most 8 epochs",
        "trial 0 (no KD) complete: 0.8100 after 2 epochs, bert 3×192, kl, 40s, the best so far",
        "trial 1 (plain KD) complete: 0.8300 after 2 epochs, bert 3×192, kl, 40s, the best so far",
        "trial 3 (search) started: bert, 1.23M parameters, at most 8 epochs",
        "trial 3 (search) pruned: 0.6000 after 2 epochs, bert 3×192, kl, 40s",
        "trial 4 (search) started: bert, 1.23M parameters, at most 8 epochs",
        "trial 4 (search) complete: 0.8700 after 2 epochs, bert 3×192, kl, 40s, the best so far",
        "trial 5 (search) started: bert, 1.23M parameters, at most 8 epochs",
        "trial 5 (search) failed: DivergedError: the loss is nan, 40s",
        "trial 7 (search) started: bert, 1.23M parameters, at most 8 epochs",
        "trials ended after 3m20s (time budget): 3/8 + 2 baselines · 3 complete · 1 pruned · 1 failed · 1 infeasible",
    ]


def test_a_long_stage_says_once_a_minute_how_far_it_is() -> None:
    clock, stream = Clock(), io.StringIO()
    view = PlainView(stream, "d", Progress(clock=clock))
    view.listen(StageStarted("teacher", "fine-tuning"))
    for step in range(300):
        clock.now += 1
        view.listen(StageProgress("teacher", step, 300, "epoch 1"))
    lines = [line[9:] for line in stream.getvalue().splitlines()]
    assert lines == ["teacher: fine-tuning", *(f"teacher: {step}/300 epoch 1" for step in (59, 119, 179, 239, 299))]


def test_a_file_gets_plain_lines_even_where_colour_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(open_view(io.StringIO(), "d", Progress()), PlainView)


def test_a_terminal_gets_the_live_view_unless_it_is_dumb(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(open_view(Terminal(), "d", Progress()), LiveView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_view(Terminal(), "d", Progress()), PlainView)


def test_the_time_left_is_the_work_over_the_workers() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    progress.hear(search_started(trials=5))
    assert progress.time_left() is None
    for number, role in enumerate(("no_kd", "plain_kd", "defaults")):
        progress.hear(TrialFinished(record(number, role, seconds=60.0)))
    progress.hear(TrialFinished(record(3, seconds=20.0)))
    assert progress.time_left() == pytest.approx(4 * 50.0 / 2)
    progress.hear(started(4))
    clock.now += 10
    assert progress.time_left() == pytest.approx((4 * 50.0 - 10) / 2)
    clock.now += 500  # a slow trial takes no more off than it was counted for
    assert progress.time_left() == pytest.approx(3 * 50.0 / 2)
    progress.hear(ended())
    assert progress.time_left() is None


def test_the_time_left_ends_with_the_budget() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    progress.hear(search_started(time_budget=90.0))
    clock.now += 30
    assert progress.time_left() == pytest.approx(60.0)
    progress.hear(TrialFinished(record(0, "no_kd", seconds=40.0)))
    assert progress.time_left() == pytest.approx(60.0)  # 10 trials of 40 s would take 200 s
    clock.now += 100
    assert progress.time_left() == 0.0


def test_a_resumed_search_knows_the_earlier_trials(tmp_path: Path) -> None:
    study = make_study(tmp_path, [record(0, "no_kd", 0.7), record(1, score=0.8), failed(2, "interrupted: killed")])
    progress = Progress(earlier=lambda folder: read_records(Path(folder) / "trials.parquet"))
    progress.hear(search_started(str(study.folder), done=1))
    assert best_line(progress) == "0.8000 trial 1 · 88.9% of the teacher · +0.1000 vs no KD · bert 3×192"
    assert count_line(progress) == "1/8 + 1 baseline · 2 complete · 0 pruned · 0 failed · 1 interrupted"


def test_a_baseline_over_the_limits_is_never_the_best() -> None:
    progress = Progress()
    progress.hear(search_started(limits=Limits(max_params=1000)))
    progress.hear(TrialFinished(record(0, "no_kd", 0.9, params=2000)))
    assert best_line(progress) is None
    progress.hear(TrialFinished(record(1, score=0.5, params=900, teacher_score=-0.1)))
    assert best_line(progress) == "0.5000 trial 1 · -0.4000 vs no KD · bert 3×192"


def test_two_teachers_add_up() -> None:
    progress = Progress(clock=Clock())
    for seconds in (10.0, 20.0):
        progress.hear(StageStarted("teacher", "fine-tuning"))
        progress.hear(StageFinished("teacher", seconds, "done"))
    assert progress.seconds("teacher") == pytest.approx(30.0)
    assert progress.seconds("outputs") == 0.0


def test_a_report_of_a_trial_that_has_ended_is_let_go() -> None:
    progress = Progress()
    progress.hear(TrialReported(3, point(1, 0.5), 0))
    assert progress.running == {}


@pytest.mark.parametrize("reason", ["interrupted: killed", "DivergedError: the loss is nan"])
def test_how_a_trial_failed_is_said_once_in_both_views(reason: str) -> None:
    lines, screen = io.StringIO(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, height=30, color_system=None)
    plain = PlainView(lines, "d", Progress(clock=Clock()))
    terminal = LiveView(console, "d", Progress(clock=Clock()), auto_refresh=False)
    for view in (plain, terminal):
        feed(view, [search_started(), TrialFinished(failed(1, reason))])
    how = reason if reason.startswith("interrupted") else f"failed: {reason}"
    assert re.search(rf"trial 1 \([^)]*\) {re.escape(how)}", lines.getvalue())
    assert f"trial 1 {how}" in screen.getvalue()


def test_quiet_shows_warnings_alone_and_verbose_every_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    events = [*a_search(), SearchMessage("Ray stopped", "warning"), SearchMessage("limits: none"), StageProgress("frontier", 1, 2, "one")]
    shown = {}
    for verbose in (0, 1, 2):
        stream = io.StringIO()
        with open_view(stream, "d", Progress(clock=Clock()), verbose) as view:
            feed(view, events)  # type: ignore[arg-type]
        shown[verbose] = stream.getvalue()
    assert shown[0] == ""
    assert capsys.readouterr().err == "autodistill: warning: Ray stopped\n"
    reported = [event for event in events if isinstance(event, TrialReported)]
    assert reported
    assert "epoch 1:" not in shown[1]
    assert shown[2].count("validation loss") == len(reported)
    assert "frontier: 1/2 one" in shown[2]
    assert "frontier: 1/2" not in shown[1]


def test_python_shows_the_progress_unless_a_listener_does(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Event] = []
    message = SearchMessage("limits: none")
    for listen, verbose, seen in ((None, None, True), (None, 0, False), (heard.append, None, False), (heard.append, 1, True)):
        for shown in (search_shown(listen, verbose, "d"), job_shown(listen, verbose)):
            with shown as hear:
                hear(message)
            said = capsys.readouterr()
            assert ("limits: none" in said.err) is seen
            assert said.out == ""
    assert heard == [message] * 4
    with pytest.raises(UsageError, match="verbose is 3; it should be 0"), job_shown(None, 3):
        pass
