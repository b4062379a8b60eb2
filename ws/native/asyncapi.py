"""The AsyncAPI document of `/v1`, made from the frames themselves.

python -m ws.native.asyncapi > ws/native/asyncapi.json
"""

import sys
from typing import Any

import msgspec

from ws.native.messages import ANSWERS, REQUESTS

VERSION = "1.0.0"


def document() -> dict[str, Any]:
    """AsyncAPI 3.0. `client` sends what we receive, `gateway` is what we send."""
    structs = [*REQUESTS.values(), *ANSWERS.values()]
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    messages = {name: _message(name, one) for name, one in {**REQUESTS, **ANSWERS}.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidebook live feed",
            "version": VERSION,
            "description": "Channels of an on-chain order book: resumable, with checksums, and "
            "retracted when the chain changes its mind.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "v1": {
                "address": "/v1",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            "client": _operation("receive", list(REQUESTS)),
            "gateway": _operation("send", list(ANSWERS)),
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def text() -> str:
    return msgspec.json.format(msgspec.json.encode(document(), order="sorted"), indent=2).decode()


def _operation(action: str, names: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/v1"},
        "messages": [{"$ref": f"#/channels/v1/messages/{name}"} for name in names],
    }


def _message(name: str, struct: type[msgspec.Struct]) -> dict[str, Any]:
    """A frame: the envelope around its data."""
    return {
        "name": name,
        "payload": {
            "type": "object",
            "required": ["type"] if name in REQUESTS else ["id", "type", "timestamp", "data"],
            "properties": {
                "id": {"type": ["integer", "string", "null"]},
                "type": {"const": name},
                "timestamp": {"type": "integer", "description": "Milliseconds."},
                "data": {"$ref": f"#/components/schemas/{struct.__name__}"},
            },
        },
    }


if __name__ == "__main__":
    sys.stdout.write(text() + "\n")
