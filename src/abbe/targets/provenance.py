"""Where targets come from: the teacher, its weights and licences, what it saw and what it gives."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from abbe.errors import StoreError

_SHA256 = re.compile("[0-9a-f]{64}")
# Free remarks: two stores that differ in nothing else hold the same targets.
_NOT_COMPARED = {"notes"}


@dataclass(frozen=True)
class Provenance:
    """All that must agree before two targets may stand in one store.

    Attributes:
        teacher: name of the model, or of the people who drew the masks.
        weights_sha256: 64 hexadecimal digits, or None where there is no file of weights.
        weights_licence: licence of the weights, as its owner writes it.
        training_data_licence: licence of what the weights were trained on.
        channels: the channels the teacher saw, in its order; one stands twice where a teacher
            of two channels was shown a set of one.
        normalisation: what was done to the pixels, in words or as a formula.
        outputs: names of the K maps in ``probability`` and ``logits``, in order.
        prompt_mode: how a promptable teacher was prompted.
        thresholds: by name, those the teacher applied.
        settings: by name, what else its answers depend on, such as its precision, in words.
        sees_labels: the teacher was shown ground truth, as with ``oracle_box`` prompts.
        stand_in: the teacher takes the place of a model that could not be had.
        simulated: the images are simulated.
        notes: remarks; not compared when a store is continued.
        parts: of the mean of several teachers, each of them.

    Raises:
        StoreError: a value has the wrong type or form.
    """

    teacher: str
    weights_sha256: str | None
    weights_licence: str
    training_data_licence: str
    channels: tuple[str, ...]
    normalisation: str
    outputs: tuple[str, ...] = ("foreground",)
    prompt_mode: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    sees_labels: bool = False
    stand_in: bool = False
    simulated: bool = False
    notes: tuple[str, ...] = ()
    parts: tuple["Provenance", ...] = ()

    def __post_init__(self) -> None:
        for name in ("channels", "outputs", "notes"):
            value = getattr(self, name)
            if not isinstance(value, tuple | list) or not all(isinstance(v, str) for v in value):
                raise StoreError(f"provenance: '{name}' must be a list of names, not {value!r}")
            object.__setattr__(self, name, tuple(value))
        if not self.channels:
            raise StoreError("provenance: 'channels' must name what the teacher saw")
        if not self.outputs or len(set(self.outputs)) < len(self.outputs):
            raise StoreError(f"provenance: 'outputs' must be different names, not {self.outputs!r}")
        for name in ("teacher", "weights_licence", "training_data_licence", "normalisation"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise StoreError(f"provenance: '{name}' must be a text, not {value!r}")
        for name in ("sees_labels", "stand_in", "simulated"):
            if not isinstance(getattr(self, name), bool):
                raise StoreError(f"provenance: '{name}' must be true or false")
        if self.prompt_mode is not None and not isinstance(self.prompt_mode, str):
            raise StoreError(f"provenance: 'prompt_mode' must be a text, not {self.prompt_mode!r}")
        if self.weights_sha256 is not None and not is_sha256(self.weights_sha256):
            raise StoreError("provenance: 'weights_sha256' must be 64 lower-case hex digits")
        if not isinstance(self.thresholds, Mapping) or not all(
            isinstance(name, str) and isinstance(value, int | float)
            for name, value in self.thresholds.items()
        ):
            raise StoreError("provenance: 'thresholds' must map names to numbers")
        object.__setattr__(self, "thresholds", dict(self.thresholds))
        if not isinstance(self.settings, Mapping) or not all(
            isinstance(text, str) for item in self.settings.items() for text in item
        ):
            raise StoreError("provenance: 'settings' must map names to texts")
        object.__setattr__(self, "settings", dict(self.settings))
        if not isinstance(self.parts, tuple | list):
            raise StoreError(f"provenance: 'parts' must be a list, not {self.parts!r}")
        parts = (p if isinstance(p, Provenance) else self.from_json(p) for p in self.parts)
        object.__setattr__(self, "parts", tuple(replace(part, notes=()) for part in parts))

    def differences(self, other: "Provenance") -> list[str]:
        """One line for each field in which ``other`` differs, naming both values."""
        lines = []
        for name in (f.name for f in fields(self) if f.name not in _NOT_COMPARED):
            here, now = getattr(self, name), getattr(other, name)
            if here != now:
                lines.append(f"{name}: {_unlike(here, now)!r} here, {_unlike(now, here)!r} now")
        return lines

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what :meth:`to_json` gave.

        Raises:
            StoreError: a key is missing, unknown or has a value of the wrong form.
        """
        if not isinstance(value, dict):
            raise StoreError("provenance: not a JSON object")
        known = {f.name for f in fields(cls)}
        required = {"teacher", "weights_sha256", "weights_licence", "training_data_licence"}
        required |= {"channels", "normalisation"}
        if unknown := sorted(value.keys() - known):
            raise StoreError(f"provenance: unknown key {', '.join(unknown)}")
        if missing := sorted(required - value.keys()):
            raise StoreError(f"provenance: missing key {', '.join(missing)}")
        return cls(**value)


def _unlike(value: Any, other: Any) -> Any:
    """``value``; of thresholds and settings, only those that are not the same in ``other``."""
    if not isinstance(value, Mapping):
        return value
    return {k: v for k, v in value.items() if k not in other or other[k] != v}


def is_sha256(value: object) -> bool:
    """Whether ``value`` is a text of 64 lower-case hexadecimal digits."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
