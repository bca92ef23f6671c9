"""A setting on the command line, in Python and in a file. The models in settings/ are made of these."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from autodistill.errors import UsageError, not_allowed
from autodistill.storage import user_path
from autodistill.values import FLAG, URL, Kind, without_password
from autodistill.yamlfile import load_yaml

DATA, WHAT, MUCH = "the dataset", "what is searched", "how much"
WHERE, KEPT = "where it runs", "what is kept"
GROUPS = (DATA, WHAT, MUCH, WHERE, KEPT)
QUESTION = (DATA, WHAT, MUCH)
"""The groups that affect the result; the others are about the machine and its folders."""


def setting(default: Any, about: str, metavar: str | None = None, group: str = MUCH, flag: str | None = None, off: str = "") -> Any:
    """A field: its default (`...` for none), its text for people, and its form on the command line.

    Args:
        default: a value; or a function that computes it from the fields before it, and then `about` has to say "(default: …)".
        about: what the setting is; if it does not say "(default: …)", that is added.
        metavar: the placeholder of the value; None for a flag.
        group: the heading of the option.
        flag: the option, if its name differs from the field's; without dashes it is a positional argument.
        off: the option's help if the default is True and the option turns it off.
    """
    place: dict[str, Any] = {"metavar": metavar, "group": group, "flag": flag, "off": off}
    if callable(default):
        return Field(default_factory=default, description=about, json_schema_extra=place)
    return Field(default, description=about, json_schema_extra=place)


@dataclass(frozen=True)
class Option:
    """A field on the command line.

    about: what the setting is; help: what the option does. default: also None if it is computed from other fields or is `required`.
    """

    name: str
    flag: str
    metavar: str | None
    group: str
    about: str
    help: str
    kind: Kind
    default: Any
    required: bool

    @classmethod
    def of(cls, name: str, field: FieldInfo) -> Option:
        """The option of a field."""
        place = field.json_schema_extra
        kind = next((item for item in field.metadata if isinstance(item, Kind)), None)
        assert isinstance(place, dict), f"{name}: a field is made by setting()"
        assert kind is not None, f"{name}: a field's annotation has a Kind"
        default = None if field.is_required() or field.default_factory is not None else field.default
        flag = str(place["flag"] or f"--{'no-' if default is True else ''}{name.replace('_', '-')}")
        about, metavar = field.description or "", place["metavar"]
        if not (default in (None, ()) or kind is FLAG or "(default" in about):
            about += f" (default: {kind.show(default)})"
        return cls(
            name=name,
            flag=flag,
            metavar=None if metavar is None else str(metavar),
            group=str(place["group"]),
            about=about,
            help=str(place["off"]) or about,
            kind=kind,
            default=default,
            required=field.is_required(),
        )

    @property
    def positional(self) -> bool:
        """Whether it is a positional argument."""
        return not self.flag.startswith("-")

    def words(self, value: Any) -> list[str]:
        """The command's words for a value of the field."""
        if self.kind is FLAG:
            return [self.flag if value is not self.default else opposite(self.flag)]
        texts = [self.kind.show(item) for item in (value if self.kind.many else [value])]
        if self.positional:
            return texts
        return [word for item in texts for word in ([f"{self.flag}={item}"] if item.startswith("-") else [self.flag, item])]


def opposite(flag: str) -> str:
    """The option that undoes a flag: `--no-cold` for `--cold`, `--control` for `--no-control`."""
    return f"--{flag.removeprefix('--no-')}" if flag.startswith("--no-") else f"--no-{flag.removeprefix('--')}"


