"""The exact engine: a forward pass whose bits are the same on every machine, by construction.

No rounding here depends on an order of summation, a library or an instruction set. Every operand
of a matrix product is rounded to integers times a power of two, few enough bits that all products
and sums are integers below 2^53: float64 holds each of them, so whichever way a BLAS, a thread or
a fused multiply-add adds them up, the result is the same number. Everything between the products
is one IEEE 754 operation at a time (add, subtract, multiply, divide, square root), which the
standard rounds in one way. The idea is that of Ozaki et al. 2012 (error-free transformation of
matrix products), the specification is docs/spec/exact-engine.md.

`VERSION` names that specification. A change that changes a bit is a new version.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "1"
