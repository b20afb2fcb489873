"""What a user should know of a teacher before the work starts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abbe.targets import Provenance


EMBEDDING = ("embedding",)


def introduction(provenance: Provenance) -> str:
    """Name, channels, what it gives, licences, and what must not be forgotten; a few lines."""
    provenance = as_asked(provenance)
    gives = f"gives {', '.join(provenance.outputs)}"
    if provenance.outputs == EMBEDDING:
        gives = "is asked for its embedding of each image"
    prompted = f"; prompts: {provenance.prompt_mode}" if provenance.prompt_mode else ""
    return "\n".join(
        [
            f"teacher: {provenance.teacher}",
            f"  sees {', '.join(provenance.channels)}; {gives}{prompted}",
            f"  licence of its weights: {provenance.weights_licence}",
            f"  licence of its training data: {provenance.training_data_licence}",
            *(f"  {name}: {told}" for name, told in _weights(provenance)),
            *(f"  {mark}" for mark in marks(provenance)),
        ]
    )


def _weights(provenance: Provenance) -> list[tuple[str, str]]:
    """Of the mean of several teachers, what each counts, and by what."""
    return list(provenance.settings.items()) if provenance.parts else []


def as_asked(provenance: Provenance) -> Provenance:
    """The same with what the teacher is asked for, where that is its embedding of an image alone.

    Such a teacher is given no prompts, and so no labels, and draws no masks, whatever it could do.
    """
    if provenance.settings.get("gives") != "embedding":
        return provenance
    return replace(
        provenance, outputs=EMBEDDING, prompt_mode=None, thresholds={}, sees_labels=False
    )


def marks(provenance: Provenance) -> list[str]:
    """What limits the meaning of its answers, one sentence each."""
    said = {
        "STAND-IN: it takes the place of a teacher that could not be had": provenance.stand_in,
        "SEES LABELS: it was shown the ground truth of the images": provenance.sees_labels,
        "SIMULATED: the images are simulated": provenance.simulated,
    }
    return [sentence for sentence, holds in said.items() if holds]
