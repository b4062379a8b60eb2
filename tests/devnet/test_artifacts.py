"""The committed artifacts are what the committed sources compile to, and speak ScaleX v3."""

from __future__ import annotations

import pytest
from eth_hash.auto import keccak

from contracts_test import compile as compiler
from contracts_test.exchange import artifact

TOPICS = {  # protocols/scalex.md, section 1.1
    "OrderPlaced": "3a57cc5aef50be3bc871b597d631d357a0a812bf74ea65dec8dbf477e7077595",
    "OrderMatched": "432c3a35",
    "UpdateOrder": "6132ef72",
    "OrderCancelled": "de2f0188",
    "PoolCreated": "16354016",
    "CurrencyAdded": "e0390a89",
    "TradingRulesUpdated": "dfbb612f",
}


def test_sources_are_those_the_artifacts_name() -> None:
    for name in compiler.CONTRACTS:
        assert artifact(name)["source_sha256"] == compiler.source_hash(), (
            f"{name}: the sources changed; run python -m contracts_test.compile"
        )
        assert artifact(name)["compiler"].startswith(f"solc {compiler.COMPILER_VERSION}")


def test_recompiling_gives_the_same_bytes() -> None:
    try:
        compiled = compiler.compile_all(compiler.find_solc())
    except compiler.CompilerMissing as missing:
        pytest.skip(f"not recompiled: {missing}")
    for name, found in compiled.items():
        assert found == artifact(name), f"{name} compiles to something else"


def test_events_have_the_topics_of_scalex_v3() -> None:
    found = {}
    for contract in ("OrderBook", "PoolManager"):
        for entry in artifact(contract)["abi"]:
            if entry["type"] == "event":
                types = ",".join(_type(i) for i in entry["inputs"])
                found[entry["name"]] = keccak(f"{entry['name']}({types})".encode()).hex()
    for name, topic in TOPICS.items():
        assert found[name].startswith(topic), name


def _type(value: dict[str, object]) -> str:
    if value["type"] != "tuple":
        return str(value["type"])
    components = value["components"]
    assert isinstance(components, list)
    return "(" + ",".join(_type(c) for c in components) + ")"
