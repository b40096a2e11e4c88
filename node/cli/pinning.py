"""How commands tell what an IPFS daemon keeps of this node's publications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.cli.output import Cell, Table

if TYPE_CHECKING:
    from node.cli.output import Output
    from node.storage.pinning import DaemonPins


def pins_cell(pins: DaemonPins | None) -> Cell | None:
    """Return where publications are kept and how many are not yet; nothing without a daemon."""
    if pins is None:
        return None
    count = len(pins.pending)
    missing = f", {count} not yet" if count else ""
    return Cell(f"{pins.daemon}: {pins.pinned} pinned{missing}", "warn" if count else "")


def pending_table(pins: DaemonPins | None) -> list[Table]:
    """Return a table of what a daemon does not keep yet, if there is anything."""
    if pins is None or not pins.pending:
        return []
    rows = [[Cell(each.cid, id=True), Cell(each.entry, id=True)] for each in pins.pending]
    return [Table(["NOT PINNED YET", "NAMED BY ENTRY"], rows)]


def warn_of_pending(output: Output, pins: DaemonPins | None) -> None:
    """Warn of what was published and is not pinned; it stands all the same."""
    if pins is None or not (pins.pending or pins.error):
        return
    count = len(pins.pending)
    noun = "artifact or document" if count == 1 else "artifacts and documents"
    reason = pins.error or f"IPFS daemon at {pins.daemon}"
    output.warn(f"not pinned yet: {count} {noun} ({reason})")
    if pins.hint:
        output.hint(pins.hint)
    output.hint("what you published is in the local store; the next publication or sync sends it")
