"""The OpenAPI document, made from the endpoints themselves.

`python -m analytics.openapi` prints it. A copy is committed as analytics/openapi.json; a
test holds it to the code.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from analytics.arguments import Parameter
from analytics.endpoint import Endpoint

FILE = Path(__file__).with_name("openapi.json")

_AS_OF = {
    "type": "object",
    "required": ["number", "hash", "timestamp", "finality"],
    "properties": {
        "number": {"type": "integer"},
        "hash": {"type": "string"},
        "timestamp": {"type": "integer"},
        "finality": {"type": "string", "enum": ["latest", "safe", "finalized"]},
    },
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "field": {"type": "string"},
            },
        }
    },
}


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidebook analytics",
            "version": "1",
            "description": (
                "Portfolios and markets from stored trades, orders, books and balances. Amounts "
                "are decimal text in whole tokens; what cannot be computed is null, with a reason."
            ),
        },
        "paths": {one.path: {"get": _operation(one)} for one in endpoints},
        "components": {"schemas": {"AsOf": _AS_OF, "Error": _ERROR}},
    }


def _operation(one: Endpoint) -> dict[str, Any]:
    said = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "summary": one.summary,
        "parameters": [_parameter(each) for each in one.parameters],
        "responses": {
            "200": {"description": "The answer, as of one block.", "content": _content(one)},
            "400": {"description": "An argument we cannot use; `field` names it.", "content": said},
            "404": {"description": "An unknown symbol or token.", "content": said},
            "429": {"description": "Asked too often; see `retry-after`.", "content": said},
            "503": {"description": "Nothing is indexed, or no database.", "content": said},
        },
    }


def _content(one: Endpoint) -> dict[str, Any]:
    if one.media_type != "application/json":
        return {one.media_type: {"schema": {"type": "string"}}}
    properties: dict[str, Any] = {"as_of": {"$ref": "#/components/schemas/AsOf"}}
    if one.rows:
        properties[one.rows] = {"type": "array", "items": {"type": "object"}}
    schema = {"type": "object", "required": list(properties), "properties": properties}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if one.rows:
        content["text/csv"] = {"schema": {"type": "string"}}
    return content


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.where,
        "required": one.required,
        "description": one.about,
        "schema": one.schema,
    }


def text(endpoints: Iterable[Endpoint]) -> str:
    """As committed."""
    return json.dumps(document(endpoints), indent=1) + "\n"


if __name__ == "__main__":
    from analytics.app import ENDPOINTS

    sys.stdout.write(text(ENDPOINTS))
