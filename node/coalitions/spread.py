"""Over what the evaluation of coalitions is spread, as the user asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.cid import Cid
from node.coalitions.executor import Executor, Workers
from node.home import Home

MEMORY_MIB: Final = 1536


@dataclass(frozen=True, slots=True)
class Spread:
    """How many processes evaluate, where, and what each may hold.

    Attributes:
        jobs: how many; None for this one alone, or on a cluster for one on each processor.
        memory: MiB each may keep beside the weights, to spare forward passes.
        ray: the address of a Ray cluster; None for this machine.
    """

    jobs: int | None = None
    memory: int = MEMORY_MIB
    ray: str | None = None

    @property
    def memory_bytes(self) -> int:
        """The same in bytes."""
        return self.memory * 2**20

    def executor(self, home: Home, lock: Cid, *, items: int, together: bool) -> Executor | None:
        """Return what evaluates the coalitions of a lock in this home; close it when done.

        None if this process is to evaluate them by itself.

        Args:
            home: holds the lock and what it names.
            lock: its CID.
            items: how many items its suites have.
            together: whether all coalitions are answered from the same forward passes.

        Raises:
            MissingExtraError, UnavailableError: if a cluster is wanted and cannot be used.
        """
        place = str(home.path.absolute()), str(home.state.absolute())
        arguments = (*place, str(lock), self.memory_bytes)
        workers: Workers
        if self.ray is not None:
            from node.coalitions.cluster import Cluster

            workers = cluster = Cluster(arguments, self.ray)
            count = self.jobs or cluster.processors
        elif self.jobs is None or self.jobs == 1:
            return None
        else:
            from node.coalitions.processes import Processes

            workers, count = Processes([str(each) for each in arguments]), self.jobs
        return Executor(workers, count=count, items=items, together=together)


ALONE = Spread()
