"""Where the values of settings come from: a TOML file, the environment, options on the command line.

Each setting has one name in three spellings: `[server] port` in TOML, PINYON_SERVER_PORT in the environment and --port
on the command line. Later ones win. No other module reads settings from the environment.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from pinyon import decoding
from pinyon.errors import FailedPrecondition
from pinyon.settings import (
    ImportSettings,
    IndexSettings,
    LimitSettings,
    ModelSettings,
    OwnModel,
    ServerSettings,
    Settings,
    StorageSettings,
    in_words,
)

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "server": ServerSettings,
    "storage": StorageSettings,
    "models": ModelSettings,
    "limits": LimitSettings,
    "import": ImportSettings,
    "index": IndexSettings,
}
NAMED_SECTIONS = ("models", "own")
"""The setting that holds the [models.NAME] sections."""


class Setting(msgspec.Struct, frozen=True):
    """One setting as the table lists it. sentence: what it means."""

    section: str
    key: str
    type: Any
    default: Any
    sentence: str

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"PINYON_{self.section}_{self.key}".upper()

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return "--" + self.key.replace("_", "-")

    @property
    def simple(self) -> bool:
        """Whether it is a single value, which a variable or an option can hold. Others can only stand in a file."""
        return self.section != "index" and (self.type in (str, int, float, bool) or bool(self.allowed))

    @property
    def allowed(self) -> tuple[str, ...]:
        """The only values that it can have. Empty if there is no such list."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()


def table() -> list[Setting]:
    """Every setting, in the order of its section. Those of the [models.NAME] sections are apart."""
    rows = []
    for section, struct in SECTIONS.items():
        hints = get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            if (section, field.name) == NAMED_SECTIONS:
                continue
            default = field.default
            if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            hint = hints[field.name]
            sentence = " ".join(m.description for m in hint.__metadata__ if m.description)
            rows.append(Setting(section, field.name, hint.__origin__, default, sentence))
    return rows


def load(
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from a TOML file, then the environment, then flags ({"port": 5080}).

    Raises FailedPrecondition, which says what is wrong and where.
    """
    raw: dict[str, Any] = {}
    if config is not None:
        try:
            raw = tomllib.loads(config.read_text(encoding="utf-8"))
        except OSError as error:
            raise FailedPrecondition(f"Cannot read the settings file {config}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FailedPrecondition(f"The settings file {config} is not valid TOML: {error}") from error
    settings = _convert(raw, f"the settings file {config}", strict=True)
    by_variable = {row.variable: row for row in table() if row.simple}
    for name, text in (environ or {}).items():
        # Other variables begin with PINYON_ too: Kubernetes sets PINYON_PORT if a service is named pinyon.
        if not name.startswith(tuple(f"PINYON_{section.upper()}_" for section in SECTIONS)):
            continue
        if name not in by_variable:
            close = difflib.get_close_matches(name, by_variable, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(by_variable))}"
            raise FailedPrecondition(f"Unknown variable {name}; {hint}")
        row = by_variable[name]
        _set(raw, row, text)
        settings = _convert(raw, f"the variable {name}", strict=False)
    by_flag = {row.key: row for row in table() if row.simple}
    for key, value in (flags or {}).items():
        _set(raw, by_flag[key], value)
        settings = _convert(raw, f"the option {by_flag[key].flag}", strict=False)
    return settings


def _set(raw: dict[str, Any], row: Setting, value: Any) -> None:
    raw.setdefault(row.section, {})[row.key] = value


def _convert(raw: dict[str, Any], where: str, strict: bool) -> Settings:
    try:
        return decoding.convert(_with_named_sections(raw), Settings, strict=strict)
    except msgspec.ValidationError as error:
        problem = in_words(error).replace("$.{}.{}".format(*NAMED_SECTIONS), f"$.{NAMED_SECTIONS[0]}")
        raise FailedPrecondition(f"Wrong setting in {where}: {problem}{_hint(problem)}") from error


def _with_named_sections(raw: dict[str, Any]) -> dict[str, Any]:
    """The raw settings, with the tables in [models] that are no settings as the value of one setting."""
    section, key = NAMED_SECTIONS
    given = raw.get(section)
    if not isinstance(given, dict) or not isinstance(given.get(key, {}), dict):
        return raw
    known = {row.key for row in table() if row.section == section}
    named = {name: value for name, value in given.items() if isinstance(value, dict) and name not in known}
    return {**raw, section: {**{name: value for name, value in given.items() if name not in named}, key: named}}


def _hint(problem: str) -> str:
    """For an unknown setting: the known one that is most like it, or all known ones.

    For a value that is not in the list of a setting: the list. Otherwise nothing.
    """
    match = re.search(r"Invalid enum value .* - at `\$\.(\w+)\.(\w+)`", problem)
    if match is not None:
        allowed = [row.allowed for row in table() if (row.section, row.key) == match.groups()]
        return f"; allowed are: {', '.join(map(repr, allowed[0]))}" if allowed else ""
    match = re.search(r"unknown field `([^`]*)`(?: - at `\$\.(\w+)(\[)?)?", problem)
    if match is None:
        return ""
    section = match[2]
    known = [row.key for row in table() if row.section == section] if section else list(SECTIONS)
    if match[3]:
        known = [field.name for field in msgspec.structs.fields(OwnModel)]
    close = difflib.get_close_matches(match[1], known, 1)
    return f"; did you mean {close[0]}?" if close else f"; known are: {', '.join(known)}"
