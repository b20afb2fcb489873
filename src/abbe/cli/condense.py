"""``abbe condense``: from a folder to a package."""

import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from abbe import config
from abbe.cli.shared.arguments import Computing, parse, say
from abbe.cli.shared.experiment import parse_experiment
from abbe.errors import ConfigError
from abbe.near import meant

if TYPE_CHECKING:
    from abbe.condensing.carry import Condensed
    from abbe.summary import Evidence

HELP = """From a folder of images to a package, in one go.

usage: abbe condense FOLDER [--teacher TEACHER] [--hours H] [--KEY VALUE …]

Looks at the images, their labels and this machine, tries a few training steps, and writes a plan:
an experiment file in which every value has its reason. Then it trains within --hours, keeps the
student or the best baseline, whichever is better on validation images, exports and times it. The
same command goes on where it was stopped.

FOLDER holds images/, perhaps labels/ with the same names, and index.csv with groups or splits.
Without a teacher, labels alone teach. Without labels, the teacher's objects choose and test.

Every key of the experiment file can be given under its own name, such as --training.crop 96,
--student.input-channels nucleus, --student.encoder-weights imagenet or --evidence full
(abbe distill cmkd --help-all lists them); the plan then says: you said so.

examples:
  abbe condense tissue/ --teacher masks/
  abbe condense tissue/ --teacher nuclei --hours 0.5 --target-ms 20
  abbe condense tissue/ --teacher sam:sam_vit_b.pth --student.input-channels nucleus --plan-only
  abbe distill runs/condensed-tissue/plan.yaml       (the plan, perhaps edited)"""


@dataclass(frozen=True)
class CondenseArguments(Computing):
    """Arguments of ``abbe condense``."""

    folder: tyro.conf.Positional[Path]
    """The images: a folder with images/, and perhaps labels/."""
    teacher: str | None = None
    """A folder of masks, a run, a package or its name (nuclei), an ONNX file, a target store, a
    bioimage.io package, cellpose, or KIND:PATH such as sam:FILE."""
    out: Path | None = None
    """Folder of plan, run and package; runs/condensed-FOLDER where omitted."""
    hours: float = 1.0
    """For all of it, about; steps and evidence follow from how fast a step is here."""
    target_ms: float | None = None
    """Most ms of a 256 px tile on this processor: the largest student that meets it is taken."""
    recipe: str | None = None
    """cmkd or supervised; by whether there is a teacher where omitted."""
    plan_only: bool = False
    """Write and show the plan, and stop."""
    trust_code: bool = False
    """Let a teacher of kind torch import and call the Python code that it names."""


@dataclass(frozen=True)
class _NoOptions:
    """The keys of the experiment file alone."""


def run(words: list[str]) -> int:
    """``abbe condense``."""
    if words and words[0].startswith("-") and not {"-h", "--help"} & set(words):
        raise ConfigError("the folder comes first: abbe condense FOLDER --teacher …")
    started = time.monotonic()
    own, keys = _divided(words)
    arguments: CondenseArguments = parse(CondenseArguments, "condense", own, HELP)
    from abbe.condensing.asked import Asked, usual_out
    from abbe.condensing.carry import condense
    from abbe.condensing.teacher import section_of

    folder = arguments.folder
    teacher = section_of(arguments.teacher)
    kind = any(word.startswith("--teacher.") for word in keys)
    recipe = arguments.recipe or ("cmkd" if teacher or kind else "supervised")
    asked = Asked(
        folder,
        teacher,
        arguments.out or usual_out(folder),
        arguments.hours,
        arguments.target_ms,
        arguments.recipe,
        _said(keys, recipe, folder, teacher),
    )
    try:
        done = condense(
            asked,
            plan_only=arguments.plan_only,
            trust_code=arguments.trust_code,
            say=say,
            started=started,
        )
    except KeyboardInterrupt:
        again = shlex.join(["abbe", "condense", *words])
        print(f"\nGo on with the same command: {again}", file=sys.stderr, flush=True)
        raise
    say("\n" + "\n".join(_next(done, folder)))
    return 0


def _divided(words: list[str]) -> tuple[list[str], list[str]]:
    """The verb's own words, and those of keys of the experiment file with their values."""
    known = {key for key, _ in config.keys_within(config.Experiment)} - {"out", "recipe"}
    own: list[str] = []
    keys: list[str] = []
    to = own
    for word in words:
        if word.startswith("--"):
            key = _key(word)
            if "." in key and key not in known:  # the verb's own options have no sections
                raise ConfigError(
                    f"{word.partition('=')[0]}: is no key of the experiment file. "
                    f"abbe distill cmkd --help-all lists them.{meant(key, known)}"
                )
            to = keys if key in known else own
        to.append(word)
    return own, keys


def _key(word: str) -> str:
    """The key that an option sets: --loss.no-supervised sets loss.supervised."""
    *above, name = word[2:].partition("=")[0].replace("-", "_").split(".")
    return ".".join([*above, name.removeprefix("no_")])


def _said(keys: list[str], recipe: str, folder: Path, teacher: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the keys that were given, checked as those of ``abbe distill``."""
    if not keys:
        return {}
    draft: dict[str, Any] = {
        "recipe": recipe,
        "out": "out",
        "data": {"kind": "folder", "path": str(folder)},
        "student": {"encoder_weights": "random"},
    }
    if teacher and config.RECIPES[recipe].reads("teacher"):
        draft["teacher"] = dict(teacher)
    experiment, _ = parse_experiment(
        "condense", keys, HELP, source=Path(recipe), values=draft, options=_NoOptions
    )
    values = experiment.model_dump(mode="json")
    given = dict.fromkeys(_key(word) for word in keys if word.startswith("--"))
    return {key: reduce(lambda held, name: held[name], key.split("."), values) for key in given}


def _next(done: "Condensed", folder: Path) -> Iterator[str]:
    """Where everything is, and what comes next."""
    if done.package is None or done.run is None:
        yield f"carry it out:  the same command without --plan-only, or  abbe distill {done.plan}"
        return
    package, place = shlex.quote(str(done.package.folder)), shlex.quote(str(done.run.folder))
    images = shlex.quote(os.fspath(folder / "images"))
    yield f"package: {done.package.folder}"
    yield f"         ({done.holds})"
    yield f"report:  {done.run.report}"
    yield "next:"
    yield f"  abbe predict {package} {images} --out results"
    yield f"  abbe evaluate {place} --name other --data.path OTHER"
    if level := _more_than(done.run.summary.evidence):
        yield f"  abbe distill {place} --evidence {level} --resume"
    else:
        yield f"  abbe bench {package} {images}"


def _more_than(evidence: "Evidence") -> str | None:
    """The level that adds to what a run has and takes nothing away; None where there is none.

    >>> from abbe.summary import Evidence
    >>> [_more_than(Evidence(level=level)) for level in ("quick", "standard", "full", "")]
    ['standard', 'full', None, None]
    >>> _more_than(Evidence(level="named", seeds=[0, 1, 2, 3], baselines=["supervised"]))
    'full'
    """
    further = {"quick": "standard", "standard": "full"}
    if evidence.level != "named":
        return further.get(evidence.level)
    for level, (baselines, seeds) in config.LEVELS.items():
        has_all = set(evidence.baselines) <= set(baselines) and len(evidence.seeds) <= seeds
        if level in further.values() and has_all:
            return level
    return None
