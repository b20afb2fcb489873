"""What there is of a kind, by name, and where it is; nothing is imported before it is asked for.

A new data set, teacher, student or task is a file in its room and a line here; a new recipe is a
file, and its line is in `abbe.config.recipes`. Another package adds its own lines in a module that
it names with an entry point of the group ``abbe.plugins``::

    [project.entry-points."abbe.plugins"]
    mine = "mine.abbe_plugin"        # a module that says: TASKS["mine"] = "mine.task:Mine"

That module is imported when a name is first looked for, whenever Abbe reads an experiment, so it
should import nothing heavy.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from abbe.errors import ConfigError

Line = TypeVar("Line")

PLUGINS = "abbe.plugins"
"""Group of the entry points of other packages."""


def loaded(place: str) -> Any:
    """What lies at ``module:name``."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


_others_asked = False


def _ask_others() -> None:
    """Have other packages add their lines, once."""
    global _others_asked
    if _others_asked:
        return
    found = entry_points(group=PLUGINS)
    if found:  # they import it; the sections beside it then ask, too, before they list the names
        import_module("abbe.config.recipes")
    if not _others_asked:
        _others_asked = True
        for entry in found:
            entry.load()


class Table(MutableMapping[str, Line]):
    """Names and what they stand for; a name is given once, whoever gives it."""

    def __init__(self, kind: str, lines: Mapping[str, Line]) -> None:
        """Of one kind, which messages name."""
        self._kind, self._lines = kind, dict(lines)

    def __getitem__(self, name: str) -> Line:
        _ask_others()
        return self._lines[name]

    def __setitem__(self, name: str, line: Line) -> None:
        if self._lines.setdefault(name, line) != line:
            raise ConfigError(
                f"{self._kind} '{name}': {line} would take the place of {self._lines[name]}. "
                "Give it another name"
            )

    def __delitem__(self, name: str) -> None:
        del self._lines[name]

    def __iter__(self) -> Iterator[str]:
        _ask_others()
        return iter(self._lines)

    def __len__(self) -> int:
        _ask_others()
        return len(self._lines)


class Registry(Table[Any]):
    """What lies at ``module:object``, by name; ``registry[name] = "module:object"`` adds a line."""

    def __init__(self, kind: str, places: Mapping[str, str], *, call: bool = False) -> None:
        """Of one kind.

        Args:
            kind: what it is, for messages.
            places: by name, ``module:object``.
            call: each is a class, of which the one instance is meant.
        """
        super().__init__(kind, places)
        self._call = call
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        place = super().__getitem__(name)
        if place not in self._found:
            found = loaded(place)
            self._found[place] = found() if self._call else found
        return self._found[place]


DATASETS = Registry(
    "data set",
    {
        "folder": "abbe.datasets:folder",
        "classes": "abbe.datasets:class_folder",
        "slides": "abbe.runs.slides:slide_tiles",
        "simulated": "abbe.datasets:simulated_tissue",
        "tissuenet": "abbe.datasets:tissuenet",
        "bbbc038": "abbe.datasets:bbbc038",
        "kvasir": "abbe.datasets:kvasir",
        "isic2017": "abbe.datasets:isic2017",
        "hc18": "abbe.datasets:hc18",
        "busi": "abbe.datasets:busi",
        "nct_crc": "abbe.datasets:nct_crc",
        "bach": "abbe.datasets:bach",
        "breakhis": "abbe.datasets:breakhis",
        "chaoyang": "abbe.datasets:chaoyang",
        "glas": "abbe.datasets:glas",
        "bcss": "abbe.datasets:bcss",
        "pannuke": "abbe.datasets:pannuke",
        "monuseg": "abbe.datasets:monuseg",
        "nucls": "abbe.datasets:nucls",
    },
)
"""By ``data.kind``, a function of the path, and of other keys of ``data`` by their names."""

TEACHERS = Registry(
    "teacher",
    {
        "masks": "abbe.teachers:masks",
        "onnx": "abbe.teachers:onnx",
        "bioimageio": "abbe.teachers:bioimageio",
        "torch": "abbe.teachers:torch_module",
        "run": "abbe.teachers:run",
        "package": "abbe.teachers:package",
        "sam": "abbe.teachers:sam",
        "cellpose": "abbe.teachers:cellpose",
        "cellsam": "abbe.teachers:cellsam",
    },
)
"""By ``teacher.kind``: ``factory(source, channels, **options)``; a source is a path or a name."""


