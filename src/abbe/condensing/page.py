"""The plan as people see it: an experiment file with reasons, and a short table."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from abbe import config
from abbe.condensing.asked import Asked
from abbe.condensing.budget import in_words
from abbe.condensing.draft import Choice, Draft
from abbe.condensing.plan import Plan
from abbe.errors import ConfigError
from abbe.files import write_json, write_text
from abbe.foreign_text import shown
from abbe.in_words import counted

FILE = "plan.yaml"
ASKED = "condense.json"
"""What was asked for, beside the plan: the same request goes on, another is refused."""


def write_plan(plan: Plan, asked: Asked) -> Path:
    """Write ``plan.yaml`` and what was asked for; the plan's path comes back."""
    write_json(asked.out / ASKED, asked.as_json())
    write_text(asked.out / FILE, as_yaml(plan))
    return asked.out / FILE


def change_plan(folder: Path, values: Mapping[str, Any], why: str) -> None:
    """Give keys of the section ``training`` in a plan other values; all else stays as it stands.

    Raises:
        ConfigError: the plan does not have such a key on a line of its own.
    """
    path = folder / FILE
    text = path.read_text(encoding="utf-8")
    for name, value in values.items():
        line = f"{f'  {name}: {_value(value)}':<44}  # {_one_line(why)}"
        text, count = re.subn(rf"(?m)^  {name}:.*$", lambda _, line=line: line, text)
        if count != 1:
            raise ConfigError(f"{path}: training.{name} does not stand on a line of its own")
    write_text(path, text)


def as_yaml(plan: Plan) -> str:
    """An experiment file; behind each value stands why it is that."""
    head = [f"A plan of abbe condense. Edit it, then: abbe distill FOLDER/{FILE}"]
    head += [*plan.facts.text.splitlines(), *times(plan)]
    head += [f"note: {note}" for note in plan.notes]
    lines = [f"# {_one_line(line)}" for line in head]
    return "\n".join([*lines, "", *_sections(_where_it_lies(plan.draft))]) + "\n"


def _where_it_lies(draft: Draft) -> dict[str, Choice]:
    """The choices with paths that hold wherever plan and data are moved; see `config.paths`."""
    folder = Path(draft.choices["out"].value)
    values = config.paths_in_file(draft.values(), folder)
    here = values.pop(config.PATHS_FROM, None)
    found = {
        key: replace(choice, value=reduce(lambda held, name: held[name], key.split("."), values))
        for key, choice in draft.choices.items()
    }
    found["out"] = replace(found["out"], value="./")
    where = os.path.abspath(folder) if here is None else here
    return {**found, config.PATHS_FROM: Choice(where, "else paths are relative to this folder")}


def _sections(choices: dict[str, Choice], above: str = "", indent: str = "") -> Iterator[str]:
    """The keys below a section, in the order in which they were chosen, sections last."""
    own = {key[len(above) :]: choice for key, choice in choices.items() if key.startswith(above)}
    for name, choice in own.items():
        if "." not in name:
            text = f"{indent}{name}: {_value(choice.value)}"
            yield f"{text:<44}  # {_one_line(choice.why)}"
    for section in dict.fromkeys(name.partition(".")[0] for name in own if "." in name):
        yield f"{indent}{section}:"
        yield from _sections(choices, f"{above}{section}.", f"{indent}  ")


def _value(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _one_line(text: str) -> str:
    return " ".join(shown(text).split())


def table(plan: Plan) -> str:
    """Key, value and reason, a line each; then how long it takes, and what to think of."""
    rows = [(key, _value(each.value), each.why) for key, each in plan.draft.choices.items()]
    key = max(len(row[0]) for row in rows)
    value = min(30, max(len(row[1]) for row in rows))
    lines = [f"{'key':<{key}}  {'value':<{value}}  why"]
    lines += [f"{row[0]:<{key}}  {row[1]:<{value}}  {_one_line(row[2])}" for row in rows]
    notes = [f"note: {note}" for note in plan.notes]
    return "\n".join([plan.facts.text, "", *lines, "", *times(plan), *notes])


def times(plan: Plan) -> list[str]:
    """What each level of evidence takes with these steps."""
    budget = plan.budget
    lines = [
        f"a training step takes {budget.pace.step:.2g} s here ({plan.trial.device}, "
        f"{plan.trial.batch} crops), measured"
    ]
    lines.append(f"of {in_words(plan.hours.total)}: {plan.hours.text}")
    for level, trainings in budget.others.items():
        named = f"evidence {level}: " if level else ""
        mark = "   <- planned" if level == budget.level else ""
        count = f"{counted(trainings, 'training')} of {counted(budget.steps, 'step')}"
        lines.append(f"{named}{count}, about {in_words(budget.of(trainings))}{mark}")
    return lines
