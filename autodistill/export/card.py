"""The model card: what the student is, its scores, and how it was made, for the README.md that hubs show. A function of the facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from autodistill.models import family_of
from autodistill.recipe import Recipe
from autodistill.report import texts
from autodistill.report.leaderboard import finite
from autodistill.task_types import modality_of, target_of


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """Write distillation.json. Numbers that are not finite become null."""
    path.write_text(json.dumps(finite(facts), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def model_card(facts: dict[str, Any], recipe: Recipe, about: dict[str, Any], name: str) -> str:
    """The card as Markdown, headed by the metadata that the Hugging Face hub reads. about: student.json. name: of the folder."""
    data, student = facts["dataset"], facts["student"]
    who = texts.student(recipe.model_dump())
    parts = [
        f"---\n{_metadata(facts, recipe, name)}\n---",
        f"# {texts.clean(name)}",
        f"{'An' if who[0] in 'aeiou' else 'A'} {who} student with {texts.params(student['params'])} parameters, {_source(facts, recipe)} "
        f"on *{texts.clean(data['name'])}* ({data['task']}) with autodistill.",
        *([] if facts["teacher"]["scores"] is None else [f"## Teacher\n{_about_scores(facts, recipe)}"]),
        f"## Scores\n{_scores(facts, recipe)}",
        f"## Size and latency\n{_costs(recipe, facts)}",
        f"## Use\n{_use(recipe, facts, about)}",
        f"## Data\n{_data(facts)}",
        f"## Limits\n{_limits(facts, recipe)}",
        f"## How it was made\n{_making(facts)}\n\n```yaml\n{recipe.to_yaml().strip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(facts: dict[str, Any], recipe: Recipe, name: str) -> str:
    about = facts["dataset"]
    pipeline_tag = target_of(recipe.task).pipeline_tag or modality_of(recipe.task).pipeline_tag
    result = EvalResult(
        task_type=pipeline_tag,
        dataset_type=texts.clean(about["name"]),
        dataset_name=texts.clean(about["name"]),
        metric_type=about["metric"],
        metric_value=facts["student"]["test"],
        dataset_split="test",
    )
    data = ModelCardData(
        model_name=texts.clean(name),
        library_name=family_of(recipe.student).library,
        pipeline_tag=pipeline_tag,
        tags=["knowledge-distillation", "autodistill"],
        base_model=_base_model(facts, recipe),
        eval_results=[result],
    )
    return str(data.to_yaml())


def _base_model(facts: dict[str, Any], recipe: Recipe) -> str | None:
    """The hub id of the pretrained model that the student was, else of its teacher; None if there is none, as with a file of scores."""
    own = family_of(recipe.student).pretrained_model(recipe.student)
    if own is None and facts["teacher"]["scores"] is not None:
        return None
    model = own or facts["teacher"]["model"]
    return model if model.count("/") == 1 and not Path(model).exists() else f"timm/{model[5:]}" if model.startswith("timm:") else None


def _source(facts: dict[str, Any], recipe: Recipe) -> str:
    """What the student learned from."""
    if recipe.teacher.is_self:
        past = " and its own past predictions" if recipe.objective.self_distillation > 0 else ""
        return f"trained without a teacher, from labels{past},"
    return f"distilled from {_teacher(facts)}"


def _teacher(facts: dict[str, Any]) -> str:
    teacher = facts["teacher"]
    if teacher["scores"] is None:
        return f"`{texts.clean(teacher['model'])}`"
    return f"a teacher's scores in the file `{texts.clean(teacher['scores']['file'])}`"


def _about_scores(facts: dict[str, Any], recipe: Recipe) -> str:
    scores = facts["teacher"]["scores"]
    covered = ", ".join(f"{split} {share:.1%}" for split, share in scores["coverage"].items())
    own = family_of(recipe.student).pretrained_model(recipe.student)
    origin = f"that of `{texts.clean(facts['teacher']['model'])}`, and so are the initial weights if the recipe has `init: teacher`"
    if own is not None:
        origin = f"the student's own, as it was published with `{texts.clean(own)}`"
    return (
        f"The file `{texts.clean(scores['file'])}` holds {scores['kind']} of {scores['texts']:,} texts, which were made elsewhere: no "
        f"teacher network was trained or run. Rows that have scores: {covered}. Fingerprint: `{scores['fingerprint']}`. The tokenizer is "
        f"{origin}."
    )


def _scores(facts: dict[str, Any], recipe: Recipe) -> str:
    about, teacher, student, test = facts["dataset"], facts["teacher"], facts["student"], facts["test"]
    lines = [f"| {about['metric']} | validation | test |", "| --- | --- | --- |"]
    if teacher["validation"] is not None or teacher["test"] is not None:
        who = f"teacher{_on_its_rows(facts)}"
        lines.append(f"| {who} | {texts.score(teacher['validation'])} | {texts.score(teacher['test'])} |")
    lines.append(
        f"| **this student** (seed {student['seed']}) | {texts.score(student['validation'])} | **{texts.score(student['test'])}** |"
    )
    bare = f"no KD (the same student, {target_of(about['task']).without_teacher})"
    for title, runs in (("distilled", facts["seeds"]), (bare, facts["no_kd"] or [])):
        lines += [f"| {title}, seed {run['seed']} | {texts.score(run['validation'])} | {texts.score(run['test'])} |" for run in runs]
    others = [f"{other} {texts.score(value)}" for other, value in student["test_metrics"].items() if other != about["metric"]]
    sentences = []
    if recipe.teacher.is_self:
        sentences.append("There was no teacher, so there is no retention and no distillation ratio.")
    elif test["beside_teacher"] is None:
        sentences = [
            f"The teacher has no test score, as its file covers only {teacher['scores']['coverage']['test']:.1%} of the test rows; so "
            "there is no retention and no distillation ratio."
        ]
    else:
        over = f"this student's test score over the teacher's{_on_its_rows(facts)}"
        sentences = [f"Retention ({over}): **{texts.percent(student['retention'])}**."]
    if test["sd"] is not None:
        retention = "" if test["retention_mean"] is None else f" ({texts.percent(test['retention_mean'])})"
        mean = f"{texts.score(test['mean'])} ± {texts.score(test['sd'])}"
        sentences.append(f"Mean ± standard deviation over {len(facts['seeds'])} seeds: {mean}{retention}.")
    sentences.append(_ratio(facts, target_of(about["task"]).without_teacher))
    if others:
        sentences.append(f"On all test rows: {', '.join(others)}.")
    chosen = "the validation split"
    if facts["seeds"][0].get("agreement") is not None:
        chosen += " and by the students' agreement with the teacher on rows without labels that they had not learned from"
    sentences.append(f"The seed was chosen by {chosen}; the test split was opened once, after all training.")
    return "\n".join(lines) + "\n\n" + " ".join(sentences)


def _on_its_rows(facts: dict[str, Any]) -> str:
    """Which test rows the teacher has scores for, if these are not all."""
    beside, rows = facts["test"]["beside_teacher"], facts["dataset"]["rows"]["test"]
    return "" if beside is None or beside["rows"] == rows else f", on the {beside['rows']:,} of {rows:,} test rows that it has scores for"


def _ratio(facts: dict[str, Any], bare: str) -> str:
    """The distillation ratio, or why there is none. bare: how the student without KD is made."""
    test, teacher = facts["test"], facts["teacher"]["test"]
    if test["beside_teacher"] is None:
        if test["no_kd_mean"] is None:
            return f"There is no student without KD ({bare}) beside it, so the gain of distillation is not known."
        gain = test["mean"] - test["no_kd_mean"]
        return f"Gain of distillation (distilled − no KD, means over the seeds): **{gain:+.4f}**."
    if test["no_kd_mean"] is None:
        return f"Distillation ratio: not known, there is no student without KD ({bare}) beside it."
    how = "(distilled − no KD) / (teacher − no KD), means over the seeds"
    if test["distillation_ratio"] is None:
        mean = texts.score(test["beside_teacher"]["no_kd_mean"])
        return f"Distillation ratio, {how}: not defined, the student without KD ({mean}) is no worse than the teacher ({teacher:.4f})."
    return f"Distillation ratio, {how}: **{test['distillation_ratio']:.2f}**."


def _costs(recipe: Recipe, facts: dict[str, Any]) -> str:
    teacher, student = facts["teacher"], facts["student"]
    lines = ["| | parameters | latency |", "| --- | --- | --- |"]
    models = [("teacher", teacher)] if teacher["params"] is not None else []
    lines += [f"| {who} | {of['params']:,} | {of['latency_ms']:.3g} ms |" for who, of in (*models, ("this student", student))]
    if models:
        fewer, faster = teacher["params"] / student["params"], teacher["latency_ms"] / student["latency_ms"]
        lines.append(f"| ratio | {fewer:.1f}× fewer | {faster:.1f}× faster |")
    text = "\n".join(lines)
    text += f"\n\nLatency: medians of paired rounds in one run, {facts['latency_of']}. The weights take {student['bytes'] / 1e6:.2f} MB."
    if facts["written_params"] != student["params"]:
        text += f" {family_of(recipe.student).written_note(facts['written_params'])}"
    return text


def _use(recipe: Recipe, facts: dict[str, Any], about: dict[str, Any]) -> str:
    modality, target = (
        modality_of(recipe.task),
        target_of(recipe.task, facts["dataset"]["classes"], about.get("thresholds"), about.get("width", 0)),
    )
    code = family_of(recipe.student).usage(about, modality.texts > 1)
    note = texts.clean(target.logits_note)
    return f"```python\n{code}```\n\n{note} On the command line: `autodistill predict FOLDER {modality.example}`."


def _data(facts: dict[str, Any]) -> str:
    about = facts["dataset"]
    rows = ", ".join(f"{count:,} {split}" for split, count in about["rows"].items())
    lines = [f"*{texts.clean(about['name'])}*, fingerprint `{about['fingerprint']}`. Rows: {rows}."]
    if about["test_rows_in_train"]:
        lines.append(f"{about['test_rows_in_train']:,} test rows are among the training rows too.")
    lines += [f"- {texts.clean(note)}" for note in about["notes"]]
    return "\n".join(lines)


def _limits(facts: dict[str, Any], recipe: Recipe) -> str:
    origin = "from labels alone. It has its own mistakes" if recipe.teacher.is_self else "from its teacher. It has the teacher's mistakes"
    biases = "and those of the data" if recipe.teacher.is_self else "and biases, its own, and those of the data"
    lines = [
        f"- Meant for inputs like those of *{texts.clean(facts['dataset']['name'])}*; it has not been tried on others.",
        f"- It learned {origin} {biases}.",
    ]
    if target_of(facts["dataset"]["task"]).has_probabilities:
        lines.append("- Its probabilities are not calibrated.")
    if facts["max_length"] is not None:
        lines.append(f"- It reads the first {facts['max_length']} tokens of a row; the rest is cut off.")
    if facts["dataset"]["rows"]["test"] < 500:
        lines.append(f"- The test split has {facts['dataset']['rows']['test']} rows: the scores above are uncertain.")
    if len(facts["seeds"]) < 3:
        lines.append("- Fewer than three seeds were trained: how much the scores vary is not known.")
    return "\n".join(lines)


def _making(facts: dict[str, Any]) -> str:
    environment = facts["environment"]
    versions = ", ".join(f"{name} {environment[name]}" for name in ("autodistill", "torch", "python") if name in environment)
    command = f"```bash\n{facts['command']}\n```\n\n" if facts["command"] else ""
    epochs = ", ".join(str(run["best_epoch"]) for run in facts["seeds"])
    seconds = sum(run["seconds"] for run in facts["seeds"])
    return (
        f"{command}{versions}. The best epoch of each seed (by validation) was kept: {epochs}; training took {texts.duration(seconds)}. "
        f"All figures are in `distillation.json`. Recipe `{facts['recipe_id']}`:"
    )
