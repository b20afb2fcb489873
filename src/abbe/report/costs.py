"""What each model costs: parameters, MACs and time, and how much smaller the student is."""

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
    rows = []
    for name in models_of(summary):
        model = summary["models"][name]
        total, parts = milliseconds_of(model)
        rows.append(
            CostRow(
                name,
                quantity(model.get("parameters")),
                quantity(model.get("encoder_parameters")),
                quantity(model.get("macs")),
                quantity(model.get("encoder_macs")),
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
    """Of an image of which size, for the head of the column; nothing where sizes differ."""
    sides = {
        model["macs_image_size"]
        for model in (summary.get("models") or {}).values()
        if is_number(model.get("macs_image_size"))
    }
    return f" (one of {sides.pop()} px)" if len(sides) == 1 else ""


def timed_of(summary: Summary) -> str:
    """``(1024 × 768 px)``: the image that was timed, for the head of the column."""
    size = (summary.get("timing") or {}).get("image_size")
    return f" ({size[0]} × {size[1]} px)" if size else ""


def timing_note(summary: Summary) -> str:
    """How times were taken, and whether the machine had other work meanwhile."""
    timing = summary.get("timing") or {}
    if not timing:
        return ""
    text = f"Times are medians of {timing['repeats']} runs, the models in turn."
    if timing.get("busy"):
        text += (
            f" They were measured on a busy machine (load {timing['load']:.1f} on "
            f"{timing['cores']} cores): take their ratio, not their size."
        )
    return text
