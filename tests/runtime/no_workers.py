"""Stands in for workers before anything is given to them."""

from typing import cast

from abbe.cluster import Workers


class _NoWorkers:
    """All that is asked of them then: how many cores each has, which they find out themselves."""

    share = None


NO_WORKERS = cast(Workers, _NoWorkers())
