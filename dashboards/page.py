"""The report: a study in one HTML file that needs no network, for readers who did not run the search."""

from __future__ import annotations

import functools
import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup

from autodistill.facts import study_epochs, study_limits
from autodistill.limits import Limits
from autodistill.option import QUESTION
from autodistill.ranking import count, preferred, was_interrupted
from autodistill.recipe import Recipe
from autodistill.records import TrialRecord
from autodistill.report import measures, texts
from autodistill.report.answer import answer
from autodistill.report.choices import Choice, choices, distill_command, export_command
from autodistill.report.frontier import advice, cells, frontier, note
from autodistill.report.leaderboard import Row, above_best, data_reading, failures, have_agreements, rows, verdict
from autodistill.settings import SearchSettings
from autodistill.teachers import Teachers, describe, short_name

from . import FIGURES, costs, draw_figure, style
from .trials import trial_heads, trial_table

if TYPE_CHECKING:
    from autodistill.recommender.library import RecordedStudy

_CLEAR = "rgba(0, 0, 0, 0)"
_AIR = 14
"""The space above a plot on the page, in pixels."""


@dataclass(frozen=True)
class Drawn:
    """A figure on a page: its id, its height in pixels, its JSON; `empty` says why there is nothing to draw. alt: the figure in words.

    least_width: in pixels, below which the page lets it scroll; None for a usual one.
    """

    id: str
    height: int
    json: str
    empty: str
    alt: str
    least_width: int | None


@dataclass(frozen=True)
class Subject:
    """The subject of a page: a study's folder or a recorded study. recipe: the recommended recipe as YAML; empty where there is none.

    folder: where it lies, as commands name it. live: where optuna-dashboard shows it, for a page that the dashboard serves; else empty.
    """

    name: str
    records: list[TrialRecord]
    limits: Limits
    settings: SearchSettings
    about: Mapping[str, Any]
    recipe: str
    folder: str
    live: str = ""


def render_recorded(study: RecordedStudy) -> str:
    """The page of a recorded study that is shipped. Its commands are for the root of the repository."""
    settings = SearchSettings.from_dict({"dataset": study.dataset, "study": study.name, **study.about.get("settings", {})})
    limits = study_limits(study.about)
    best = preferred(study.records, limits, settings.prefer)
    recipe = "" if best is None else Recipe.parse(best.recipe).to_yaml()
    facts = {"name": study.dataset, "task": study.task, "train_rows": study.train_rows, "fingerprint": study.fingerprint}
    about = {**study.about, "dataset": facts}
    return render_subject(Subject(study.name, study.records, limits, settings, about, recipe, f"studies/recorded/{study.name}"))


def render_subject(study: Subject) -> str:
    """The page of a study. The template and the figures escape every name from outside."""
    records, limits = study.records, study.limits
    stages = stage_seconds(study.about)
    teachers = Teachers.of_study(study.about)
    data = study.about["dataset"]
    validation_rows, constant = data.get("validation_rows"), data.get("constant_score")
    leaderboard = rows(records, limits, teachers, stages.get("teacher"), constant)
    prefer = study.settings.prefer
    chosen = preferred(records, limits, prefer)
    figures = {name: draw_figure(name, records, limits, study.about) for name in FIGURES if name != "time"}
    figures["time"] = costs.time(records, limits, stages)
    reading = data_reading(records, data.get("unlabelled_rows", 0))
    return page(
        "report.html.jinja",
        study=study,
        overview=_overview(study),
        answer=answer(records, limits, prefer),
        verdict=f"{verdict(records, limits, validation_rows, constant)} {reading}".rstrip(),
        data_reading=reading,
        has_data_curve=any(record.role == "fewer_rows" for record in records),
        facts=_facts(chosen, records, teachers),
        models=[(model, cells(model)) for model in frontier(records, limits, prefer, study.about)],
        frontier_notes=[sentence for sentence in (advice(records, limits, prefer), note(study.about)) if sentence],
        rows=[_cells(row) for row in leaderboard],
        compared=have_agreements(leaderboard),
        above_best=above_best(leaderboard, records, limits),
        choices=[_choice(choice, study) for choice in choices(records, limits)],
        trial_heads=trial_heads(records),
        trials=trial_table(records),
        metric=texts.clean(records[0].metric) if records else "score",
        figures={name: draw(name, figure) for name, figure in figures.items()},
        limits=limits.text() if limits != Limits() else "",
        recipe=study.recipe,
        counts=_counts(records),
        noise=measures.seed_noise(records),
        time=_time(records, stages),
        failures=failures(records),
        infeasible=sum(record.state == "infeasible" for record in records),
        reproduce=_reproduce(study.settings),
        environment=_environment(study.about),
    )


