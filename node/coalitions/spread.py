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
    """How many processes evaluate, and what each may hold.

    Attributes:
        jobs: how many.
        memory: MiB each may keep beside the weights, to spare forward passes.
    """

    jobs: int = 1
    memory: int = MEMORY_MIB

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
        """
        from node.coalitions.processes import Processes

        if self.jobs == 1:
            return None
        arguments = [str(home.path.absolute()), str(home.state.absolute()), str(lock)]
        workers: Workers = Processes([*arguments, str(self.memory_bytes)])
        return Executor(workers, count=self.jobs, items=items, together=together)


ALONE = Spread()
