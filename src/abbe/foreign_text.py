"""Text from files of strangers, made harmless for terminals, spreadsheets and web pages."""

import html
import re
from collections.abc import Sequence
from typing import Any

# Control characters (but line feed and tab), and those that turn the direction of writing.
# Besides them surrogates, which stand for bytes of names that are no UTF-8 and cannot be printed.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan")
# What begins a formula, in half and full width; more quotation marks before it were put there.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_MARKDOWN = re.compile(r"[\\`|\[\]]")


def shown(text: object) -> str:
    """Text for a terminal: what would move the cursor or change colours is written out.

    A title could otherwise hide a warning, or make a terminal run something.
    """
    return _CONTROL.sub(_written_out, str(text))


def has_control_characters(text: str) -> bool:
    """Whether `shown` would change the text."""
    return _CONTROL.search(text) is not None


def cells(row: Sequence[Any]) -> list[Any]:
    """The cells of a row of CSV, so that spreadsheet programs calculate nothing from text.

    They take text that begins with =, +, −, @, tab or line end for a formula, which can start
    programs; an apostrophe is put before it. Numbers stay as they are. `cell_text` undoes it.
    """
    return [_cell(value) for value in row]


def cell_text(text: str) -> str:
    """What stood in a cell before `cells`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def markdown_text(text: str) -> str:
    """Text for a line of Markdown: no HTML, link, code, column or line of its own."""
    plain = html.escape(shown(" ".join(text.split())), quote=False)
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", plain)


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or not _FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # as Python reads the byte of a file name
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
