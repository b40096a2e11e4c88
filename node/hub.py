"""Models on the Hugging Face hub: a revision becomes a commit, and its accepted files come here.

What the commit lists is judged before anything is fetched: the names, the sizes, the free space. A
file arrives under another name, and takes its place when it has the size and the hash that the
commit lists: SHA-256 for large files, the id of the git blob for others. The folder then holds
these files and nothing else, none of them a link.

`huggingface_hub` does the talking. Endpoint, token and proxies are what it makes of HF_ENDPOINT,
HF_TOKEN and its other variables.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ledger.database import storage_errors
from ledger.errors import (
    DigestError,
    NotFoundError,
    PnodeError,
    PolicyError,
    StorageError,
    UnavailableError,
    UnsafeNameError,
)
from ledger.unixfs import check_name
from node.durable import make_folder

PREFIX: Final = "hf:"
MAX_LISTED: Final = 10_000
_CHUNK = 1 << 20
# As on the hub, no name or revision begins with a dot or holds two in a row.
_NAME = re.compile(
    r"(?!.*\.\.)(?P<repository>[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95})"
    r"(?:@(?P<revision>[\w-][\w./-]{0,95}))?",
    re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-f]{40}")

Accepted = Mapping[str, int]
"""Patterns of file names, each with the largest size in bytes that is accepted."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model repository, and a branch, tag or commit of it."""

    repository: str
    revision: str = "main"

    @classmethod
    def find(cls, text: str) -> HubModel | None:
        """Read `OWNER/NAME[@REVISION]`, with or without `hf:`; None if it is not that."""
        found = _NAME.fullmatch(text.removeprefix(PREFIX))
        return found and cls(found["repository"], found["revision"] or "main")

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}@{self.revision}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Files of a commit, in a folder named like the repository.

    `hub` is the address it came from; `left_out` are the files beside them that were not fetched.
    """

    folder: Path
    hub: str
    repository: str
    commit: str
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}@{self.commit}"


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file as the commit lists it; `sha256` only if it is a large one."""

    name: str
    size: int
    blob: str
    sha256: str | None


def fetch_snapshot(
    model: HubModel,
    accepted: Accepted,
    folder: Path,
    *,
    offline: bool,
    progress: Progress,
    hash_file: Callable[..., str],
) -> Snapshot:
    """Bring the accepted files at the top of a repository into `folder`, below commit and name.

    Files that lie there already are checked and kept.

    Raises:
        UnavailableError: if offline, or if the hub cannot be reached or understood.
        NotFoundError: if there is no such repository or revision.
        PolicyError: if the hub refuses, or if no file is accepted, or one is too large.
        StorageError: if there is no room.
        DigestError: if what arrives is not what the commit lists.
    """
    if offline:
        raise UnavailableError(
            f"{model}: not fetched with --offline",
            hint="run again without --offline, or name a folder with the files",
        )
    client = _Client(model)
    commit, listed = client.look()
    chosen = [each for each in listed if _accepts(model, accepted, each)]
    if not chosen:
        raise PolicyError(
            f"{model}: holds none of the files that are accepted ({', '.join(accepted)})",
            hint="name a repository that save_pretrained() of PEFT or transformers was pushed to",
        )
    owner, name = model.repository.split("/")
    parent = folder / f"{owner}--{name}" / commit
    target = parent / name
    make_folder(target)
    _remove_others(target, {each.name for each in chosen})
    missing = [each for each in chosen if not _is(target / each.name, each, hash_file)]
    _check_room(parent, sum(each.size for each in missing))
    for each in missing:
        with _arriving(parent) as arriving:
            client.download(each, commit, arriving, progress)
            if not _is(arriving / each.name, each, hash_file):
                raise DigestError(
                    f"{model}: {each.name} is not what commit {commit[:12]} lists",
                    hint="try again; if it stays so, the endpoint does not give the original files",
                )
            with storage_errors(target):
                (arriving / each.name).replace(target / each.name)
    beside = {each.name for each in listed} - {each.name for each in chosen}
    left_out = tuple(sorted(name for name in beside if not name.startswith(".")))
    return Snapshot(target, client.address, model.repository, commit, left_out)


@contextmanager
def _arriving(parent: Path) -> Iterator[Path]:
    """Give a folder for what is not checked yet; no repository has such a name."""
    folder = parent / ".arriving"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _accepts(model: HubModel, accepted: Accepted, file: _Listed) -> bool:
    try:
        check_name(file.name)
    except UnsafeNameError:
        return False  # it lies deeper, or has a name for another system
    if file.name.startswith("."):
        return False
    most = [size for pattern, size in accepted.items() if fnmatchcase(file.name, pattern)]
    if most and file.size > max(most):
        raise PolicyError(
            f"{model}: {file.name} has {file.size} bytes, at most {max(most)} are accepted"
        )
    return bool(most)


def _remove_others(target: Path, names: set[str]) -> None:
    with storage_errors(target):
        for path in target.iterdir():
            if path.name not in names:
                path.unlink()


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StorageError(f"{folder}: {size} bytes are to be fetched, {free} are free")


