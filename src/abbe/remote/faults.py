"""What went wrong with an object, in words: each library of a cloud raises errors of its own."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from abbe.errors import AbbeError, RefusedError, RemoteError
from abbe.remote.urls import masked

TRIES = 5
"""How often a request is made before it is given up."""
_FIRST_WAIT = 0.2  # s; each wait is twice the one before

_CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or run 'aws configure'; "
    "for a public bucket set FSSPEC_S3_ANON=true",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS, or run 'gcloud auth application-default login'",
    "az": "Set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and "
    "AZURE_STORAGE_ACCOUNT_KEY",
    "http": "Give a URL that was signed for you, or ask who runs the server",
}
_FAMILIES = {"gcs": "gs", "abfs": "az", "abfss": "az", "https": "http"}
_BUSY = (errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO), errno.ECONNRESET, errno.ETIMEDOUT,
         errno.ECONNREFUSED, errno.EPIPE)  # fmt: skip
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError",
                   "ClientAuthenticationError", "TokenRetrievalError",
                   "ProfileNotFound")  # fmt: skip
_CUT = ("ConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "EndpointConnectionError",
        "HTTPClientError", "ClientPayloadError", "ClientConnectionError", "FSTimeoutError",
        "IncompleteRead", "ServerDisconnectedError", "ServiceRequestError", "ServiceResponseError",
        "ResponseStreamingError", "ConnectionClosedError", "TimeoutError")  # fmt: skip

T = TypeVar("T")


@contextmanager
def in_words(url: str, doing: str = "read") -> Iterator[None]:
    """Turn what a library raises into a `RemoteError` that names the object.

    An object that is missing stays a FileNotFoundError, as of a file: callers ask for it. What is
    raised is no cause of another: its text may hold a signed address.

    Args:
        url: The object.
        doing: What is done with it: "read" or "written".
    """
    try:
        yield
    except (AbbeError, MemoryError):
        raise
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        # fsspec's web server has no other word for one that is busy or refuses.
        if error.__cause__ is not None and (fault := fault_of(url, error.__cause__)):
            raise fault from None
        number = error.errno or errno.ENOENT
        said = "there is no such bucket" if _no_bucket(error) else "there is no such object"
        raise type(error)(number, said, masked(url)) from None
    except Exception as error:
        kind = RefusedError if is_refused(error) else RemoteError
        raise kind(_told(masked(url), error, doing)) from None


def fault_of(url: str, error: BaseException) -> RemoteError | None:
    """What `in_words` would raise, where the server or the network is to blame for an error."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if is_refused(error) or is_passing(error) or kinds.intersection(_NO_CREDENTIALS):
        kind = RefusedError if is_refused(error) else RemoteError
        return kind(_told(masked(url), error, "read"))
    return None


def again(url: str, call: Callable[[], T]) -> T:
    """Make a request, and make it again where the server was busy or the connection cut.

    For web servers: the libraries of buckets do so themselves.
    """
    for wait in range(TRIES - 1):
        try:
            return call()
        except Exception as error:
            if not is_passing(error) and not is_passing(error.__cause__):
                raise
            time.sleep(_FIRST_WAIT * 2**wait)
    return call()


def is_refused(error: BaseException) -> bool:
    """Whether the credentials do not suffice."""
    return isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403)


def is_passing(error: BaseException | None) -> bool:
    """Whether the same request may succeed later."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status == 429 or status >= 500
    if isinstance(error, OSError) and error.errno in _BUSY:
        return True
    return bool({kind.__name__ for kind in type(error).__mro__}.intersection(_CUT))


def _no_bucket(error: OSError) -> bool:
    cause = getattr(error.__cause__, "response", None) or {}
    return cause.get("Error", {}).get("Code") == "NoSuchBucket" or "bucket does not" in str(error)


def _told(url: str, error: BaseException, doing: str) -> str:
    scheme = url.partition(":")[0]
    how = _CREDENTIALS[_FAMILIES.get(scheme, scheme)]
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds.intersection(_NO_CREDENTIALS):
        return f"{url}: no credentials were found. {how}"
    if is_refused(error):
        return (
            f"{url}: it may not be {doing} with these credentials: the server refuses it. Ask for "
            f"the right to it, or use others. {how}"
        )
    if is_passing(error):
        return (
            f"{url}: the server was busy or did not answer, however often it was asked "
            f"({_reason(error)}). Check the network and its address, and start again: what is done "
            "is kept"
        )
    return f"{url}: it cannot be {doing} ({_reason(error)})"


def _reason(error: BaseException) -> str:
    text = masked(str(error).strip().partition("\n")[0])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
