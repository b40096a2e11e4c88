"""Keeping and letting go: the pins of this home, here and at its IPFS daemon."""

from __future__ import annotations
