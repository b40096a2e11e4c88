"""The reference tool of OpenSSF Model Signing computes our roots and accepts our signatures."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.modelsigning import manifest_of, public_pem, root_digest, sign_manifest
from node.artifacts import store_directory
from tests.interop.partners import ask_python, python_with
from tests.node.worlds import ADAPTERS

CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
WEIGHTS = "adapter_model.safetensors"


def manifest(directory: Path) -> dict[str, Any]:
    files = store_directory(directory, None).files
    return manifest_of((file.path, file.sha256) for file in files)


def nested(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def signed(folder: Path, directory: Path, key: ec.EllipticCurvePrivateKey) -> list[str]:
    """Sign a directory; returns the arguments of a verification."""
    folder.mkdir()
    signature, public = folder / "model.sig", folder / "key.pub"
    signature.write_text(json.dumps(sign_manifest("any name", manifest(directory), key)))
    public.write_bytes(public_pem(key))
    return [str(directory), str(signature), str(public)]


def altered(folder: Path, name: str, data: bytes) -> str:
    """Return a copy of the signed directory with one other file."""
    shutil.copytree(ADAPTERS / "ada", folder)
    (folder / name).write_bytes(data)
    return str(folder)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answers to all questions: the tool takes seconds to start."""
    folder = tmp_path_factory.mktemp("oms")
    ada = ADAPTERS / "ada"
    weights = bytearray((ada / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    directories = {
        "an adapter": ada,
        "flat": nested(folder / "flat", "b", "a.b", "a-b", "B", "\u00e9"),
        "deep": nested(folder / "deep", "a/z", "b", "b.c/d/e"),
        "sorted otherwise": nested(folder / "otherwise", "a/x", "a-b"),
    }
    keys = {curve.name: ec.generate_private_key(curve()) for curve in CURVES}
    good = {name: signed(folder / name, ada, key) for name, key in keys.items()}
    _, signature, public = good["secp256r1"]
    other = folder / "other.pub"
    other.write_bytes(public_pem(ec.generate_private_key(ec.SECP256R1())))
    cases = good | {
        "other key": [str(ada), signature, str(other)],
        "more": [altered(folder / "more", "extra", b""), signature, public],
        "changed": [altered(folder / "changed", WEIGHTS, bytes(weights)), signature, public],
        "nested": signed(folder / "nested", directories["sorted otherwise"], keys["secp256r1"]),
    }
    question = {"roots": list(map(str, directories.values())), "verify": list(cases.values())}
    answer = ask_python("model_signing", "ask_modelsigning.py", question)
    ours = {name: root_digest(manifest(each)) for name, each in directories.items()}
    return {
        "ours": ours,
        "theirs": dict(zip(directories, answer["roots"], strict=True)),
        "verdicts": dict(zip(cases, answer["verify"], strict=True)),
        "command": good["secp256r1"],
    }


@pytest.mark.parametrize("name", ["an adapter", "flat", "deep"])
def test_roots_are_the_same_there(told: dict[str, Any], name: str) -> None:
    assert told["theirs"][name] == told["ours"][name]


def test_the_tool_sorts_by_folder_where_the_specification_sorts_by_code_point(
    told: dict[str, Any],
) -> None:
    """Known difference of model-signing 1.1.1; what pnode publishes has no folders."""
    hyphen, slash = (hashlib.sha256(name).digest() for name in (b"a-b", b"a/x"))
    assert told["ours"]["sorted otherwise"] == hashlib.sha256(hyphen + slash).hexdigest()
    assert told["theirs"]["sorted otherwise"] == hashlib.sha256(slash + hyphen).hexdigest()


@pytest.mark.parametrize("name", [*(curve.name for curve in CURVES), "nested"])
def test_the_tool_accepts_our_signature(told: dict[str, Any], name: str) -> None:
    assert told["verdicts"][name] is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [("other key", "Key mismatch"), ("more", "extra"), ("changed", WEIGHTS)],
)
def test_the_tool_notices_every_change(told: dict[str, Any], name: str, reason: str) -> None:
    assert reason in told["verdicts"][name]


def test_the_command_of_the_tool_accepts_it_as_well(told: dict[str, Any]) -> None:
    directory, signature, public = told["command"]
    tool = python_with("model_signing").with_name("model_signing")
    command = [tool, "verify", "key", directory, "--signature", signature, "--public_key", public]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "Verification succeeded"), done.stderr
