"""A part of the matrix in the documentation: no setting moves a bit of class bitwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from tests.bench.exactness_matrix import (
    BEGIN,
    END,
    PAGE,
    REFERENCE,
    SETTINGS,
    compared,
    run,
)


def test_no_setting_moves_a_bit() -> None:
    """Another BLAS; and the instructions of old processors, in a process of its own."""
    reference = run(REFERENCE)
    (openblas,) = (each for each in SETTINGS if each.openblas)
    # On busy cores two threads wait for each other.
    for setting in (openblas, replace(SETTINGS[-1], threads=1)):
        runs = run(setting)
        cells = {name: compared(runs[name], reference[name]) for name in reference}
        assert cells["bitwise"] == ("same bits", "same")
        assert {outcomes for _, outcomes in cells.values()} == {"same"}
    # Where libraries or batches differ, so do the bits of float64: the matrix can tell.
    assert cells["pinned"][0] != "same bits"


def test_the_table_of_the_documentation_has_every_setting() -> None:
    _, _, rest = PAGE.read_text().partition(BEGIN)
    table, _, _ = rest.partition(END)
    assert all(f"| {setting.name} |" in table for setting in SETTINGS)
