"""Numbers as people read them; what is unknown or undefined is an en dash, never a zero."""

import math
from collections.abc import Sequence
from typing import Any

UNKNOWN = "–"


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number (and not a bool)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def decimal(value: Any, digits: int = 3, *, signed: bool = False) -> str:
    """0.7964 → ``0.796``; with a true minus sign, and a plus where ``signed``."""
    if not is_number(value):
        return UNKNOWN
    # Adding 0.0 turns a rounded −0.0 into 0.0.
    rounded = round(float(value), digits) + 0.0
    sign = "+" if signed and rounded > 0 else ""
    return f"{sign}{rounded:.{digits}f}".replace("-", "−")


def bounds_of(ci95: Sequence[float | None] | None) -> tuple[float, float] | None:
    """Both ends of an interval; None where there is none, or an end is not defined."""
    if not ci95 or len(ci95) != 2 or not all(is_number(bound) for bound in ci95):
        return None
    low, high = ci95
    return float(low or 0), float(high or 0)


def interval(bounds: tuple[float, float] | None, digits: int = 3, *, scale: float = 1) -> str:
    """(0.78, 0.81) → ``[0.780, 0.810]``, or nothing where there is no interval."""
    if bounds is None:
        return ""
    return f"[{decimal(scale * bounds[0], digits)}, {decimal(scale * bounds[1], digits)}]"


def quantity(value: Any) -> str:
    """11_200_000 → ``11.2 M``: three significant digits and an SI prefix."""
    if not is_number(value):
        return UNKNOWN
    for factor, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 0.9995 * factor:
            return f"{significant(value / factor)}{prefix}"
    return significant(value)


def significant(value: Any) -> str:
    """Three significant digits, without an exponent between 0.0001 and a million."""
    if not is_number(value):
        return UNKNOWN
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.3g}")))))
    if digits > 6:
        return f"{value:.2e}".replace("-", "−")
    text = f"{value:,.{digits}f}".replace("-", "−").replace(",", "\u202f")
    whole = isinstance(value, int) and digits > 0
    return text.rstrip("0").rstrip(".") if whole else text


def percent(value: Any, digits: int = 0) -> str:
    """0.963 → ``96 %``."""
    return f"{decimal(100 * value, digits)} %" if is_number(value) else UNKNOWN


def percent_interval(bounds: tuple[float, float] | None) -> str:
    """(0.961, 0.98) → ``[96.1, 98.0] %``, or nothing where there is no interval."""
    return f"{interval(bounds, 1, scale=100)} %" if bounds else ""


def p_value(value: Any) -> str:
    """``= 0.030``, or ``< 0.001``: a smaller one says no more."""
    if not is_number(value):
        return ""
    return "< 0.001" if value < 0.001 else f"= {decimal(value)}"