def _is(path: Path, listed: _Listed, hash_file: Callable[..., str]) -> bool:
    """Whether a file is the one that is listed."""
    if not path.is_file() or path.is_symlink() or path.stat().st_size != listed.size:
        return False
    with storage_errors(path), path.open("rb") as file:
        if listed.sha256 is not None:
            return hash_file(path, file) == listed.sha256
        # Git's own hash; a commit on the hub promises no more for small files.
        blob = hashlib.sha1(b"blob %d\0" % listed.size, usedforsecurity=False)
        while chunk := file.read(_CHUNK):
            blob.update(chunk)
    return blob.hexdigest() == listed.blob


class _Client:
    """The hub through `huggingface_hub`, its errors as ours."""

    def __init__(self, model: HubModel) -> None:
        from compose.errors import MissingExtraError

        try:
            from huggingface_hub import HfApi, constants
        except ImportError:
            raise MissingExtraError("models from the hub need huggingface_hub") from None
        self._model = model
        self._endpoint = constants.ENDPOINT
        self._api = HfApi(endpoint=self._endpoint)
        parts = urlsplit(self._endpoint)
        # Without the name and password that an address may hold.
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def look(self) -> tuple[str, list[_Listed]]:
        """Return the commit of the revision, and the files at the top of its tree."""
        with self._errors():
            commit = self._api.repo_info(self._model.repository, revision=self._model.revision).sha
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise UnavailableError(f"{self._model}: the hub names no commit")
        if _COMMIT.fullmatch(self._model.revision) and commit != self._model.revision:
            raise DigestError(f"{self._model}: the hub answers with commit {commit}")
        with self._errors():
            tree = self._api.list_repo_tree(self._model.repository, revision=commit)
            items = list(islice(tree, MAX_LISTED + 1))
            listed = [_listed(item) for item in items if hasattr(item, "blob_id")]
        if len(items) > MAX_LISTED:
            raise PolicyError(f"{self._model}: more than {MAX_LISTED} files and folders")
        return commit, listed

    def download(self, file: _Listed, commit: str, folder: Path, progress: Progress) -> None:
        """Fetch one file of a commit into a folder, as a plain file."""
        from huggingface_hub import hf_hub_download

        make_folder(folder)
        with self._errors():
            hf_hub_download(
                self._model.repository,
                file.name,
                revision=commit,
                local_dir=folder,
                endpoint=self._endpoint,
                tqdm_class=_meter(self._model, file, progress),
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise what the library raises as an error for people, without its traceback."""
        import httpx2
        from huggingface_hub import errors as hub

        model = self._model
        try:
            yield
        except PnodeError:
            raise
        except hub.GatedRepoError:
            raise PolicyError(
                f"{model}: its owners ask for an agreement first",
                hint="agree to it on the page of the repository, set HF_TOKEN, and run it again",
            ) from None
        except hub.RepositoryNotFoundError:
            raise NotFoundError(
                f"{model}: the hub has no such repository, or does not show it to you",
                hint="check the name; for a private repository set HF_TOKEN",
            ) from None
        except hub.RevisionNotFoundError:
            raise NotFoundError(
                f"{model}: the repository has no such revision",
                hint="a revision is a branch, a tag or a commit",
            ) from None
        except hub.HfHubHTTPError as error:
            raise _of_status(model, error.response.status_code) from None
        except (hub.LocalEntryNotFoundError, hub.FileMetadataError, httpx2.HTTPError) as error:
            raise UnavailableError(f"{model}: the hub does not answer ({_first(error)})") from None
        except OSError as error:
            if error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
                raise StorageError(f"{model}: {error.strerror or error}") from None
            raise UnavailableError(f"{model}: the hub does not answer ({_first(error)})") from None
        # What the library makes of an answer that it did not expect.
        except (
            AssertionError,
            AttributeError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as e:
            raise UnavailableError(
                f"{model}: the hub's answer makes no sense ({_first(e)})"
            ) from None


def _of_status(model: HubModel, status: int) -> PnodeError:
    if status in (401, 403):
        return PolicyError(
            f"{model}: the hub refuses (status {status})",
            hint="set HF_TOKEN to a token that may read this repository",
        )
    return UnavailableError(f"{model}: the hub answers with status {status}")


def _first(error: BaseException) -> str:
    """Return what an error says, on one line and short."""
    said = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {said[0]}".rstrip(": ")[:200]


def _listed(item: Any) -> _Listed:
    return _Listed(
        str(item.path), int(item.size), str(item.blob_id), item.lfs and str(item.lfs.sha256)
    )


def _meter(model: HubModel, file: _Listed, progress: Progress) -> type:
    """Return a progress bar that reports to `progress`, and ends a transfer without end.

    It is the one place where the library says how much has arrived. A transfer that breaks and
    begins anew counts again.
    """
    from tqdm import tqdm

    most = 2 * file.size + _CHUNK

    class Meter(tqdm):
        def __init__(self, *args: Any, **keywords: Any) -> None:
            keywords.pop("name", None)
            super().__init__(*args, **{**keywords, "disable": True})
            self.arrived = 0

        def update(self, n: float | None = 1) -> None:
            self.arrived += int(n or 0)
            if self.arrived > most:
                raise DigestError(
                    f"{model}: {file.name}: more arrives than the {file.size} bytes it has"
                )
            progress(f"MiB of {file.name}", self.arrived >> 20, file.size >> 20)

    return Meter
