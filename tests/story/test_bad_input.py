"""Bad input gets one clear line and exit 2, and nothing stored is touched."""

import asyncio
import gzip
import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from indexer.relay import RedisUnreachable, connect_redis
from tests.story.market import free_port, run

Refused = Callable[..., Awaitable[str]]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Refused:
    """Run a command that must be refused; the one line it says."""
    monkeypatch.setenv("TIDEBOOK_DATABASE_URL", database_url)

    async def ask(*arguments: str) -> str:
        code, out, err = await run(*arguments)
        assert code == 2, (code, err)
        assert out == b""
        assert err.count("\n") == 1, err
        assert err.startswith("tidebook: ")
        return err

    return ask


@pytest.fixture
def recording(tmp_path: Path, recordings: Path) -> Path:
    """A recording of one's own to damage."""
    copy = tmp_path / "chain.jsonl.gz"
    copy.write_bytes((recordings / "gtx_chaos.jsonl.gz").read_bytes())
    return copy


def rewritten(file: Path, edit: Callable[[list[str]], list[str]]) -> str:
    with gzip.open(file, "rt") as lines:
        text = lines.read().splitlines(keepends=True)
    with gzip.open(file, "wt") as out:
        out.writelines(edit(text))
    return str(file)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20_000])


def swap_parent(lines: list[str]) -> list[str]:
    block = json.loads(lines[300])
    block["parentHash"] = "0x" + "00" * 32
    lines[300] = json.dumps(block) + "\n"
    return lines


def first_log(field: str, value: Any) -> Callable[[list[str]], list[str]]:
    """An edit: the first log there is says something else."""

    def edit(lines: list[str]) -> list[str]:
        at = next(n for n, line in enumerate(lines[1:], start=1) if '"logs":[{' in line)
        block = json.loads(lines[at])
        block["logs"][0][field] = value
        return [*lines[:at], json.dumps(block) + "\n", *lines[at + 1 :]]

    return edit


async def test_a_recording_that_is_cut_off_keeps_what_came_before(
    refused: Refused, recording: Path, database_url: str
) -> None:
    cut_off(recording)
    said = await refused("replay", str(recording))
    assert "not a whole gzip file" in said
    assert str(recording) in said
    kept = json.loads((await run("export"))[1])
    assert 500 < kept["block"]["number"] < 573
    assert any(market["trades"] for market in kept["markets"])


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda lines: [], "expected a header line, found an empty file"),
        (lambda lines: lines[1:], "line 1 is no header"),
        (lambda lines: [lines[0], "{}\n"], "line 2 is no block"),
        (lambda lines: [*lines[:9], lines[9][:50]], "line 10 is cut off"),
        (lambda lines: [*lines[:50], *lines[51:]], "line 51: block 50 has parent"),
        (swap_parent, "line 301: block 299 has parent 0x0000"),
        (
            lambda lines: [
                lines[0].replace('"fee_receiver": "0x', '"fee_receiver": "0'),
                *lines[1:],
            ],
            "fee_receiver: expected an address",
        ),
        (lambda lines: [lines[0].replace('"gtx"', '"uniswap"'), *lines[1:]], "'uniswap'"),
        (lambda lines: [lines[0].replace("31337", "0"), *lines[1:]], "$.chain_id"),
        (
            lambda lines: [lines[0].replace('"decimals": 18', '"decimals": 78'), *lines[1:]],
            "decimals",
        ),
        (first_log("transactionHash", "0x12"), "expected transaction_hash like"),
        (first_log("logIndex", "first"), "expected log_index like"),
        (first_log("address", "nobody"), "expected address like"),
        (first_log("blockNumber", "0xffff"), "says block number 0xffff"),
        (
            lambda lines: [lines[0], lines[1].replace('"timestamp":', '"timestamp":9876543210')],
            "line 2 is no block",
        ),
    ],
)
async def test_a_damaged_recording_is_named_with_its_line(
    refused: Refused, recording: Path, edit: Callable[[list[str]], list[str]], expected: str
) -> None:
    assert expected in await refused("replay", rewritten(recording, edit))