def page(template: str, **values: Any) -> str:
    """A page from one of the templates in this folder; it contains plotly.js once."""
    from plotly.offline import get_plotlyjs

    kept = {"plotly": Markup(get_plotlyjs()), "css": _file("report.css"), "script": _file("report.js")}
    return _templates().get_template(template).render(**kept, **values)


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: str(_file(name))), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"score": texts.score, "duration": texts.duration, "percent": texts.percent, "plural": texts.plural}
    return environment


def _file(name: str) -> Markup:
    return Markup(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))  # our own text, no name from outside


def draw(name: str, figure: go.Figure) -> Drawn:
    """A figure for a page: without title and legend, which the page writes itself, and escaped for a script element."""
    meta = figure.layout.meta if isinstance(figure.layout.meta, dict) else {}
    top = figure.layout.margin.t or style.TOP
    height = int(figure.layout.height - style.TOP + _AIR)
    alt = describe_figure(figure)
    figure.update_layout(title_text=None, showlegend=False, margin_t=top - style.TOP + _AIR, height=height)
    figure.update_layout(paper_bgcolor=_CLEAR, plot_bgcolor=_CLEAR)  # the page's background is seen, light or dark
    text = figure.to_json().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Drawn(name, height, text, meta.get("empty", ""), alt, meta.get("least_width"))


def describe_figure(figure: go.Figure) -> str:
    """A figure in words, for those who do not see it: its title, its axes, the names of what is drawn, and what it says of itself."""
    axes = [axis.title.text for axis in (*figure.select_xaxes(), *figure.select_yaxes()) if axis.title.text]
    named = [trace.name for trace in figure.data if trace.name and trace.showlegend is not False]
    meta = figure.layout.meta if isinstance(figure.layout.meta, dict) else {}
    parts = [figure.layout.title.text or "", "; ".join(dict.fromkeys(axes)), ", ".join(dict.fromkeys(named)), meta.get("alt", "")]
    return ". ".join(html.unescape(re.sub("<[^>]*>", " ", part)) for part in parts if part)


def _cells(row: Row) -> dict[str, Any]:
    return {
        "trial": "" if row.trial is None else str(row.trial), "name": row.name, "score": texts.score(row.score),
        "agreement": texts.score(row.agreement), "retention": texts.percent(row.retention), "params": texts.params(row.params),
        "latency": texts.latency(row.latency_ms), "seconds": texts.duration(row.seconds),
        "student": row.student if row.trial is not None else short_name(row.student),
        "objective": row.objective, "best": row.is_best, "teacher": row.trial is None,
    }  # fmt: skip


def _choice(choice: Choice, study: Subject) -> tuple[int, str, str]:
    """A student on a Pareto front: its trial, its line, and the commands that make and export it."""
    trial = choice.record.trial
    return trial, choice.text, f"{distill_command(study.folder, study.name, trial)}\n{export_command(study.name, trial)}"


def _overview(study: Subject) -> dict[str, str]:
    settings, data, epochs = study.settings, study.about["dataset"], study_epochs(study.about)
    at_most = f", of at most {texts.plural(epochs, 'epoch')} each" if epochs else ""
    overview = {
        "dataset": f"{data['name']}: {data['task']}, {data['train_rows']:,} training rows",
        **_teachers(study.about),
        "limits on the student": _limits(study),
        "trials": f"{settings.trials} beside the baselines{at_most}",
    }
    trials = [str(record.trial) for record in study.records if record.role == "given"]
    if trials:
        overview["recipes of one's own"] = f"{len(trials)}, given with --recipe: trial {', '.join(trials)}"
    if settings.time_budget is not None:
        overview["time budget"] = texts.duration(settings.time_budget)
    return overview


