"""What a package is, and its networks ready to run."""

from abbe.runtime.package.description import (
    DESCRIPTION,
    Figures,
    InstanceRule,
    Lineage,
    Package,
    PackageDescription,
    PackageFile,
    Role,
    Thresholds,
    describe_file,
    write_description,
)
from abbe.runtime.package.input import Normalisation, Standardised
from abbe.runtime.package.places import located, repository_of, shipped
from abbe.runtime.package.reading import LARGEST_DESCRIPTION, read_package

__all__ = [
    "DESCRIPTION",
    "LARGEST_DESCRIPTION",
    "Figures",
    "InstanceRule",
    "Lineage",
    "Normalisation",
    "Package",
    "PackageDescription",
    "PackageFile",
    "Role",
    "Standardised",
    "Thresholds",
    "describe_file",
    "located",
    "read_package",
    "repository_of",
    "shipped",
    "write_description",
]
