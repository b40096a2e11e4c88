"""The rotary table on the grid 2^-24, from integers and decimals, so no library's cosine decides.

Frequency i is theta^(-2i / head_dim). Its cosine and sine come from a Taylor series in decimal
arithmetic of 60 digits (the `decimal` module rounds correctly everywhere), are taken to 2^-96 and
multiplied up by angle addition in integers. A position p = 256 a + b then is one float64 angle
addition of the entries of 256 a and of b, each the nearest float64, and the result is rounded to
the grid. The error before that rounding is below 1e-15.
"""

from __future__ import annotations

import hashlib
from decimal import Context, Decimal, localcontext
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

GRID_BITS = 24
_STEP = 256
_FRACTION = 96
_DIGITS = 60
_TWO_PI = Decimal("6.28318530717958647692528676655900576839433879875021164194988918461563281257")


@lru_cache(maxsize=4)
def rotary_table(theta: float, head_dim: int, positions: int) -> tuple[Array, Array]:
    """Return cosines and sines, [positions, head_dim / 2], of position * theta^(-2i / head_dim)."""
    near, far = [], []
    for angle in _frequencies(theta, head_dim):
        steps = _turns(_unit(angle), _STEP + 1)
        near.append(_floats(steps[:-1]))
        far.append(_floats(_turns(steps[-1], -(-positions // _STEP))))
    low, high = np.stack(near, axis=1), np.stack(far, axis=1)[:, None]
    cosine = high.real * low.real - high.imag * low.imag
    sine = high.real * low.imag + high.imag * low.real
    return _on_grid(cosine, positions), _on_grid(sine, positions)


def table_digest(cosine: Array, sine: Array) -> str:
    r"""Return the hex SHA-256 of a table: "pnode-rotary/1\n", "POSITIONS HALF\n", then units.

    The units of 2^-24 are little-endian 32-bit integers, all cosines and then all sines.
    """
    positions, half = cosine.shape
    state = hashlib.sha256(f"pnode-rotary/1\n{positions} {half}\n".encode())
    for table in (cosine, sine):
        state.update((table * 2.0**GRID_BITS).astype("<i4").tobytes())
    return state.hexdigest()


def _frequencies(theta: float, head_dim: int) -> list[Decimal]:
    """Return theta^(-2i / head_dim) modulo 2 pi."""
    with localcontext(Context(prec=_DIGITS)):
        logarithm = Decimal(theta).ln()
        return [(-logarithm * 2 * i / head_dim).exp() % _TWO_PI for i in range(head_dim // 2)]


def _unit(angle: Decimal) -> tuple[int, int]:
    """Return the cosine and sine of an angle below 7, in units of 2^-96."""
    with localcontext(Context(prec=_DIGITS)):
        cosine, sine, term, n = Decimal(0), Decimal(0), Decimal(1), 0
        while abs(term) > Decimal(10) ** -_DIGITS or n < 8:
            if n % 2:
                sine += -term if n % 4 == 3 else term
            else:
                cosine += -term if n % 4 == 2 else term
            n += 1
            term = term * angle / n
        return round(cosine * 2**_FRACTION), round(sine * 2**_FRACTION)


def _turns(unit: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """Return unit^0 ... unit^(count - 1) as cosines and sines in units of 2^-96."""
    result = [(1 << _FRACTION, 0)]
    for _ in range(count - 1):
        cosine, sine = result[-1]
        result.append(
            (
                (cosine * unit[0] - sine * unit[1]) >> _FRACTION,
                (cosine * unit[1] + sine * unit[0]) >> _FRACTION,
            )
        )
    return result


def _floats(turns: list[tuple[int, int]]) -> npt.NDArray[np.complex128]:
    return np.array([complex(c / (1 << _FRACTION), s / (1 << _FRACTION)) for c, s in turns])


def _on_grid(blocks: Array, positions: int) -> Array:
    """Return the first rows of [blocks, steps, half], rounded; the powers of two are exact."""
    rows = blocks.reshape(-1, blocks.shape[-1])[:positions]
    return np.rint(rows * 2.0**GRID_BITS) / 2.0**GRID_BITS
