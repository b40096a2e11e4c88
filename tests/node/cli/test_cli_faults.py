"""A fault proof at the command line: the exit code is the verdict on the claim."""

from __future__ import annotations

from commandline import Pnode

from tests.node.lies import Accused


def test_replay_of_a_fault_proof_confirms_that_the_claim_is_false(
    pnode: Pnode, accused_home: Accused
) -> None:
    file = str(accused_home.file)
    assert pnode("verify", file).code == 0
    refused = pnode("replay", file, "--sample", "3", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "usage")
    home = str(accused_home.world.place.home)
    settled = pnode("--home", home, "replay", file, "--json")
    assert (settled.code, settled.json["verdict"]) == (3, "confirmed")
    assert settled.json["schema"] == "pnode.replay.fault/1"
    assert settled.json["id"] == accused_home.lie
