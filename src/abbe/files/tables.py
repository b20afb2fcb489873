"""Tables that people write: separated by commas, semicolons or tabs, with names in any case."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from abbe.errors import InputError
from abbe.foreign_text import cell_text


def read_csv(
    file: Path, names: Collection[str] = ()
) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """The header and the rows of a table separated by commas, semicolons or tabs.

    Blanks around cells are dropped, and letters are composed (NFC), so that names that look alike
    are alike.

    Args:
        file: UTF-8 text.
        names: Columns that are meant in any case: where the table has Split and no split, its
            rows have both.

    Raises:
        InputError: The file is not UTF-8 text, is empty, names a column twice, or a row is longer
            than the header.
    """
    if file.exists() and not file.is_file():  # reading a pipe could wait for ever
        raise InputError(f"{file} is no file: a table is expected")
    try:
        with open(file, newline="", encoding="utf-8-sig") as opened:
            text = unicodedata.normalize("NFC", opened.read())
        first = next(iter(text.splitlines()), "")
        delimiter = next((mark for mark in (",", ";", "\t") if mark in first), ",")
        whole = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        lines = [[cell_text(value.strip(" \t")) for value in line] for line in whole if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} cannot be read as a UTF-8 table: {error}") from error
    if not lines:
        raise InputError(f"{file} is empty; its first line must name the columns")
    stated = lines[0]
    if twice := [name for name, count in Counter(stated).items() if name and count > 1]:
        raise InputError(f"{file} has the column '{twice[0]}' twice; keep one")
    also = _in_small_letters(file, stated, names)
    rows: list[dict[str, str]] = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) > len(stated):
            raise InputError(
                f"{file}: row {number} has {len(line)} values, but there are {len(stated)} columns"
            )
        values = line + [""] * (len(stated) - len(line))
        row = dict(zip(stated, values, strict=True))
        rows.append(row | {name: row[column] for name, column in also.items()})
    return (*stated, *also), rows


def _in_small_letters(file: Path, stated: list[str], names: Collection[str]) -> dict[str, str]:
    """The columns that are meant by ``names`` but spelt otherwise."""
    found: dict[str, str] = {}
    for column in stated:
        name = column.lower()
        if name not in names or name in stated:
            continue
        if name in found:
            raise InputError(f"{file} has the columns '{found[name]}' and '{column}'; keep one")
        found[name] = column
    return found
