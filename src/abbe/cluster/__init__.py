"""Work on several machines, by dask.distributed: workers here, a scheduler elsewhere, a queue."""

from abbe.cluster.items import Died, Done, carry_out
from abbe.cluster.opening import open_cluster
from abbe.cluster.workers import Lost, Workers

__all__ = ["Died", "Done", "Lost", "Workers", "carry_out", "open_cluster"]
