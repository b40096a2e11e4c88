"""The logs of a home: its own, and those that it continues."""

from __future__ import annotations

from ledger.database import Database
from ledger.entry import Entry
from ledger.log import find_log
from ledger.succession import Predecessor
from node.home import Home


def own_origins(home: Home, database: Database) -> tuple[str, ...]:
    """Return the origin of this home's log and of those before it, newest first.

    Each is named by the genesis of the one after it, which this home has signed itself.
    """
    origins = [home.origin]
    while (log := find_log(database, origins[-1])) is not None and log.size:
        genesis = Entry.stored(next(log.bodies(0, 1)))
        point = Predecessor.of(genesis.statement.predicate) if genesis.kind == "genesis" else None
        if point is None or point.origin in origins:
            break
        origins.append(point.origin)
    return tuple(origins)
