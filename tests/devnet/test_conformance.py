"""This node and real anvil answer the same session the same way; the README says how closely."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts_test.node import Config
from contracts_test.pytest_plugin import RunningDevnet, running
from contracts_test.rpc.node import METHODS
from tests.devnet.conformance import BODIES, SESSION, Peer, Step, reach, shape

README = Path(__file__).parents[2] / "contracts_test" / "README.md"
BEGIN, END = "<!-- conformance -->", "<!-- /conformance -->"

DIFFERENCES = {
    "eth_getBlockByNumber": "hash and nonce of `pending` are null, as geth has it",
    "eth_getFilterChanges": "anvil's first poll repeats history from `fromBlock`; ours, like "
    "geth's, begins with the filter",
    "anvil_dropTransaction": "also drops transactions that wait for an earlier nonce",
}


def find_anvil() -> str | None:
    """anvil's executable: TIDEBOOK_ANVIL, PATH, or what npm installed in /tmp/npm."""
    for place in (
        os.environ.get("TIDEBOOK_ANVIL"),
        shutil.which("anvil"),
        "/tmp/npm/node_modules/.bin/anvil",
    ):
        if place and Path(place).exists():
            return place
    return None


@pytest.fixture(scope="module")
def anvil() -> Iterator[Peer]:
    with spawn_anvil() as peer:
        yield peer


@contextlib.contextmanager
def spawn_anvil(*arguments: str) -> Iterator[Peer]:
    """A running anvil; skips the test with the reason when there is none."""
    program = find_anvil()
    if program is None:
        pytest.skip("anvil is not installed: npm install @foundry-rs/anvil, or set TIDEBOOK_ANVIL")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--silent", *arguments]
    process = subprocess.Popen(command)
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 10
        while not reach(url):
            assert time.monotonic() < until, "anvil did not start in 10 s"
            time.sleep(0.02)
        yield Peer(url)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def bare() -> Iterator[RunningDevnet]:
    """A devnet with nothing deployed, as anvil starts."""
    yield from running(Config(port=0, deploy=False))


def test_every_call_is_answered_as_anvil_answers_it(bare: RunningDevnet, anvil: Peer) -> None:
    ours = Peer(bare.url)
    verdicts: dict[str, list[str]] = {}
    told = []
    for i, step in enumerate(SESSION):
        mine, theirs = ours.play(step), anvil.play(step)
        verdict = compare(step, mine, theirs)
        verdicts.setdefault(step.method, []).append(verdict)
        if verdict == "differs":
            told.append(f"{i} {step.method}\n  ours  {_show(mine)}\n  anvil {_show(theirs)}")
    table = render(verdicts)
    if os.environ.get("TIDEBOOK_WRITE_TABLE"):
        write_table(table)
    unexplained = [text for text in told if text.split()[1] not in DIFFERENCES]
    assert not unexplained, "\n" + "\n".join(unexplained)
    assert table_in_readme() == table, "TIDEBOOK_WRITE_TABLE=1 writes the table anew"


def compare(step: Step, mine: object, theirs: object) -> str:
    """`equal`, `same shape` or `differs`."""
    if _lower(mine) == _lower(theirs):
        return "equal"
    if not step.exact and shape(mine) == shape(theirs):
        return "same shape"
    return "differs"


def render(verdicts: dict[str, list[str]]) -> str:
    rows = ["| method | calls | compared with anvil 1.7.1 |", "|---|---|---|"]
    for method in sorted(set(METHODS) | set(verdicts)):
        found = verdicts.get(method)
        if found is None:
            rows.append(f"| `{method}` | 0 | {why_not(method, verdicts)} |")
            continue
        worst: str = next(v for v in ("differs", "same shape", "equal") if v in found)
        if method not in METHODS:
            worst = "equal (-32601)"
        elif worst == "differs":
            worst = f"differs: {DIFFERENCES.get(method, '?')}"
        rows.append(f"| `{method}` | {len(found)} | {worst} |")
    return "\n".join(rows)


def why_not(method: str, verdicts: dict[str, list[str]]) -> str:
    """Why a method was not compared."""
    handler = METHODS[method].handler
    for other, entry in METHODS.items():
        if other in verdicts and entry.handler is handler:
            return f"the same as `{other}`"
    return "websocket only" if METHODS[method].duplex else "not compared"


def table_in_readme() -> str:
    text = README.read_text()
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()


def write_table(table: str) -> None:
    text = README.read_text()
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    README.write_text(f"{before}\n{table}\n{after}")


def test_the_readme_lists_every_method() -> None:
    listed = {line.split("`")[1] for line in table_in_readme().splitlines() if "`" in line}
    assert set(METHODS) <= listed


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_all_kinds(bare: RunningDevnet, anvil: Peer, name: str) -> None:
    mine, theirs = Peer(bare.url).post(BODIES[name]), anvil.post(BODIES[name])
    assert shape(mine) == shape(theirs)


def _lower(value: object) -> str:
    return json.dumps(value, sort_keys=True).lower()


def _show(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 700 else text[:700] + "…"
