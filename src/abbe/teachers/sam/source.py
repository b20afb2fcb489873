"""What the teacher 'sam' loads: a network of SAM's family, or a promptable student of Abbe's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from abbe.errors import ConfigError

if TYPE_CHECKING:
    from abbe.sam import SAM, Facts


def load_network(
    source: str | os.PathLike[str], layout: str | None = None, side: int | None = None
) -> tuple[SAM, Facts]:
    """The network in evaluation mode, and where it comes from.

    A promptable student has SAM's prompts, masks and embedding, so that it can teach a smaller one.

    Args:
        source: as `abbe.sam.load_sam` takes it; or the .safetensors file of a promptable student,
            such as ``runs/polyps/student.safetensors``.
        layout: of a network of SAM's family, where its weights do not tell.
        side: of the square that a network of SAM's family is to see, px; its own where None.

    Raises:
        InputError: the source is missing, damaged or of another network, or cannot be fetched.
        ConfigError: no layout has the name given, or layout or side was given for a student.
    """
    from abbe.sam import load_sam
    from abbe.students import is_promptable_file

    path = Path(source)
    if not is_promptable_file(path):
        return load_sam(source, layout=layout, side=side)
    for name, value in (("layout", layout), ("side", side)):
        if value is not None:
            raise ConfigError(f"{path}: a promptable student has its own {name}: leave {name} out")
    return _student(path)


def _student(path: Path) -> tuple[SAM, Facts]:
    from abbe.files import sha256_of_file
    from abbe.sam import Facts
    from abbe.sam.weights import NOT_STATED
    from abbe.students import load_promptable
    from abbe.students.promptable import architecture_of

    network, facts = load_promptable(path)
    trained_on, teacher = facts.get("trained_on", NOT_STATED), facts.get("teacher")
    taught = f", with {teacher} as its teacher" if teacher else ""
    return network, Facts(
        name=facts.get("name") or f"{architecture_of(network)[0]} at {network.side} px",
        sha256=sha256_of_file(path),
        layout=None,
        weights_licence=facts.get("weights_licence", NOT_STATED),
        training_data_licence=facts.get("data_licence", NOT_STATED),
        notes=(f"trained by Abbe on {trained_on}{taught}",),
        stand_in=facts.get("stand_in", False) or facts.get("teacher_stand_in", False),
    )
