"""What each model costs: parameters, MACs and time, and how much smaller the student is."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from abbe.report.numbers import is_number, quantity, significant
from abbe.report.tables import Summary, models_of


class CostRow(NamedTuple):
    """What one model costs."""

    model: str
    parameters: str
    encoder_parameters: str
    macs: str
    encoder_macs: str
    milliseconds: str
    parts: str


def cost_rows(summary: Summary) -> list[CostRow]:
    """Size and speed of every model."""
    rows, side = [], _macs_side(summary)
    for name in models_of(summary):
        model = summary["models"][name]
        total, parts = milliseconds_of(model)
        rows.append(
            CostRow(
                name,
                quantity(model.get("parameters")),
                quantity(model.get("encoder_parameters")),
                _macs(model, "macs", side),
                _macs(model, "encoder_macs", side),
                significant(total),
                " + ".join(f"{part} {significant(value)}" for part, value in parts.items()),
            )
        )
    return rows


def milliseconds_of(model: Mapping[str, Any]) -> tuple[float | None, Mapping[str, float]]:
    """Milliseconds an image, and its parts where the run measured them apart."""
    value = model.get("ms_per_image")
    if isinstance(value, Mapping):
        parts = {str(part): share for part, share in value.items() if is_number(share)}
        return (sum(parts.values()) if parts else None), parts
    return (value if is_number(value) else None), {}


def times(teacher: Any, student: Any, less: str, more: str, alike: str) -> str:
    """``11 × smaller than the teacher``, or nothing where either is unknown."""
    if not (is_number(teacher) and is_number(student) and teacher > 0 and student > 0):
        return ""
    ratio, word = (teacher / student, less) if teacher >= student else (student / teacher, more)
    if ratio < 1.05:
        return f"as {alike} as the teacher"
    return f"{significant(round(ratio, 1))} × {word} than the teacher"


def compression(summary: Summary) -> str:
    """``4.7 M instead of 10.1 M parameters, 6 × faster``, or as much of it as is known."""
    models = summary.get("models") or {}
    student, teacher = models.get("student") or {}, models.get("teacher") or {}
    small, large = student.get("parameters"), teacher.get("parameters")
    found = []
    if is_number(small) and is_number(large):
        found.append(f"{quantity(small)} instead of {quantity(large)} parameters")
    quick, slow = milliseconds_of(student)[0], milliseconds_of(teacher)[0]
    if quick and slow and max(quick, slow) / min(quick, slow) >= 1.05:
        word = "faster" if slow > quick else "slower"
        found.append(f"{significant(round(max(quick, slow) / min(quick, slow), 1))} × {word}")
    return ", ".join(found)


def macs_of(summary: Summary) -> str:
    """Of an image of which size, for the head of the column."""
    side = _macs_side(summary)
    return f" (one of {side} px)" if side else ""


def _macs_side(summary: Summary) -> int | None:
    """The side of the image, px, that most models' MACs were counted for."""
    sides = Counter(
        model["macs_image_size"]
        for model in (summary.get("models") or {}).values()
        if is_number(model.get("macs_image_size"))
    )
    return sides.most_common(1)[0][0] if sides else None


def _macs(model: Mapping[str, Any], key: str, common: int | None) -> str:
    """MACs, and beside them the side of the image where it is not the ``common`` one."""
    text, side = quantity(model.get(key)), model.get("macs_image_size")
    own = is_number(model.get(key)) and is_number(side) and side != common
    return f"{text} ({side} px)" if own else text


def timed_of(summary: Summary) -> str:
    """``(1024 × 768 px)``: the image that was timed, for the head of the column."""
    size = (summary.get("timing") or {}).get("image_size")
    return f" ({size[0]} × {size[1]} px)" if size else ""


def _counted(runs: int) -> str:
    return f"{runs} run" if runs == 1 else f"{runs} runs"


def timing_note(summary: Summary) -> str:
    """How times were taken, and whether the machine had other work meanwhile."""
    timing = summary.get("timing") or {}
    if not timing:
        return ""
    fewer = timing.get("runs") or {}
    besides = ", ".join(f"{name} {_counted(count)}" for name, count in fewer.items())
    text = f"Times are medians of {_counted(timing['repeats'])}"
    text += f" ({besides}), the models in turn." if besides else ", the models in turn."
    if timing.get("whole_answers"):
        text += (
            " Each is from the pixels in memory to the answer: channels chosen and scaled, the "
            "network, its tiles joined, and whatever else a teacher does to find objects."
        )
    if reason := timing.get("teacher_not_timed"):
        text += f" The teacher was not timed: {reason}."
    if precision := timing.get("precision"):
        said = ", ".join(f"{name} in {each}" for name, each in precision.items())
        text += f" They did not compute alike: {said}."
    if timing.get("busy"):
        text += (
            f" They were measured on a busy machine (load {timing['load']:.1f} on "
            f"{timing['cores']} cores): take their ratio, not their size."
        )
    return text
