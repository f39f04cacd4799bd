"""gRPC's frames and headers."""

import contextlib
import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinyon.api.grpc.framing import frame, percent_encoded, timeout_s, trailers, unframe
from pinyon.errors import InvalidArgument, TooLarge, Unimplemented


@given(st.binary(max_size=200))
def test_what_was_framed_is_unframed(message: bytes) -> None:
    assert unframe(frame(message), b"identity", 200) == message
    for encoding, compress in ((b"gzip", gzip.compress), (b"deflate", zlib.compress)):
        packed = compress(message)
        assert unframe(b"\1" + len(packed).to_bytes(4) + packed, encoding, 200) == message


@given(st.binary(max_size=40), st.sampled_from([b"identity", b"gzip", b"deflate", b"br", b""]))
def test_any_bytes_are_a_message_or_refused(body: bytes, encoding: bytes) -> None:
    with contextlib.suppress(InvalidArgument, TooLarge, Unimplemented):
        assert len(unframe(body, encoding, 20)) <= 20


@pytest.mark.parametrize("cut", [lambda packed: packed[:-1], lambda packed: packed[:9], lambda packed: packed + b"x"])
def test_half_a_compressed_message_is_no_message(cut: Callable[[bytes], bytes]) -> None:
    packed = cut(gzip.compress(b"a message" * 100))
    with pytest.raises(InvalidArgument, match="not whole|cannot be decompressed"):
        unframe(b"\1" + len(packed).to_bytes(4) + packed, b"gzip", 10_000)


def test_a_message_that_grows_is_stopped() -> None:
    packed = gzip.compress(bytes(50_000_000))
    with pytest.raises(TooLarge, match="more than 1000 bytes"):
        unframe(b"\1" + len(packed).to_bytes(4) + packed, b"gzip", 1000)


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, None), (b"20S", 20), (b"1u", 1e-6), (b"250m", 0.25), (b"3H", 10_800), (b"5n", 5e-9)]
)
def test_timeouts_have_a_number_and_a_unit(header: bytes | None, seconds: float | None) -> None:
    assert timeout_s(header) == pytest.approx(seconds) if seconds is not None else timeout_s(header) is None


@pytest.mark.parametrize("header", [b"", b"S", b"20", b"-1S", b"1s", b"123456789S", b"1.5S"])
def test_other_timeouts_are_refused(header: bytes) -> None:
    with pytest.raises(InvalidArgument, match="grpc-timeout"):
        timeout_s(header)


def test_messages_are_encoded_for_a_header() -> None:
    assert percent_encoded("100 % of 'ä'\n") == b"100 %25 of '%C3%A4'%0A"
    assert trailers(3, "no") == [(b"grpc-status", b"3"), (b"grpc-message", b"no")]
