"""The verb that goes from a folder to a package."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from abbe.runs.from_python import Place, TeacherLike, local_folder

if TYPE_CHECKING:
    from abbe.condensing.carry import Condensed


def condense(
    folder: Place,
    teacher: TeacherLike | None = None,
    *,
    out: Place | None = None,
    hours: float = 1.0,
    target_ms: float | None = None,
    recipe: Literal["cmkd", "supervised"] | None = None,
    plan_only: bool = False,
    trust_code: bool = False,
    progress: bool = True,
    **keys: Any,
) -> "Condensed":
    """Plan by what is there, train within a time, keep the better network, export and time it.

    The same call goes on where it was stopped.

    Args:
        folder: of the images, with ``images/`` and perhaps ``labels/``.
        teacher: a folder of masks, a run, a package or its name ("nuclei"), an ONNX file, a target
            store, "sam:FILE", or keys of the section ``teacher``; None to learn from labels alone.
        out: the folder of plan, run and package; ``runs/condensed-FOLDER`` where None.
        hours: for all of it, about.
        target_ms: most milliseconds of a 256 px tile on this processor.
        recipe: by whether there is a teacher where None.
        plan_only: stop once the plan is written.
        trust_code: a teacher of kind 'torch' may run the code that its path names.
        progress: show progress bars.
        keys: of the experiment file, in the place of what would be derived:
            ``training={"crop": 96}``, ``evidence="full"``.

    Returns:
        The plan's path; ``run`` and ``package``, None where only a plan was wanted; and ``holds``,
        which network the package holds and why.

    Raises:
        ConfigError: a key is wrong, or the folder ``out`` holds the plan of another request.
        AbbeError: whatever else the user can mend; see :mod:`abbe.errors`.
    """
    from abbe.condensing.asked import Asked, flat, usual_out
    from abbe.condensing.carry import condense as carry_out
    from abbe.condensing.teacher import section_of

    place = Path(folder)
    asked = Asked(
        folder=place,
        teacher=section_of(teacher),
        out=usual_out(place) if out is None else local_folder(out),
        hours=hours,
        target_ms=target_ms,
        recipe=recipe,
        said=flat(keys),
    )
    return carry_out(asked, plan_only=plan_only, trust_code=trust_code, progress=progress)
