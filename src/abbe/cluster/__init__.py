"""Work on several machines, by dask.distributed: workers here, a scheduler elsewhere, a queue."""

from abbe.cluster.opening import open_cluster
from abbe.cluster.workers import Lost, Workers

__all__ = ["Lost", "Workers", "open_cluster"]
