"""What each model costs: parameters, MACs and time, and how much smaller the student is."""

from collections import Counter
from typing import NamedTuple

from abbe.in_words import counted
from abbe.reporting.numbers import quantity, significant
from abbe.reporting.tables import models_of
from abbe.summary import Model, RunSummary


class CostRow(NamedTuple):
    """What one model costs."""

    model: str
    parameters: str
    encoder_parameters: str
    macs: str
    encoder_macs: str
    milliseconds: str


def cost_rows(summary: RunSummary) -> list[CostRow]:
    """Size and speed of every model."""
    side = _macs_side(summary)
    return [
        CostRow(
            name,
            quantity(model.parameters),
            quantity(model.encoder_parameters),
            _macs(model.macs, model.macs_image_size, side),
            _macs(model.encoder_macs, model.macs_image_size, side),
            significant(model.ms_per_image),
        )
        for name, model in ((name, summary.models[name]) for name in models_of(summary))
    ]


def times(teacher: float | None, student: float | None, less: str, more: str, alike: str) -> str:
    """``11 × smaller than the teacher``, or nothing where either is unknown."""
    if not teacher or not student:
        return ""
    ratio, word = (teacher / student, less) if teacher >= student else (student / teacher, more)
    if ratio < 1.05:
        return f"as {alike} as the teacher"
    return f"{significant(round(ratio, 1))} × {word} than the teacher"


def compression(summary: RunSummary) -> str:
    """``4.7 M instead of 10.1 M parameters, 6 × faster``, or as much of it as is known."""
    student, teacher = (summary.models.get(name, Model()) for name in ("student", "teacher"))
    found = []
    if student.parameters and teacher.parameters:
        found.append(
            f"{quantity(student.parameters)} instead of {quantity(teacher.parameters)} parameters"
        )
    quick, slow = student.ms_per_image, teacher.ms_per_image
    if quick and slow and max(quick, slow) / min(quick, slow) >= 1.05:
        word = "faster" if slow > quick else "slower"
        found.append(f"{significant(round(max(quick, slow) / min(quick, slow), 1))} × {word}")
    return ", ".join(found)


def macs_of(summary: RunSummary) -> str:
    """Of an image of which size, for the head of the column."""
    side = _macs_side(summary)
    return f" (one of {side} px)" if side else ""


def _macs_side(summary: RunSummary) -> int | None:
    """The side of the image, px, that most models' MACs were counted for."""
    sides = Counter(model.macs_image_size for model in summary.models.values())
    del sides[None]
    return sides.most_common(1)[0][0] if sides else None


def _macs(count: int | None, side: int | None, common: int | None) -> str:
    """MACs, and beside them the side of the image where it is not the ``common`` one."""
    own = count is not None and side is not None and side != common
    return f"{quantity(count)} ({side} px)" if own else quantity(count)


def timed_of(summary: RunSummary) -> str:
    """``(1024 × 768 px)``: the image that was timed, for the head of the column."""
    size = summary.timing.image_size if summary.timing else None
    return f" ({size[0]} × {size[1]} px)" if size else ""


def timing_note(summary: RunSummary) -> str:
    """How times were taken, and whether the machine had other work meanwhile."""
    timing = summary.timing
    if timing is None:
        return ""
    besides = ", ".join(f"{name} {counted(count, 'run')}" for name, count in timing.runs.items())
    text = f"Times are medians of {counted(timing.repeats, 'run')}"
    text += f" ({besides}), the models in turn." if besides else ", the models in turn."
    if timing.whole_answers:
        text += (
            " Each is from the pixels in memory to the answer: channels chosen and scaled, the "
            "network, its tiles joined, and whatever else a teacher does to find objects."
        )
    if timing.teacher_not_timed:
        text += f" The teacher was not timed: {timing.teacher_not_timed}."
    if timing.precision:
        said = ", ".join(f"{name} in {each}" for name, each in timing.precision.items())
        text += f" They did not compute alike: {said}."
    if timing.busy and timing.load is not None:
        text += (
            f" They were measured on a busy machine (load {timing.load:.1f} on "
            f"{counted(timing.cores, 'core')}): take their ratio, not their size."
        )
    return text
