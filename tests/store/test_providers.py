"""The providers' report in the database, and in the words of `status`."""

import pytest

from indexer.chain.health import Report
from indexer.store import postgres
from indexer.store.providers import read, write
from tidebook.tasks import _print_table

GOOD = Report("http://a/v2/***", "ok", 97, 12, {"busy": 2}, "HTTP 429")
LIAR = Report("ws://b", "quarantined", 0, None, {"lie": 1}, "logs are missing \0 in block 9")


async def test_a_report_takes_the_place_of_the_one_before(database_url: str) -> None:
    connection = await postgres.connect(database_url)
    try:
        await write(connection, [GOOD, LIAR])
        first, second = await read(connection)
        assert (first["url_masked"], first["state"], first["score"]) == (
            "http://a/v2/***",
            "ok",
            97,
        )
        assert (first["head_number"], first["faults"]) == (12, {"busy": 2})
        assert second["state"] == "quarantined"
        assert second["last_fault"] == "logs are missing  in block 9"
        await write(connection, [Report("ws://b", "ok", 80, 13, {"lie": 1}, None)])
        (left,) = await read(connection)
        assert (left["url_masked"], left["state"], left["last_fault"]) == ("ws://b", "ok", None)
    finally:
        await connection.close()


async def test_status_says_a_line_for_each_provider(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = await postgres.connect(database_url)
    try:
        await write(connection, [GOOD, LIAR])
        _print_table({"head": 12, "providers": await read(connection)})
    finally:
        await connection.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "provider   http://a/v2/***: ok, score 97, head 12, busy 2; HTTP 429"
    assert lines[2].startswith("provider   ws://b: quarantined, score 0, head -, lie 1; logs are")
