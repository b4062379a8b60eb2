"""Reading JSON from outside, in a process that may recurse ten thousand deep.

py-evm raises Python's recursion limit for deep calls. A JSON parser of C that trusts the limit then
overruns its stack, and the process is gone: so depth is looked at first.
"""

from itertools import accumulate
from typing import Any

import msgspec

MAX_DEPTH = 500
_decode = msgspec.json.Decoder().decode
_STEP = [0] * 256
for _opening in b"[{":
    _STEP[_opening] = 1
for _closing in b"]}":
    _STEP[_closing] = -1


def parse(body: bytes | str) -> Any:
    """Any JSON value. Raises msgspec.DecodeError, also for what is nested too deep."""
    data = body.encode() if isinstance(body, str) else body
    # Few brackets cannot nest deep; brackets within strings count too, which errs on the safe side.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        depth = max(accumulate(_STEP[byte] for byte in data))
        if depth > MAX_DEPTH:
            raise msgspec.DecodeError(f"nested deeper than {MAX_DEPTH}")
    return _decode(data)
