"""The errors a user can meet: each names the file or key, what is wrong, and what to do."""


class AbbeError(Exception):
    """A problem the user can mend. The command line prints its message and exits with 1."""


class AbbeWarning(UserWarning):
    """Something to know that stops nothing. The command line prints it as a note."""


class InputError(AbbeError):
    """An image, a label or a data set is missing, damaged or of the wrong form."""


class RemoteError(InputError):
    """An object behind a URL cannot be read or written: no right, no network, no credentials."""


class RefusedError(RemoteError):
    """The server does not let these credentials have an object, or says so of one it lacks."""


class ConfigError(AbbeError):
    """An experiment file or a command-line value is wrong."""


class StoreError(AbbeError):
    """A target store is damaged, half-made, or belongs to another teacher."""


class PackageError(AbbeError):
    """A package is damaged, incomplete, hostile, or of another version."""


class ClusterError(AbbeError):
    """The scheduler of a cluster has gone away, or cannot be used."""


class MemoryShortError(AbbeError, MemoryError):
    """What is to be computed does not fit into memory."""


class MissingExtraError(AbbeError):
    """A part of Abbe was asked for whose packages are not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'abbe[{extra}]'"
        )


class MissingPackageError(AbbeError):
    """Another program was asked to teach that is not installed where Abbe runs."""


def fault_of(error: Exception) -> str:
    """What happened to one of many images, in words; what is not Abbe's own with its kind.

    >>> fault_of(InputError("a.png: the file is empty")), fault_of(KeyError("a"))
    ('a.png: the file is empty', "KeyError: 'a'")
    """
    return str(error) if isinstance(error, AbbeError) else f"{type(error).__name__}: {error}"
