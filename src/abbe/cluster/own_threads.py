"""How many threads an item computes with: what its worker was given, shared by those in hand.

dask sets OMP_NUM_THREADS to 1 in the processes that it starts, whatever cores they were given.
"""

from __future__ import annotations

from abbe.cluster.workers import Workers
from abbe.machine.threads import cores, given, set_threads


def threads_wanted(workers: Workers) -> int | None:
    """For each item, as the client says; None where each worker finds out what it was given."""
    return given() or workers.share


def use_threads(wanted: int | None) -> None:
    """Compute with so many threads from here on; called on a worker, for an item."""
    set_threads(wanted or max(1, cores() // _slots()))


def _slots() -> int:
    """How many items this worker has in hand at a time."""
    from distributed import get_worker

    return get_worker().state.nthreads