@dataclass(frozen=True)
class TeacherTraits:
    """What is to be known of teachers of a kind before one is built; a factory `declares` it.

    Attributes:
        reads_all: all of the image's channels, where the user names none. Others know their own.
        runs_code: what the source names is imported and called, so the user must trust it.
        keeps_answers: it has those of given images, and none for others.
        live: its ``network`` can answer for a student's crops while that trains.
        normalisation: of images that a live one is shown, where its options say nothing.
        promptable: it answers prompts, and teaches live what does so, too.
    """

    reads_all: bool = False
    runs_code: bool = False
    keeps_answers: bool = False
    live: bool = False
    normalisation: str | None = None
    promptable: bool = False


_Factory = TypeVar("_Factory", bound=Callable[..., Any])
_TRAITS: dict[Callable[..., Any], TeacherTraits] = {}


def declares(traits: TeacherTraits) -> Callable[[_Factory], _Factory]:
    """Say of a teacher's factory, above it, what its teachers have in common."""

    def declare(factory: _Factory) -> _Factory:
        _TRAITS[factory] = traits
        return factory

    return declare


def traits_of(kind: str) -> TeacherTraits:
    """What teachers of a kind have in common, as ``teacher.kind`` names it."""
    if kind not in TEACHERS:  # no teacher, or a store that one left
        return TeacherTraits(keeps_answers=True)
    return _TRAITS.get(TEACHERS[kind], TeacherTraits())


ENCODERS: Table[str] = Table(
    "encoder",
    {
        "swin-tiny": "swin_tiny_patch4_window7_224",
        "resnet18": "resnet18",
        "resnet50": "resnet50",
        "efficientnet-b0": "efficientnet_b0",
        "efficientnet-lite0": "tf_efficientnet_lite0",
        "mobilenetv3": "mobilenetv3_small_100",
        "mobilenetv3-large": "mobilenetv3_large_100",
        "efficientnet-b0-local": "abbe.students.local_pooling:efficientnet_b0_local",
        "mobilenetv3-local": "abbe.students.local_pooling:mobilenetv3_small_100_local",
        "mobilenetv3-large-local": "abbe.students.local_pooling:mobilenetv3_large_100_local",
        "convnextv2-atto": "convnextv2_atto",
        "csat-like": "abbe.students.csat:csat_like",
    },
)
"""Students: our name of an encoder → timm's; ``module:name`` where importing the module registers
it with timm. A student is ``unet-NAME``."""

TASKS = Registry(
    "task",
    {
        "instances": "abbe.tasks.instances:Instances",
        "semantic": "abbe.tasks.semantic:Semantic",
        "classification": "abbe.tasks.classification:Classification",
        "promptable": "abbe.tasks.promptable.task:Promptable",
    },
    call=True,
)
"""What a student is for: `abbe.tasks.task.Task`."""

EXPORTS = Registry(
    "export",
    {
        "instances": "abbe.runs.export_inputs.instances:EXPORT",
        "semantic": "abbe.runs.export_inputs.semantic:EXPORT",
        "classification": "abbe.runs.export_inputs.classification:EXPORT",
        "promptable": "abbe.runs.export_inputs.promptable:EXPORT",
    },
)
"""By task, how its students become packages: `abbe.runs.export_inputs.common.TaskExport`."""

CURVES = Registry(
    "curve",
    {
        "cmkd": "abbe.curves.twins:TwinTrainer",
        "rckd": "abbe.curves.initialisations:InitialisationTrainer",
    },
)
"""By recipe, how its label-efficiency curve is trained: `abbe.curves.trainings.Trainer`."""

PUBLISHED = Registry(
    "published table",
    {
        "cmkd-tissuenet": "abbe.reproducing.tables.cmkd:TISSUENET",
        "cmkd-bbbc038": "abbe.reproducing.tables.cmkd:BBBC038",
        "rckd": "abbe.reproducing.tables.rckd:RCKD",
        "kdsam": "abbe.reproducing.tables.kdsam:KDSAM",
    },
)
"""By name, published tables that ``abbe reproduce`` runs: `abbe.reproducing.table.Table`."""
