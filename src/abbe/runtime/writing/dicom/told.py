"""What every result in DICOM says of itself: who made it, and codes for classes and measurements.

Classes that everyone calls alike have their SNOMED CT code; the others, and measurements without
one, have a code of our own (scheme 99ABBE) with their name as its meaning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abbe import __version__

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from pydicom.sr.coding import Code

    from abbe.runtime.package import PackageDescription

SCHEME = "99ABBE"
_LONGEST_TEXT, _LONGEST_CODE = 64, 16
_SNOMED = {
    "nucleus": "Nucleus", "nuclei": "Nucleus", "cell": "Cell", "cells": "Cell",
    "tumor": "Neoplasm", "tumour": "Neoplasm", "neoplasm": "Neoplasm", "neoplastic": "Neoplasm",
    "necrosis": "Necrosis", "lesion": "Lesion", "adipose": "AdiposeTissue", "fat": "AdiposeTissue",
    "connective": "ConnectiveTissue", "lymphoid": "LymphoidTissue",
}  # fmt: skip
"""Class names, and pydicom's keywords of their codes."""
_ABNORMAL = ("Neoplasm", "Necrosis", "Lesion")
_MEASURED = {"area_um2": "Area", "major_axis_um": "MajorAxis", "minor_axis_um": "MinorAxis"}


@dataclass(frozen=True)
class Classes:
    """The classes that a result tells apart.

    Attributes:
        names: As the package or the user calls them.
        colours: Of each: red, green, blue, 0 to 255.
    """

    names: Sequence[str]
    colours: Sequence[tuple[int, int, int]]


def text(words: str) -> str:
    """Words as DICOM keeps them: 64 letters at most, and no backslash, which parts values."""
    return words.replace("\\", "/")[:_LONGEST_TEXT]


def category_and_type(name: str) -> tuple[Code, Code]:
    """Codes of what a class is, broadly and exactly."""
    from pydicom.sr.codedict import codes

    keyword = _SNOMED.get(name.strip().lower())
    if keyword is None:
        return codes.cid7150.AnatomicalStructure, own_code(name)
    broad = "MorphologicallyAbnormalStructure" if keyword in _ABNORMAL else "AnatomicalStructure"
    return getattr(codes.cid7150, broad), getattr(codes.SCT, keyword)


def measurement(column: str) -> tuple[Code, Code]:
    """Codes of a table's column and of its unit."""
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    known = _MEASURED.get(column)
    name = own_code(column) if known is None else getattr(codes.SCT, known)
    if column.endswith("_um2"):
        return name, codes.UCUM.SquareMicrometer
    if column.endswith("_um"):
        return name, codes.UCUM.Micrometer
    if column.endswith("_px"):
        return name, Code("{pixels}", "UCUM", "pixels")
    return name, codes.UCUM.NoUnits


def own_code(name: str) -> Code:
    """A code for what has none that everyone knows."""
    from pydicom.sr.coding import Code

    value = hashlib.sha256(name.encode()).hexdigest()[:_LONGEST_CODE]
    return Code(value, SCHEME, text(name))


def colour(red_green_blue: tuple[int, int, int]) -> CIELabColor:
    """A colour as DICOM recommends it for display."""
    from highdicom.color import CIELabColor

    return CIELabColor.from_rgb(*red_green_blue)


def algorithm(description: PackageDescription) -> AlgorithmIdentificationSequence:
    """Which package it was, by its title and the start of its first network's SHA-256."""
    from highdicom import AlgorithmIdentificationSequence
    from pydicom.sr.codedict import codes

    version = next(iter(description.files.values())).sha256[:16]
    return AlgorithmIdentificationSequence(
        text(description.title), codes.DCM.ArtificialIntelligence, version
    )


def instance(description: PackageDescription, words: str) -> dict[str, Any]:
    """What the constructors of highdicom are told of the new file, in a series of its own.

    Args:
        description: Of the package.
        words: What the file holds.
    """
    from highdicom import UID
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    scheme = CodingSchemeIdentificationItem(SCHEME, name="Abbe: classes and columns by their names")
    return {
        "series_instance_uid": UID(), "series_number": 1, "sop_instance_uid": UID(),
        "instance_number": 1, "manufacturer": "Abbe",
        "manufacturer_model_name": text(description.name),
        "software_versions": __version__,
        "device_serial_number": next(iter(description.files.values())).sha256[:16],
        "content_description": text(words), "series_description": text(words),
        # Names of classes may have any letter, whatever the image's texts are made of.
        "specific_character_set": "ISO_IR 192",
        "coding_schemes": [scheme],
    }  # fmt: skip
