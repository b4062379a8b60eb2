"""The AsyncAPI document of the stream of restatements, made from what is published.

python -m analytics.asyncapi > analytics/asyncapi.json
"""

import sys
from typing import Any

import msgspec

from analytics.announce import Restatement, restatements_key


def document() -> dict[str, Any]:
    """AsyncAPI 3.0. Entries of a Redis stream, each with one field `m`."""
    _, schemas = msgspec.json.schema_components(
        [Restatement], ref_template="#/components/schemas/{name}"
    )
    message = {
        "name": "restatement",
        "contentType": "application/json",
        "description": "The field `m` of an entry. Its id is `<seq of reorg.end>-<n>`.",
        "payload": {"$ref": "#/components/schemas/Restatement"},
    }
    named = "#/channels/restatements"
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidebook restatements",
            "version": "1.0.0",
            "description": "Whose figures a reorg has changed, in a Redis stream.",
        },
        "channels": {
            "restatements": {
                "address": restatements_key("{chain_id}"),
                "parameters": {"chain_id": {"description": "As eth_chainId says, in decimals."}},
                "messages": {"restatement": {"$ref": "#/components/messages/restatement"}},
            }
        },
        "operations": {
            "restate": {
                "action": "send",
                "channel": {"$ref": named},
                "messages": [{"$ref": f"{named}/messages/restatement"}],
            }
        },
        "components": {"messages": {"restatement": message}, "schemas": schemas},
    }


def text() -> str:
    return msgspec.json.format(msgspec.json.encode(document(), order="sorted"), indent=2).decode()


if __name__ == "__main__":
    sys.stdout.write(text() + "\n")
