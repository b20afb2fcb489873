"""What a package is, and its networks ready to run."""

from abbe.runtime.package.description import (
    DESCRIPTION,
    LARGEST_DESCRIPTION,
    Figures,
    InstanceRule,
    Lineage,
    Package,
    PackageDescription,
    PackageFile,
    Role,
    Thresholds,
    describe_file,
    read_package,
    write_description,
)
from abbe.runtime.package.input import Normalisation, Standardised

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
    "read_package",
    "write_description",
]
