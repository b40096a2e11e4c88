"""Runs in the environment of the partners: answers questions with the C2SP reader of dnsid.

Reads a JSON list of [question, arguments...] from standard input and writes a list of answers. A
refusal is {"refused": reason}; any other answer is the library's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from dnsid.c2sp_tlog.errors import C2spTlogError
from dnsid.c2sp_tlog.policy import parse_c2sp_policy_file
from dnsid.c2sp_tlog.proof import verify_c2sp_tlog_proof


def proof(entry: str, text: str, policy: str, now: int) -> list[Any]:
    known = parse_c2sp_policy_file(policy)
    verified = verify_c2sp_tlog_proof(bytes.fromhex(entry), text, known, now_ms=now * 1000.0)
    return [verified.index, verified.checkpoint.origin, verified.checkpoint.tree_size]


def policy(text: str) -> list[str]:
    return sorted(parse_c2sp_policy_file(text).origins)


def main() -> None:
    answers: list[Any] = []
    for name, *arguments in json.load(sys.stdin):
        try:
            answers.append({"proof": proof, "policy": policy}[name](*arguments))
        except (C2spTlogError, ValueError) as error:
            answers.append({"refused": str(error)})
    json.dump(answers, sys.stdout)


main()
