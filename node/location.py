"""Where things lie on this machine: the home in use, and the folders outside every home.

Separate from `node.home` because a proof that stands alone is checked without opening a home.
"""

from __future__ import annotations

import os
from pathlib import Path

MARKER = "pnode.toml"
PROJECT_FOLDER = ".pnode"


def find_home(flag: Path | None, start: Path) -> Path:
    """Return the home to use: given, else `.pnode/` above `start`, else the user's data folder."""
    if flag is not None:
        return flag
    for folder in (start, *start.parents):
        if (folder / PROJECT_FOLDER / MARKER).is_file():
            return folder / PROJECT_FOLDER
    import platformdirs

    return Path(platformdirs.user_data_dir("pnode"))


def state_folder() -> Path:
    """Return the folder of the signing locks: PNODE_STATE, else the user's state folder."""
    given = os.environ.get("PNODE_STATE")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_state_dir("pnode"))


def cache_folder() -> Path:
    """Return the folder of what audits remember: PNODE_CACHE, else the user's cache folder."""
    given = os.environ.get("PNODE_CACHE")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("pnode"))
