"""Records in a request body: NDJSON as the clients send it, a JSON array, or a single object. Pure."""

from typing import Any

import msgspec

from app.errors import InvalidArgument

_decoder = msgspec.json.Decoder()


def decode_records(body: bytes) -> list[Any]:
    """The JSON values of the body, in order.

    Lines end in \\n or \\r\\n, blank ones are skipped, the last needs no end; a body that begins with [ is one array.
    The content type does not matter: clients send whatever they like. Raises InvalidArgument, naming the line.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if body.lstrip().startswith(b"["):
        rows = _decode(body, "The body")
        return rows if isinstance(rows, list) else [rows]
    try:
        # Only \n ends a line: U+2028 and its kind may stand inside a JSON string.
        return [_decode(line, f"Line {n}") for n, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    except InvalidArgument as problem:
        try:  # one object written over several lines
            return [_decode(body, "The body")]
        except InvalidArgument:
            raise problem from None


def _decode(text: bytes, where: str) -> Any:
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{where} is not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidArgument(f"{where} is nested too deeply") from None
