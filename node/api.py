"""The Python interface: the verbs of the command line as methods of one object.

    from pathlib import Path
    from node.api import Node

    node = Node.open(Path("~/.local/share/pnode").expanduser())
    published = node.publish(Path("my-adapter"), license="Apache-2.0")
    assert node.verify([published.id]).ok

Methods return frozen values and raise the errors of `ledger.errors`. Nothing is kept open between
calls, so several objects and processes can use one home; writers take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.cid import Cid
from ledger.database import storage_errors
from ledger.errors import NotFoundError, UsageError
from ledger.log import resolve_id
from node.artifacts import extract, store_directory
from node.home import Home, state_folder

if TYPE_CHECKING:
    from node.attributing import Attributed, EstimatorName
    from node.auditing import Audited
    from node.bases import KnownBase
    from node.composing import Composed, Progress
    from node.fetching import Fetched
    from node.publish import Clock, Published, Withdrawn
    from node.reading import Listed, LogLine, Shown
    from node.replaying import Replayed
    from node.reporting import Reported
    from node.sync import SyncReport
    from node.verifying import Verified
