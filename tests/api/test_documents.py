"""Which documents are run, how they are named, and what an answer says of its block."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from api.app import Config
from api.trusted import name_of
from tests.api.served import Ask, serving
from tests.api.test_subscriptions import talking
from tests.indexed import Indexed
from tidebook.settings import BadSetting, read_documents

LISTED, OTHER = "{ _meta { seq } }", "{ markets { symbol } }"


async def post(http: aiohttp.ClientSession, url: str, **body: Any) -> Any:
    async with http.post(f"{url}/graphql", json=body) as response:
        return await response.json()


def named(text: str) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": name_of(text)}}


async def test_with_a_list_only_its_documents_are_run(
    http: aiohttp.ClientSession, indexed: Indexed
) -> None:
    listed = {name_of(LISTED): LISTED}
    async with serving(Config(indexed.database_url, indexed.chain_id, documents=listed)) as url:
        assert "errors" not in await post(http, url, query=LISTED)
        assert "errors" not in await post(http, url, extensions=named(LISTED))
        refused: list[dict[str, Any]] = [
            {"query": OTHER},
            {"extensions": named(OTHER)},
            {"query": LISTED + " "},
            {"query": "{ __schema { types { name } } }"},
            {"query": LISTED, "extensions": named(OTHER)},
            {"extensions": {"persistedQuery": {"sha256Hash": 5}}},
            {"extensions": {"persistedQuery": []}},
        ]
        for body in refused:
            (error,) = (await post(http, url, **body))["errors"]
            assert error["extensions"]["code"] == "BAD_INPUT", body
        async with talking(url) as client:
            assert (await client.error(await client.ask(OTHER)))["field"] == "query"
            assert (await client.hear(await client.ask(LISTED)))["type"] == "next"


async def test_without_a_list_a_document_is_known_by_its_hash_once_it_was_sent(
    base_url: str, http: aiohttp.ClientSession
) -> None:
    text = "{ _meta { seq epoch } }"
    (error,) = (await post(http, base_url, extensions=named(text)))["errors"]
    assert error["message"] == "PersistedQueryNotFound"
    assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    first = await post(http, base_url, query=text, extensions=named(text))
    assert first == await post(http, base_url, extensions=named(text))


async def test_the_schema_is_told_unless_switched_off(
    http: aiohttp.ClientSession, ask: Ask, indexed: Indexed
) -> None:
    question = "{ __schema { queryType { name } } }"
    assert (await ask(question))["__schema"]
    closed = Config(indexed.database_url, indexed.chain_id, introspection=False)
    async with serving(closed) as url:
        (error, *_) = (await post(http, url, query=question))["errors"]
        assert error["extensions"]["code"] == "BAD_INPUT"
        assert "errors" not in await post(http, url, query=LISTED)
        async with http.get(f"{url}/graphql", headers={"Accept": "text/html"}) as response:
            assert response.status == 404


async def test_an_answer_says_its_block_and_is_not_sent_twice(
    base_url: str, http: aiohttp.ClientSession
) -> None:
    query = "{ _meta { block { number hash } } }"
    async with http.post(f"{base_url}/graphql", json={"query": query}) as response:
        block = (await response.json())["data"]["_meta"]["block"]
        assert response.headers["X-Tidebook-Block"] == str(block["number"])
        assert response.headers["X-Tidebook-Block-Hash"] == block["hash"]
        assert block["hash"][2:18] in response.headers["ETag"]
    url = f"{base_url}/graphql"
    async with http.get(url, params={"query": query}) as response:
        tag = response.headers["ETag"]
    headers = {"If-None-Match": tag}
    async with http.get(url, params={"query": query}, headers=headers) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with http.get(url, params={"query": LISTED}, headers=headers) as response:
        assert response.status == 200


async def test_what_was_answered_before_is_told_only_to_who_asks_alike(
    base_url: str, http: aiohttp.ClientSession
) -> None:
    url, query = f"{base_url}/graphql", {"query": "{ markets { symbol tickSize } }"}
    async with http.post(url, json=query) as response:
        assert response.status == 200
        sent = json.dumps(query)
    async with http.post(url, data=sent, headers={"content-type": "text/plain"}) as response:
        assert response.status == 400


@pytest.mark.parametrize(
    "message",
    [
        "[]",
        "5",
        "{}",
        '{"type": 5}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "id": {}}',
        '{"type": "subscribe", "id": "1", "payload": 5}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
        '{"type": "subscribe", "id": "1", "payload": {}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{a}", "variables": []}}',
        '{"type": "complete"}',
        '{"type": "complete", "id": "nothing"}',
        "[" * 30_000,
    ],
)
async def test_any_message_is_an_error_or_a_close_but_no_fault(base_url: str, message: str) -> None:
    address = base_url.replace("http", "ws", 1) + "/graphql"
    async with connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        for text in ('{"type": "connection_init"}', message, '{"type": "ping"}'):
            await socket.send(text)
        heard: dict[str, Any] = {}
        try:
            while heard.get("type") != "pong":
                heard = json.loads(await socket.recv())
                if heard["type"] == "error":
                    assert heard["payload"][0]["extensions"]["code"] == "BAD_INPUT"
        except ConnectionClosed:
            pass
    assert socket.close_code in (1000, 4400)


def test_a_list_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "documents.json"
    for text in ("[", "[]", '{"a": 1}', json.dumps({"0" * 64: LISTED})):
        file.write_text(text)
        with pytest.raises(BadSetting, match="TIDEBOOK_DOCUMENTS"):
            read_documents(file)
    with pytest.raises(BadSetting, match="TIDEBOOK_DOCUMENTS"):
        read_documents(tmp_path / "none.json")
    file.write_text(json.dumps({name_of(LISTED): LISTED}))
    assert read_documents(file) == {name_of(LISTED): LISTED}