class Settings(BaseModel):
    """Base of the settings: frozen. None means the default, and an invalid value is a UsageError.

    Raises:
        UsageError: a value is invalid, or a setting is missing or unknown. It names the setting and what is allowed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    command: ClassVar[str]

    def __init__(self, /, **values: Any) -> None:
        unknown = next((name for name in values if name not in type(self).model_fields), None)
        if unknown is not None:
            raise UsageError(_unknown(unknown, type(self)))
        try:
            super().__init__(**values)
        except ValidationError as cause:
            name = str(cause.errors()[0]["loc"][0])
            raise UsageError(_refusal(type(self).options()[name], values.get(name))) from None

    @model_validator(mode="before")
    @classmethod
    def _none_is_the_default(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value is not None} if isinstance(values, dict) else values

    @classmethod
    @functools.cache
    def options(cls) -> dict[str, Option]:
        """The fields as options, by name, in the order of their groups."""
        fields = [Option.of(name, field) for name, field in cls.model_fields.items()]
        return {option.name: option for option in sorted(fields, key=lambda option: GROUPS.index(option.group))}

    @classmethod
    def read(cls, values: Mapping[str, Any], config: str | Path | None = None) -> Self:
        """The settings from values and a file; the values win.

        Raises:
            UsageError: as for the class; for a value in the file, with its line.
        """
        data: Any = {}
        if config is not None:
            file = load_yaml(user_path(config, UsageError), UsageError)
            data = {} if file.data is None else file.data
        if not isinstance(data, dict):
            raise UsageError(f"{file.source} should hold settings, one `name: value` on each line, like `trials: 40`")
        data = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
        for name, value in data.items():
            if name not in cls.model_fields:
                raise UsageError(f"{file.where((name,))}: {_unknown(name, cls)}")
            option = cls.options()[name]
            try:
                if value is not None:
                    option.kind.read(value)
            except ValueError:
                raise UsageError(f"{file.where((name,))}: {_refusal(option, value)}") from None
        return cls(**{**data, **values})

    def changed(self, groups: Sequence[str] = GROUPS) -> dict[str, Any]:
        """The settings that are not at their defaults, by name."""
        values = {name: getattr(self, name) for name, option in self.options().items() if option.group in groups}
        return {name: value for name, value in values.items() if value != self.default_of(name)}

    def default_of(self, name: str) -> Any:
        """A field's default, beside the other settings."""
        return type(self).model_fields[name].get_default(call_default_factory=True, validated_data=dict(self))

    def command_line(self, groups: Sequence[str] = GROUPS, always: Sequence[str] = ()) -> str:
        """The command with these settings, ready for a shell: those that are not at their defaults, and those in `always`."""
        changed = self.changed(groups)
        options = [option for name, option in self.options().items() if name in changed or name in always]
        options.sort(key=lambda option: not option.positional)
        words = [word for option in options for word in option.words(getattr(self, option.name))]
        return shlex.join(["autodistill", self.command, *words])

    def part(self, model: type[Settings]) -> dict[str, Any]:
        """The settings that another model also has, by name, as keywords for its function."""
        return {name: value for name, value in self if name in model.model_fields}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON or YAML; a password in a URL is left out."""
        urls = {name: value for name, value in self if value is not None and self.options()[name].kind is URL}
        return self.model_dump(mode="json") | {name: without_password(value) for name, value in urls.items()}


def _unknown(name: str, model: type[Settings]) -> str:
    """The error text for an unknown setting."""
    options = model.options().values()
    by_flag = {option.flag.lstrip("-").replace("-", "_"): option.name for option in options}
    meant = by_flag.get(str(name).lstrip("-").replace("-", "_"))
    if meant is not None:
        return f"a setting is {name!r}; it is called {meant!r} here"
    return not_allowed("a setting", name, [option.name for option in options])


def _refusal(option: Option, value: Any) -> str:
    """The error text for an invalid value."""
    if value is None:
        words = option.flag if option.positional else f"{option.flag} {option.metavar}"
        return f"{option.flag} is missing; give {words} ({option.help}), or `{option.name}` in a --config file"
    return f"{option.name} is {value!r}; it should be {option.kind.allowed}"


Function = TypeVar("Function", bound=Callable[..., Any])


def takes(model: type[Settings]) -> Callable[[Function], Function]:
    """Show the settings behind a function's `**settings`, in its signature and, at `{settings}`, in its docstring."""

    def decorate(function: Function) -> Function:
        own = [item for item in inspect.signature(function).parameters.values() if item.kind is not inspect.Parameter.VAR_KEYWORD]
        named = {item.name for item in own}
        options = [option for option in model.options().values() if option.name not in named]
        more = [
            inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=annotation(option))
            for option in options
        ]
        function.__signature__ = inspect.signature(function).replace(  # type: ignore[attr-defined]
            parameters=sorted([*own, *more], key=lambda item: item.kind)
        )
        lines = "\n".join(f"    {option.name}: {option.about}." for option in options)
        function.__doc__ = inspect.cleandoc(function.__doc__ or "").replace("    {settings}", lines)  # Python 3.13 takes the indent itself
        return function

    return decorate


def annotation(option: Option) -> str:
    """A keyword's type, as Python code."""
    return option.kind.accepts + (" | None" if option.default is None and not option.required else "")
