"""What there is of a kind, by name, and where it is; nothing is imported before it is asked for.

A new data set, teacher, student or task is a file in its room and a line here; a new recipe is a
file, and its line is in `abbe.config.recipes`. Another package adds its own lines in a module that
it names with an entry point of the group ``abbe.plugins``::

    [project.entry-points."abbe.plugins"]
    mine = "mine.abbe_plugin"        # a module that says: TASKS["mine"] = "mine.task:Mine"

That module is imported with this one, whenever Abbe reads an experiment, so it should import
nothing heavy.
"""

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from abbe.errors import ConfigError

PLUGINS = "abbe.plugins"
"""Group of the entry points of other packages."""


def loaded(place: str) -> Any:
    """What lies at ``module:name``."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


class Registry(MutableMapping[str, Any]):
    """Names and what they stand for; ``registry[name] = "module:object"`` adds a line."""

    def __init__(self, kind: str, places: dict[str, str], *, call: bool = False) -> None:
        """Of one kind.

        Args:
            kind: what it is, for messages.
            places: by name, ``module:object``.
            call: each is a class, of which the one instance is meant.
        """
        self._kind, self._places, self._call = kind, places, call
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._found:
            found = loaded(self._places[name])
            self._found[name] = found() if self._call else found
        return self._found[name]

    def __setitem__(self, name: str, place: str) -> None:
        if self._places.setdefault(name, place) != place:
            raise ConfigError(
                f"{self._kind} '{name}': {place} would take the place of {self._places[name]}. "
                "Give it another name"
            )

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._found.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


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


ENCODERS: dict[str, str] = {
    "swin-tiny": "swin_tiny_patch4_window7_224",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "efficientnet-b0": "efficientnet_b0",
    "mobilenetv3": "mobilenetv3_small_100",
    "mobilenetv3-large": "mobilenetv3_large_100",
    "convnextv2-atto": "convnextv2_atto",
    "csat-like": "abbe.students.csat:csat_like",
}
"""Students: our name of an encoder → timm's; ``module:name`` where importing the module registers
it with timm. A student is ``unet-NAME``."""

TASKS = Registry(
    "task",
    {
        "instances": "abbe.tasks.instances:Instances",
        "semantic": "abbe.tasks.semantic:Semantic",
        "classification": "abbe.tasks.classification:Classification",
        "promptable": "abbe.tasks.promptable:Promptable",
    },
    call=True,
)
"""What a student is for: `abbe.tasks.task.Task`."""

CURVES = Registry(
    "curve",
    {
        "cmkd": "abbe.curves.twins:TwinTrainer",
        "rckd": "abbe.curves.initialisations:InitialisationTrainer",
    },
)
"""By recipe, how its label-efficiency curve is trained: `abbe.curves.trainings.Trainer`."""


for _entry in entry_points(group=PLUGINS):
    _entry.load()
