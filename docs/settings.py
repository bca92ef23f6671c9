"""Writes settings.md and autodistill/keywords.py from autodistill/settings/. Run it after a setting is added or changed."""

from __future__ import annotations

import textwrap
from pathlib import Path

from autodistill.option import GROUPS, Option, Settings, annotation
from autodistill.settings import DatasetSettings, DistillSettings, PretrainSettings, RecommendSettings, SearchSettings, SpaceSettings

MODELS: tuple[type[Settings], ...] = (
    DatasetSettings,
    SpaceSettings,
    SearchSettings,
    RecommendSettings,
    DistillSettings,
    PretrainSettings,
)
COMMANDS: tuple[type[Settings], ...] = (SearchSettings, RecommendSettings, DistillSettings, PretrainSettings)

HEAD = """# Settings

All settings of `search`, `recommend`, `distill` and `pretrain`. A setting is an option of the command, a keyword in Python, and a key in a
YAML file that `--config` names. `docs/settings.py` writes this page from `autodistill/settings/`.

```yaml
# search.yaml:  autodistill search --config search.yaml --trials 60
dataset: reviews.csv
text_columns: [title, body]
max_params: 5M
max_latency_ms: 1/9.4     # a share of the teacher's own
trials: 40
```
- An option on the command line overrides the file: this search has 60 trials. It replaces a list, like `recipes`, as a whole.
- The opposite option undoes a flag that the file sets: `--no-cold` if the file says `cold: true`.
- Flags and lists are written like this: `cold: true`, `recipes: [one.yaml, two.yaml]`. A single value is a list of one.
- Paths are relative to the folder where the command runs, not to the file's folder.
- An unknown key or an invalid value is an error that names the line in the file.
- Numbers may have units, also in Python: `5M`, `250k`; `30m`, `2h`; `2ms`, `500us`.
"""

CODE = '''"""The keywords of the functions that take settings, for type checkers and editors. Written by `docs/settings.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from autodistill.recipe import Recipe
from autodistill.tasks.in_memory import ScoresLike
from autodistill.tasks.unlabelled import Unlabelled
'''


def page() -> str:
    """settings.md."""
    parts = [HEAD]
    for group in GROUPS:
        parts.append(f"## {group[0].upper()}{group[1:]}\n\n| setting | option | of | what |\n|---|---|---|---|")
        for name in dict.fromkeys(name for model in COMMANDS for name, option in model.options().items() if option.group == group):
            options = {model.command: model.options()[name] for model in COMMANDS if name in model.options()}
            abouts: dict[str, list[str]] = {}
            for command, option in options.items():
                abouts.setdefault(option.about, []).append(command)
            several = len(abouts) > 1
            what = "; ".join((f"{', '.join(commands)}: " if several else "") + about for about, commands in abouts.items())
            first = next(iter(options.values()))
            parts.append(f"| `{name}` | `{words(first)}` | {', '.join(options)} | {what} |")
        parts.append("")
    return "\n".join(parts)


def words(option: Option) -> str:
    """The option in the form of a command's help."""
    text = option.flag if option.metavar is None or option.positional else f"{option.flag} {option.metavar}"
    return text.replace("|", "\\|")  # it goes into a table


def code() -> str:
    """keywords.py."""
    parts = [CODE]
    for model in MODELS:
        (parent,) = model.__bases__
        base = "TypedDict" if parent is Settings else _name(parent)
        lines = [f"class {_name(model)}({base}, total=False):", f'    """{_about(model)}"""', ""]
        for name, option in model.options().items():
            if not option.required and name not in parent.model_fields:
                lines += [f"    {name}: {annotation(option)}", *_quoted(option.about)]
        parts.append("\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _name(model: type[Settings]) -> str:
    return model.__name__.replace("Settings", "Keywords")


def _about(model: type[Settings]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _quoted(text: str) -> list[str]:
    return textwrap.wrap(f'"""{text}."""', 136, initial_indent="    ", subsequent_indent="    ")


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(), encoding="utf-8")
    (Path(__file__).parents[1] / "autodistill" / "keywords.py").write_text(code(), encoding="utf-8")