def _limits(study: Subject) -> str:
    text = Teachers.of_study(study.about).shares(study.settings.max_params, study.settings.max_latency_ms)
    return study.limits.text() + (f" (beside the teacher: {texts.clean(text)})" if text else "")


def _teachers(about: Mapping[str, Any]) -> dict[str, str]:
    """The lines of a page's head that describe the teachers, one each. A teacher that was not compared has only its name."""
    teachers, metric = Teachers.of_study(about), texts.clean(str(about["dataset"].get("metric", "score")))
    if len(teachers) < 2:
        lines = [describe(name, metric, teachers[part]) if teachers[part].is_compared else name for part, name in teachers.names.items()]
        return {"teacher": texts.clean(", ".join(lines)) or "not recorded"}
    return {f"teacher {number}": texts.clean(line) for number, line in enumerate(teachers.descriptions(metric), 1)}


def _facts(best: TrialRecord | None, records: Sequence[TrialRecord], teachers: Teachers) -> list[tuple[str, str, str]]:
    """The numbers at the top of the page: value, what it is, and a remark."""
    if best is None or best.score is None:
        return []
    teacher = teachers.of(best.recipe)
    seeds = next(item for item in measures.by_recipe(records) if item.record.recipe_id == best.recipe_id)
    spread = "one seed" if seeds.spread is None else f"± {seeds.spread:.4f} over {len(seeds.scores)} seeds"
    facts = [(texts.score(seeds.mean), f"{texts.clean(best.metric)} on validation", spread)]
    if seeds.retention is not None:
        facts.append((texts.percent(seeds.retention), "of the teacher’s score", f"teacher {texts.score(best.teacher_score)}"))
    beside = "" if teacher.params is None else f", teacher {texts.params(teacher.params)}"
    facts.append((texts.params(best.params), "parameters", texts.student(best.recipe) + beside))
    if best.latency_ms is not None:
        beside = "" if teacher.latency_ms is None else f", teacher {texts.latency(teacher.latency_ms)}"
        facts.append((texts.latency(best.latency_ms), f"for one row{beside}", "on the machine of the search"))
    return facts


def _counts(records: Sequence[TrialRecord]) -> str:
    words = {
        "complete": "run to the end",
        "pruned": "stopped early",
        "fail": "failed",
        "infeasible": "over a limit and not run",
        "interrupted": "interrupted",
    }
    return ", ".join(f"{number} {words[state]}" for state, number in count(list(records)).items() if number)


def stage_seconds(about: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of the stages before the trials, `teacher` and `outputs`, summed over all sessions; only those that were measured."""
    total: Counter[str] = Counter()
    for session in about.get("sessions", []):
        total.update({name: float(value) for name, value in session.get("seconds", {}).items()})
    return dict(total)


def _time(records: Sequence[TrialRecord], stages: Mapping[str, float]) -> dict[str, Any]:
    spent = sum(measures.worker_seconds(records).values()) + sum(stages.get(name, 0.0) for name in ("teacher", "outputs"))
    stopped = measures.saved_by_stopping(records)
    stored = measures.saved_by_store(records, stages.get("outputs"))
    return {
        "spent": spent,
        "stopping": stopped,
        "stopped": sum(record.state == "pruned" for record in records),
        "store": stored,
        "taught": measures.taught_epochs(records),
        "pass": stages.get("outputs"),
        "cut": sum(was_interrupted(record) for record in records),
    }


def _reproduce(settings: SearchSettings) -> str:
    """The command that repeats the search, in a study of another name."""
    again = settings.model_copy(update={"study": f"{settings.study}-again"})
    return texts.clean(again.command_line(QUESTION, always=("study",)))


def _environment(about: Mapping[str, Any]) -> dict[str, str]:
    sessions = about.get("sessions") or [{}]
    last: Mapping[str, Any] = sessions[-1]
    facts = {"dataset fingerprint": str(about["dataset"].get("fingerprint", "not recorded"))}
    if "started" in sessions[0]:
        facts["started"] = datetime.fromisoformat(sessions[0]["started"]).strftime("%-d %B %Y, %H:%M UTC")
    if len(sessions) > 1:
        facts["sessions"] = str(len(sessions))
    return facts | {name: texts.clean(str(value)) for name, value in last.get("environment", {}).items()}
