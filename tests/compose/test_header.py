"""The header parser: what it accepts every other parser reads in the same way."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compose.admission import MAX_HEADER_BYTES
from compose.errors import UnfitAdapterError, UnfitBaseError
from compose.header import ITEM_SIZES, decode_tensor, read_header, read_pieces, read_tensor
from ledger.errors import NotFoundError
from tests.compose.hostile import encode, frame, header_of

DIMENSIONS = st.lists(st.integers(1, 5), max_size=4)
NAMES = st.lists(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}(\.[A-Za-z0-9_-]{1,6}){0,2}", fullmatch=True),
    min_size=1,
    max_size=5,
    unique=True,
).filter(lambda names: "__metadata__" not in names)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw a sound file of float tensors of one dtype, so that all are aligned."""
    dtype = draw(st.sampled_from(["F64", "F32", "F16"]))
    tensors: dict[str, tuple[str, list[int], bytes]] = {}
    for name in draw(NAMES):
        shape = draw(DIMENSIONS)
        values = np.arange(int(np.prod(shape)), dtype=f"<f{ITEM_SIZES[dtype]}")
        tensors[name] = (dtype, shape, values.tobytes())
    return encode(tensors, **draw(st.sampled_from([{}, {"format": "pt"}])))


@given(data=files())
@settings(deadline=None)
def test_sound_file_reads_as_the_reference_library_reads_it(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path_factory.mktemp("sound") / "x.safetensors"
    path.write_bytes(data)
    header = read_header(path, what="test")
    reference = library.load(data)
    assert set(header.tensors) == set(reference)
    for name, info in header.tensors.items():
        values = read_tensor(path, header, info)
        assert info.shape == values.shape == reference[name].shape
        np.testing.assert_array_equal(values, reference[name].astype(np.float64))


@given(data=files(), position=st.integers(0, 400), byte=st.integers(0, 255))
@settings(deadline=None)
def test_damaged_header_is_refused_or_read_as_the_library_reads_it(
    data: bytes, position: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No parser differential: one changed byte never gives two readings of one file."""
    library = pytest.importorskip("safetensors.numpy")
    position %= 8 + int.from_bytes(data[:8], "little")
    damaged = data[:position] + bytes([byte]) + data[position + 1 :]
    path = tmp_path_factory.mktemp("damaged") / "x.safetensors"
    path.write_bytes(damaged)
    try:
        header = read_header(path, what="test")
    except UnfitAdapterError as error:
        assert error.message.startswith("test: x.safetensors: ")
    else:
        if {info.dtype for info in header.tensors.values()} <= {"F64", "F32", "F16"}:
            reference = library.load(damaged)
            shapes = {name: info.shape for name, info in header.tensors.items()}
            assert shapes == {name: array.shape for name, array in reference.items()}


@given(data=st.binary(max_size=200))
def test_any_bytes_as_header_are_refused_in_words(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("noise") / "x.safetensors"
    path.write_bytes(frame(data, b"", align=False))
    with pytest.raises(UnfitAdapterError):
        read_header(path, what="test")


def test_only_the_header_is_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte opens at once."""
    size = 2**40 - 4096
    text = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(frame(text, b""))
    with path.open("r+b") as file:
        try:
            file.truncate(len(frame(text, b"")) + size)
        except OSError:
            pytest.skip("the file system has no files of this size")
    header = read_header(path, what="test")
    assert header.tensors["w"].count == size


def test_file_beyond_the_callers_limit_is_refused_unread(tmp_path: Path) -> None:
    path = _write(tmp_path, encode({"w": ("F32", [1], bytes(4))}))
    size = path.stat().st_size
    assert read_header(path, what="test", max_bytes=size).file_size == size
    with pytest.raises(UnfitAdapterError, match=f"at most {size - 1}"):
        read_header(path, what="test", max_bytes=size - 1)


def test_header_limit_is_one_mebibyte(tmp_path: Path) -> None:
    tensors = {"w": ("U8", [1], b"x")}
    room = MAX_HEADER_BYTES - len(json.dumps(header_of(tensors) | {"__metadata__": {"a": ""}}))
    path = _write(tmp_path, encode(tensors, a="x" * room))
    assert read_header(path, what="test").metadata == {"a": "x" * room}
    path = _write(tmp_path, encode(tensors, a="x" * (room + 1)))
    with pytest.raises(UnfitAdapterError, match="are accepted"):
        read_header(path, what="test")


def test_error_class_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(UnfitBaseError, match="too short") as caught:
        read_header(_write(tmp_path, b""), what="base x", error=UnfitBaseError)
    assert caught.value.code == "unfit-base.header-size"


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_header(tmp_path / "x.safetensors", what="test")


def test_misaligned_tensor_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, encode({"a": ("U8", [1], b"x"), "b": ("F32", [1], bytes(4))}))
    with pytest.raises(UnfitAdapterError, match="b is not aligned"):
        read_header(path, what="test")


@pytest.mark.parametrize("name", ["a..b", ".a", "a.", "a/b", "a b", "", "\u00e4", "a" * 257])
def test_odd_tensor_name_is_refused(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path, encode({name: ("U8", [1], b"x")}))
    with pytest.raises(UnfitAdapterError):
        read_header(path, what="test")


def test_every_bfloat16_is_converted_exactly(tmp_path: Path) -> None:
    bits = np.arange(2**16, dtype="<u2")
    finite = bits[(bits & 0x7F80) != 0x7F80]
    path = _write(tmp_path, encode({"w": ("BF16", [len(finite)], finite.tobytes())}))
    header = read_header(path, what="test")
    values = read_tensor(path, header, header.tensors["w"])
    wanted = [_bfloat16(int(each)) for each in finite]
    np.testing.assert_array_equal(values, wanted)


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("F64", struct.pack("<d", float("nan"))),
        ("F32", struct.pack("<f", float("inf"))),
        ("F16", b"\x00\x7c"),
        ("BF16", b"\x80\x7f"),
        ("BF16", b"\xc0\xff"),
    ],
)
def test_value_that_is_not_finite_names_the_tensor(tmp_path: Path, dtype: str, data: bytes) -> None:
    path = _write(tmp_path, encode({"layer.w": (dtype, [1], data)}))
    header = read_header(path, what="test")
    with pytest.raises(UnfitAdapterError, match=r"layer\.w .*not finite"):
        read_tensor(path, header, header.tensors["layer.w"])


