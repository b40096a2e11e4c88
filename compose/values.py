"""The numbers of an adapter, looked at in pieces of one mebibyte, whatever the size of the file.

Two passes over each factor. The digest pass hashes the bytes in order and looks at every number.
The second adds up the Gram matrix along the rank, A A^T or B^T B, [r, r], in panels that hold all
r values of some columns of A or rows of B; norms of the update follow from these two small
matrices, without B A (which has out * in numbers):

    ||B A||_F^2   = sum of (B^T B) * (A A^T), elementwise
    ||B A||_2^2   = largest eigenvalue of (B^T B)(A A^T)
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from compose.admission import DENORMAL, MAX_DENORMAL_SHARE, MAX_VALUE
from compose.errors import UnfitAdapterError
from compose.header import (
    ITEM_SIZES,
    PIECE_BYTES,
    Header,
    TensorInfo,
    decode_values,
    read_exactly,
    read_pieces,
)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Product:
    """Norms of a product B A: Frobenius, largest singular value, and ||B||_F ||A||_F."""

    frobenius: float
    spectral: float
    bound: float


def check_values(file: BinaryIO, header: Header, info: TensorInfo, *, what: str) -> str:
    """Look at every number of a tensor and return the SHA-256 of its bytes, in hexadecimal.

    Raises:
        UnfitAdapterError: naming the tensor, for a number that is not finite or too large, or for
            more than a few denormal ones.
    """
    digest = hashlib.sha256()
    denormal = 0
    for piece in read_pieces(file, header, info, what=what):
        digest.update(piece)
        sizes = np.abs(decode_values(piece, info.dtype))
        largest = float(sizes.max())
        if not math.isfinite(largest):
            raise UnfitAdapterError(
                f"{what}: tensor {info.name} has values that are not finite (NaN or infinity)",
                hint="train again with a smaller learning rate, or in float32",
                check="not-finite",
            )
        if largest > MAX_VALUE:
            raise UnfitAdapterError(
                f"{what}: tensor {info.name} has a value of size {largest:.6g}, "
                f"at most {MAX_VALUE:g} is accepted",
                check="value-size",
            )
        denormal += int(np.count_nonzero((sizes > 0) & (sizes < DENORMAL)))
    if denormal > MAX_DENORMAL_SHARE * info.count:
        raise UnfitAdapterError(
            f"{what}: tensor {info.name} has {denormal} of {info.count} values below 2^-126",
            hint="set them to zero",
            check="denormals",
        )
    return digest.hexdigest()


def gram(file: BinaryIO, header: Header, info: TensorInfo, *, along: int, what: str) -> Array:
    """Return the Gram matrix [r, r] of a factor: A A^T (`along` 1) or B^T B (`along` 0).

    Raises:
        UnfitAdapterError: if the file is no longer the one whose values were checked.
    """
    rank, length = info.shape[1 - along], info.shape[along]
    item = ITEM_SIZES[info.dtype]
    step = max(1, PIECE_BYTES // (rank * item))
    start_of_tensor = header.data_offset + info.begin
    total = np.zeros((rank, rank))
    for start in range(0, length, step):
        count = min(step, length - start)
        if along:
            parts = []
            for row in range(rank):
                file.seek(start_of_tensor + (row * length + start) * item)
                parts.append(read_exactly(file, count * item, what=what))
            panel = decode_values(b"".join(parts), info.dtype).reshape(rank, count)
        else:
            file.seek(start_of_tensor + start * rank * item)
            data = read_exactly(file, count * rank * item, what=what)
            panel = decode_values(data, info.dtype).reshape(count, rank).T
        total += panel @ panel.T
    if not np.isfinite(total).all():
        # `check_values` found finite numbers, so these are others.
        raise UnfitAdapterError(f"{what}: changed while it was read", check="unreadable")
    return total


def product(gram_a: Array, gram_b: Array) -> Product:
    """Return the norms of B A from A A^T and B^T B."""
    square = float(np.sum(gram_b * gram_a))
    values, vectors = np.linalg.eigh(gram_b)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    largest = float(np.linalg.eigvalsh(root.T @ gram_a @ root)[-1])
    bound = float(np.trace(gram_a)) * float(np.trace(gram_b))
    return Product(*(math.sqrt(max(each, 0.0)) for each in (square, largest, bound)))
