"""Compiles the Solidity sources with npm's `solc` and writes the artifacts that are committed.

    python -m contracts_test.compile [--solc DIR]     # DIR holds package.json of npm's solc

Solidity, not Vyper: packing an order into two words and a level into one is what makes the book
cheap, and that wants shifts, `unchecked` and immutables in one function.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
SOURCES = ROOT / "solidity"
ARTIFACTS = ROOT / "artifacts"
CONTRACTS = ("Token", "BalanceManager", "PoolManager", "OrderBook")
SETTINGS: dict[str, Any] = {
    "optimizer": {"enabled": True, "runs": 100_000},
    "viaIR": True,
    "evmVersion": "cancun",
    # Without the metadata tail the bytecode depends on sources and settings alone.
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
}
COMPILER_VERSION = "0.8.37"
_DRIVER = (
    "const solc=require(process.argv[1]);"
    "let s='';process.stdin.on('data',d=>s+=d).on('end',()=>"
    "process.stdout.write(JSON.stringify({version:solc.version(),output:solc.compile(s)})))"
)


class CompilerMissing(Exception):
    """npm's `solc` (or node itself) is not installed here; the artifacts stay as committed."""


class CompilationFailed(Exception):
    """The compiler refused the sources; the message is its own."""


def source_hash() -> str:
    """SHA-256 over the names and texts of all sources, in order of name."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.glob("*.sol")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def find_solc() -> Path:
    """The directory of npm's solc: `TIDEBOOK_SOLC`, else `node_modules` in /tmp/npm or here."""
    named = os.environ.get("TIDEBOOK_SOLC")
    places = [Path(named)] if named else []
    places += [Path(root) / "node_modules/solc" for root in ("/tmp/npm", ROOT.parent)]
    for place in places:
        if (place / "package.json").is_file():
            return place
    raise CompilerMissing(f"npm's solc is in none of {', '.join(map(str, places))}")


def compile_all(solc: Path) -> dict[str, dict[str, Any]]:
    """Artifacts by contract name, as they are committed."""
    version = json.loads((solc / "package.json").read_text())["version"]
    if version != COMPILER_VERSION:
        raise CompilerMissing(f"solc {COMPILER_VERSION} is wanted, {solc} has {version}")
    request = {
        "language": "Solidity",
        "sources": {p.name: {"content": p.read_text()} for p in sorted(SOURCES.glob("*.sol"))},
        "settings": SETTINGS,
    }
    try:
        done = subprocess.run(
            ["node", "-e", _DRIVER, str(solc)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise CompilerMissing("node is not installed") from error
    except subprocess.CalledProcessError as error:
        raise CompilationFailed(error.stderr) from error
    answer = json.loads(done.stdout)
    output = json.loads(answer["output"])
    messages = [e["formattedMessage"] for e in output.get("errors", ())]
    if messages:  # warnings are refused as well: nobody reads them later
        raise CompilationFailed("\n".join(messages))
    return {
        name: {
            "contract": name,
            "compiler": f"solc {answer['version']}",
            "settings": {k: v for k, v in SETTINGS.items() if k != "outputSelection"},
            "source_sha256": source_hash(),
            "abi": output["contracts"][f"{name}.sol"][name]["abi"],
            "bytecode": "0x"
            + output["contracts"][f"{name}.sol"][name]["evm"]["bytecode"]["object"],
        }
        for name in CONTRACTS
    }


def main() -> None:
    """Writes `artifacts/*.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--solc", type=Path, help="directory of npm's solc package")
    solc = parser.parse_args().solc or find_solc()
    ARTIFACTS.mkdir(exist_ok=True)
    for name, artifact in compile_all(solc).items():
        (ARTIFACTS / f"{name}.json").write_text(json.dumps(artifact, indent=1) + "\n")


if __name__ == "__main__":
    main()
