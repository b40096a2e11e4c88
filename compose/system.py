"""The composed system: the members of a lock, assembled by its method, ready to answer.

The digest names what was assembled, so that two nodes can tell before any evaluation whether they
hold the same system: sha256 of the canonical JSON of

    {"schema": "pnode.system/1", "base", "method": {"name", "version"}, ...}

with "deltas", the digest of the merged deltas, for a merge, which is all that a merge is, and the
weights if it learned them; and with "members" (tensor digests by id), "parameters" and the digest
of what was fitted for the others. A system without members is the base alone: it has neither
method nor members.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from compose.adapter import Adapter
from compose.answering import Answer, Question
from compose.base import BaseModel
from compose.delta import delta_of
from compose.errors import MethodError
from compose.exactness import check_promise, load_decoder
from compose.lock import Lock
from compose.methods import find_method
from compose.methods.method import Assembly, Context, Member, Method
from compose.methods.speaker import Speaker
from compose.suite import Suite
from compose.tokens import Tokens
from ledger.encoding import canonical_json
from ledger.errors import DigestError, IncompleteError

SCHEMA = "pnode.system/1"
NO_TITLES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class System:
    """An assembly, and the parts its digest is made of."""

    assembly: Assembly
    identity: Mapping[str, Any]

    def digest(self) -> str:
        """Return the digest of the system in lower-case hexadecimal."""
        document = canonical_json({"schema": SCHEMA, **self.identity})
        return hashlib.sha256(document).hexdigest()

    def write(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        """Return the text that the system writes after each prompt, at most so many tokens long.

        Raises:
            UnfitSuiteError: naming a prompt that does not fit into the base's positions.
        """
        return [
            str(answer.value)
            for answer in self._answers(
                Question(f"prompt {number}", prompt, (), max_tokens, "none")
                for number, prompt in enumerate(prompts)
            )
        ]

    def choose(self, prompt: str, choices: Sequence[str]) -> int:
        """Return the index of the choice that the system thinks most likely after a prompt.

        Raises:
            UnfitSuiteError: if a choice does not fit into the base's positions.
        """
        (answer,) = self._answers([Question("prompt", prompt, tuple(choices), 1, "none")])
        return int(answer.value)

    def _answers(self, questions: Iterable[Question]) -> list[Answer]:
        answerer = self.assembly.answerer
        everybody = np.ones((1, answerer.members), dtype=np.bool_)
        return [answers[0] for answers in answerer.answer(list(questions), everybody)]


def assemble(
    lock: Lock,
    base: BaseModel,
    adapters: Mapping[str, Adapter],
    dev: Suite | None = None,
    titles: Mapping[str, str] = NO_TITLES,
) -> System:
    """Assemble the system of a lock.

    Args:
        lock: which members, method, parameters and seed.
        base: the base model, opened.
        adapters: at least the lock's members, inspected, by contribution id.
        dev: the lock's dev suite; needed by methods that fit.
        titles: the title of each member's statement, by id; needed by methods that route by them.

    Raises:
        MethodError: if the method or a parameter is not known here, or dev is missing.
        DigestError: if the base is not the one that the lock pins.
        IncompleteError: naming a member that is not among the adapters, or has no title here.
    """
    method = find_method(lock.method.name, version=lock.method.version)
    return assemble_context(method, open_context(lock, base, adapters, dev, titles))


def open_context(
    lock: Lock,
    base: BaseModel,
    adapters: Mapping[str, Adapter],
    dev: Suite | None,
    titles: Mapping[str, str] = NO_TITLES,
) -> Context:
    """Load what a lock's method may look at: the base, and each member's deltas in id order.

    Raises:
        MethodError, DigestError, IncompleteError: as `assemble`.
    """
    method = find_method(lock.method.name, version=lock.method.version)
    parameters = method.validate(lock.method.parameters)
    _check_base(lock, base)
    check_promise(method, lock.exactness)
    if method.needs_dev and lock.members and dev is None:
        raise MethodError(
            f"{method.name} needs a dev suite",
            hint="name one in the recipe: dev = 'ID'",
        )
    members = []
    for entry in lock.members:
        if entry.id not in adapters:
            raise IncompleteError(
                f"the adapter of member {entry.id} is not here",
                hint=f"pnode fetch {entry.id}",
            )
        if method.needs_titles and entry.id not in titles:
            raise IncompleteError(
                f"the title of member {entry.id} is not here",
                hint="sync with a peer that has its log",
            )
        adapter = adapters[entry.id]
        deltas = delta_of(adapter, name=f"member {entry.id}")
        members.append(Member(entry.id, adapter, deltas))
    decoder = load_decoder(base, lock.exactness, lock.software)
    # After loading, so that what was loaded is what the digest names.
    base.check_unchanged()
    return Context(
        base=base,
        decoder=decoder,
        tokens=Tokens.open(base),
        members=tuple(members),
        parameters=parameters,
        dev=dev if method.needs_dev else None,
        seed=lock.seed,
        titles=titles if method.needs_titles else NO_TITLES,
    )


def assemble_context(method: Method, context: Context) -> System:
    """Assemble the members of a context; with none it is the base alone."""
    if not context.members:
        return _base_alone(context)
    assembly = method.assemble(context)
    identity: dict[str, Any] = {
        "base": context.base.digest,
        "method": {"name": method.name, "version": method.version},
        **assembly.state,
    }
    if assembly.merged is None:
        identity["parameters"] = dict(context.parameters)
        identity["members"] = {each.id: each.adapter.tensor_digest for each in context.members}
    return System(assembly, identity)


def _base_alone(context: Context) -> System:
    answerer = context.together(Speaker())
    return System(Assembly(answerer, {}), {"base": context.base.digest})


def _check_base(lock: Lock, base: BaseModel) -> None:
    """Require the base that the lock pins.

    Raises:
        DigestError: if it is another one.
    """
    if lock.base.digest != base.digest:
        raise DigestError(
            f"base {base.name} has digest {base.digest}, the lock pins {lock.base.digest}",
            hint=f"add the base that the lock names: pnode base add DIR --name {lock.base.name}",
        )
