"""Reading a published table, whichever kind it is."""

from __future__ import annotations

from attribution.evidence import Evidence
from attribution.table import CoalitionTable
from attribution.treetable import SCHEMA as TREES
from attribution.treetable import TreeTable

_LONGEST_HEADER = 256 * 1024


def parse_table(data: bytes) -> Evidence:
    """Parse the published bytes of a coalition table or a tree table.

    Raises:
        TableError: unless encoding the result gives exactly `data` back.
    """
    header = data[:_LONGEST_HEADER].partition(b"\n")[0]
    kind = TreeTable if f'"schema":"{TREES}"'.encode() in header else CoalitionTable
    return kind.parse(data)