async def test_checksummed_addresses_are_the_same_addresses(
    recording: Path, database_url: str, other_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shout(lines: list[str]) -> list[str]:
        return [
            lines[0],
            *(
                re.sub(
                    r'"(address|transactionHash)":"0x(\w+)"',
                    lambda found: f'"{found[1]}":"0x{found[2].upper()}"',
                    line,
                )
                for line in lines[1:]
            ),
        ]

    exports = []
    for url in (database_url, other_database_url):
        monkeypatch.setenv("TIDEBOOK_DATABASE_URL", url)
        code, _, err = await run("replay", str(recording))
        assert code == 0, err
        exports.append((await run("export"))[1])
        rewritten(recording, shout)
    assert exports[0] == exports[1]


async def test_a_recording_that_ends_below_the_databases_head(
    refused: Refused, recording: Path
) -> None:
    assert (await run("replay", str(recording)))[0] == 0
    assert (await run("replay", str(recording)))[0] == 0, "twice adds nothing"
    shorter = rewritten(recording, lambda lines: lines[:300])
    said = await refused("replay", shorter)
    assert "ends at block 298 (0x" in said
    assert "573: nothing to add" in said


async def test_a_malformed_log_stops_at_its_block_and_keeps_the_rest(
    recording: Path, recordings: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEBOOK_DATABASE_URL", database_url)
    number, log_index = 0, ""

    def cut_a_word(lines: list[str]) -> list[str]:
        nonlocal number, log_index
        for at in range(300, len(lines)):
            block = json.loads(lines[at])
            for log in block["logs"]:
                if log["topics"][0] == MATCHED:
                    log["data"] = log["data"][:-64]
                    number, log_index = block["number"], log["logIndex"]
                    return [*lines[:at], json.dumps(block) + "\n", *lines[at + 1 :]]
        raise AssertionError("a recording without matches")

    code, _, err = await run("replay", rewritten(recording, cut_a_word))
    assert code == 1
    assert f"block {number} (" in err
    assert f"log {log_index}" in err
    assert "expected OrderMatched with 4 topics and 128 bytes of data" in err
    assert "found 4 topics and 96 bytes" in err
    assert err.count("\n") == 1
    sound = recordings / "gtx_chaos.jsonl.gz"
    assert (await run("replay", str(sound)))[0] == 0, "nothing half-written stands in the way"
    assert json.loads((await run("export"))[1])["block"]["number"] == 573


async def test_a_log_that_no_abi_knows_is_counted_and_shown(
    recording: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEBOOK_DATABASE_URL", database_url)

    def rename_an_event(lines: list[str]) -> list[str]:
        for at in range(1, len(lines)):
            if OPERATOR_SET in lines[at]:
                lines[at] = lines[at].replace(OPERATOR_SET, "0x" + "5a" * 32)
                return lines
        raise AssertionError("a recording without operators")

    assert (await run("replay", rewritten(recording, rename_an_event)))[0] == 0
    status = json.loads((await run("status", "--json"))[1])
    assert status["unknown_logs"] >= 1
    assert b"unknown logs" in (await run("status"))[1]


MATCHED = "0x432c3a35a43fc665c09f0291c507707d040b5ad016703de7b2462a71c767b39a"
OPERATOR_SET = "0x1a594081ae893ab78e67d9b9e843547318164322d32c65369d78a96172d9dc8f"


async def test_a_missing_recording(refused: Refused) -> None:
    assert "/nowhere.jsonl.gz: No such file" in await refused("replay", "/nowhere.jsonl.gz")


async def test_another_chain_than_the_databases(
    refused: Refused, recording: Path, database_url: str
) -> None:
    code, _, err = await run("replay", str(recording))
    assert code == 0, err
    before = (await run("export"))[1]
    other = rewritten(recording, lambda lines: [lines[0].replace("31337", "1"), *lines[1:]])
    assert "chain_id: the database holds chain 31337" in await refused("replay", other)
    assert (await run("export"))[1] == before


async def test_a_database_newer_than_the_code(
    refused: Refused, recording: Path, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("update tidebook.alembic_version set version_num = '9999'")
    await connection.close()
    assert "revision 9999" in await refused("replay", str(recording))
    assert "revision 9999" in await refused("migrate")


async def test_nothing_indexed_yet(refused: Refused) -> None:
    assert "holds no chain yet" in await refused("export")
    assert "holds no chain yet" in await refused("status")


async def test_a_database_that_is_not_there(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEBOOK_DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/none")
    assert "TIDEBOOK_DATABASE_URL: no connection" in await refused("export")


async def test_an_empty_url_means_the_embedded_server(refused: Refused) -> None:
    said = await refused("migrate", "--database-url", "", "--data-dir", "/dev/null/none")
    assert "/dev/null/none" in said


@pytest.mark.parametrize("command", [("status",), ("verify",), ("analytics", "--rebuild")])
async def test_nothing_is_begun_where_there_is_nothing_to_read(
    refused: Refused, tmp_path: Path, command: tuple[str, ...]
) -> None:
    typo = tmp_path / "tidbook"
    said = await refused(*command, "--database-url", "", "--data-dir", str(typo))
    assert f"--data-dir (TIDEBOOK_DATA_DIR): {typo} holds no database" in said
    assert not typo.exists()


async def test_a_password_that_is_not_encoded_is_not_shown(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEBOOK_DATABASE_URL", "postgresql://us:hun/ter2@127.0.0.1/none")
    said = await refused("export")
    assert "expected postgresql://user:password@" in said
    assert "hun" not in said


async def test_a_redis_url_that_says_what_redis_does_not_know() -> None:
    with pytest.raises(RedisUnreachable, match="ssl_cert_reqs"):
        await connect_redis(f"redis://127.0.0.1:{free_port()}?ssl_cert_reqs=none")


async def test_a_block_that_no_column_holds(refused: Refused) -> None:
    assert "--to" in await refused("verify", "--to", str(2**63))


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_closed_streams_are_no_reason_to_abort(streams: str) -> None:
    url = f"postgresql://127.0.0.1:{free_port()}/none"
    assert (await through(streams, "export", "--database-url", url))[0] == 2


async def test_output_into_a_full_disk_is_one_line() -> None:
    code, err = await through(">/dev/full", "devnet", "--help")
    assert (code, err) == (1, "tidebook: output: No space left on device\n")


async def through(redirection: str, *arguments: str) -> tuple[int | None, str]:
    """Run a command by a shell that redirects its streams: exit code, stderr."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$0" -m tidebook "$@" {redirection}', sys.executable, *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    return process.returncode, err.decode()


async def test_a_wrong_rpc_url(refused: Refused, tmp_path: Path) -> None:
    deployment = tmp_path / "deployment.json"
    deployment.write_text(json.dumps(DEPLOYMENT))
    named = ("--deployment", str(deployment))
    assert "--rpc (TIDEBOOK_RPC_URLS) is missing" in await refused("index", *named)
    assert "expected http" in await refused("index", *named, "--rpc", "localhost:8545")
    url = f"ws://127.0.0.1:{free_port()}"
    assert f"no usable answer from {url}" in await refused("index", *named, "--rpc", url)
    assert "--deployment (TIDEBOOK_DEPLOYMENT): /none: No such file" in await refused(
        "index", "--rpc", url, "--deployment", "/none"
    )


DEPLOYMENT: dict[str, Any] = {
    "protocol": "gtx",
    "chain_id": 5,
    "contracts": {"pool_manager": "0x" + "01" * 20, "balance_manager": "0x" + "02" * 20},
    "fee_receiver": "0x" + "03" * 20,
}


@pytest.fixture
async def node() -> AsyncIterator[str]:
    """A node of chain 5 with blocks 0 to 9, whose answers to eth_getLogs are none; its URL."""

    def answer(call: dict[str, Any]) -> dict[str, Any]:
        result: Any = "no logs"
        if call["method"] == "eth_chainId":
            result = "0x5"
        if call["method"] == "eth_getBlockByNumber":
            number = 9 if call["params"][0] == "latest" else int(call["params"][0], 16)
            result = {
                "number": hex(number),
                "hash": f"0x{number + 1:064x}",
                "parentHash": f"0x{number:064x}",
                "timestamp": "0x1",
            }
        return {"jsonrpc": "2.0", "id": call["id"], "result": result}

    async def handle(request: web.Request) -> web.Response:
        asked = await request.json()
        one = isinstance(asked, dict)
        return web.json_response(answer(asked) if one else [answer(call) for call in asked])

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
def deployment(tmp_path: Path) -> str:
    """A deployment file for chain 5."""
    path = tmp_path / "deployment.json"
    path.write_text(json.dumps(DEPLOYMENT))
    return str(path)


async def test_a_node_of_another_chain(refused: Refused, node: str, tmp_path: Path) -> None:
    deployment = tmp_path / "deployment.json"
    deployment.write_text(json.dumps(DEPLOYMENT | {"chain_id": 6}))
    said = await refused("index", "--rpc", node, "--deployment", str(deployment))
    assert "follows chain 5, the deployment says chain_id 6" in said


async def test_recording_what_cannot_be_recorded(
    refused: Refused, node: str, deployment: str, tmp_path: Path
) -> None:
    named = ("--rpc", node, "--deployment", deployment)
    out = tmp_path / "out"
    out.mkdir()
    file = out / "chain.gz"
    said = await refused("record", str(file), "--from", "3", "--to", "10", *named)
    assert "--to 10: the node's head is block 9" in said
    code, _, err = await run("record", str(file), "--from", "0", "--to", "9", *named)
    assert code == 1
    assert err.startswith("tidebook: eth_getLogs: expected")
    assert not list(out.iterdir()), "nothing is left of a recording that failed"


async def test_a_recording_that_cannot_be_written(refused: Refused, tmp_path: Path) -> None:
    nobody = ("--from", "0", "--to", "9", "--rpc", f"http://127.0.0.1:{free_port()}")
    said = await refused("record", "/nowhere/chain.gz", *nobody)
    assert said == "tidebook: /nowhere/chain.gz: No such file or directory\n"
    said = await refused("record", str(tmp_path), *nobody)
    assert f"{tmp_path}: Is a directory" in said


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        yield port


@pytest.mark.parametrize("flag", ["--api-port", "--ws-port", "--analytics-port", "--devnet-port"])
async def test_a_port_in_use_is_named(
    refused: Refused, taken: int, flag: str, tmp_path: Path
) -> None:
    said = await refused("up", "--data-dir", str(tmp_path / "home"), flag, str(taken))
    assert f"port {taken} on 127.0.0.1 is in use" in said
    assert flag in said
    assert not (tmp_path / "home").exists()


async def test_two_services_on_one_port_are_named(refused: Refused, tmp_path: Path) -> None:
    port = str(free_port())
    flags = ("--api-port", port, "--ws-port", port)
    said = await refused("up", "--data-dir", str(tmp_path / "home"), *flags)
    assert f"--api-port and --ws-port are both {port}" in said
    assert not (tmp_path / "home").exists()


async def test_no_words_at_all() -> None:
    code, _, err = await run()
    assert code == 2
    assert err.startswith("Usage: tidebook [OPTIONS] COMMAND")
    assert "\n  replay " in err, "a list, not a line"


async def test_words_that_the_command_does_not_know(refused: Refused) -> None:
    assert "No such command 'dance'" in await refused("dance")
    assert "--port" in await refused("api", "--port", "99999")
    assert "--from" in await refused("record", "x", "--to", "3")