def test_integer_tensor_is_not_read_as_numbers(tmp_path: Path) -> None:
    path = _write(tmp_path, encode({"w": ("I8", [1], b"x")}))
    info = read_header(path, what="test").tensors["w"]
    with pytest.raises(UnfitAdapterError, match="dtype I8"):
        decode_tensor(b"x", info)


def test_file_that_grew_after_its_header_was_read_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, encode({"w": ("F32", [1], bytes(4))}))
    header = read_header(path, what="test")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UnfitAdapterError):
        read_tensor(path, header, header.tensors["w"])


def test_file_that_shrank_after_its_header_was_read_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, encode({"w": ("F32", [4], bytes(16))}))
    header = read_header(path, what="test")
    with path.open("r+b") as file:
        file.truncate(header.file_size - 4)
        for read in (
            lambda: read_tensor(path, header, header.tensors["w"]),
            lambda: list(read_pieces(file, header, header.tensors["w"], what="test")),
        ):
            with pytest.raises(UnfitAdapterError) as caught:
                read()
            assert caught.value.code == "unfit-adapter.unreadable"


def _bfloat16(bits: int) -> float:
    """Return the value by the definition of the format: sign, 8 exponent bits, 7 fraction bits."""
    exponent, fraction = (bits >> 7) & 0xFF, bits & 0x7F
    value: float = (128 + fraction) * 2.0 ** (exponent - 134) if exponent else fraction * 2.0**-133
    return -value if bits >> 15 else value


def _write(directory: Path, data: Any) -> Path:
    path = directory / "x.safetensors"
    path.write_bytes(data)
    return path
