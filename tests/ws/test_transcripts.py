"""The golden transcripts: made by the session, as the document says, understood by our client."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs

from ws.client import VerifiedBook
from ws.native import asyncapi, transcripts
from ws.native.messages import ANSWERS, REQUESTS

WRITTEN = Path(transcripts.__file__).with_suffix(".jsonl")


def written() -> list[dict[str, Any]]:
    return [json.loads(line) for line in WRITTEN.read_text().splitlines()]


def test_the_transcripts_are_what_the_session_says() -> None:
    """Else: python -m ws.native.transcripts > ws/native/transcripts.jsonl."""
    assert WRITTEN.read_text() == transcripts.text()


def test_every_kind_of_frame_is_in_them() -> None:
    said = {line["frame"]["type"] for line in written()} - {"place"}  # which is refused
    assert said == {*REQUESTS, *ANSWERS}


def test_every_frame_is_as_the_document_says() -> None:
    document = asyncapi.document()
    for line in written():
        frame = line["frame"]
        wanted = document["components"]["messages"].get(frame["type"])
        if wanted is None:
            assert frame["type"] == "place"  # what is refused
            continue
        schema = {**wanted["payload"], "components": document["components"]}
        valid = jsonschema_rs.validator_for(schema).is_valid(frame)
        refused = line["dialogue"] == "what is refused" and line["from"] == "client"
        assert valid or refused, frame


def test_the_reference_client_keeps_its_book_through_them() -> None:
    book = VerifiedBook("WETH-USDC")
    for line in written():
        if line["dialogue"] == "a book through a reorg" and line["from"] == "gateway":
            book.hear(line["frame"])
    assert book.position == {"epoch": "e1", "seq": 45}
    assert book.top("bids") == [
        (1_999_000_000, "5000000000000000000"),
        (1_998_500_000, "2000000000000000000"),
    ]
    assert book.checked == 4
