"""The whole pipeline under faults, seed by seed; and proof that it looks where it should."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.cases import SOMETIMES
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.run import simulate

ROOT = Path(__file__).parents[2]
NOTABLE = [
    tuple(part.strip() for part in line.split("|"))
    for line in (Path(__file__).parent / "notable_seeds.txt").read_text().splitlines()
    if not line.startswith("#")
]
FIXED, ENOUGH = 40, 300
"""Seeds always run; and those at most until every interesting case has been met."""
FRESH = 5
CAUGHT_WITHIN = 200


def test_seeds_end_as_a_clean_run_and_meet_every_interesting_case() -> None:
    missing = set(SOMETIMES)
    for seed in range(ENOUGH):
        if seed >= FIXED and not missing:
            break
        missing -= simulate(seed).seen.keys()
    assert not missing


@pytest.mark.parametrize("line", NOTABLE, ids=[line[0] for line in NOTABLE])
def test_a_seed_that_once_failed(line: tuple[str, str, str]) -> None:
    seed, held_by, _ = line
    file, _, name = held_by.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text(), "a test holds the case"
    if int(seed) >= FIXED:
        simulate(int(seed))


def test_fresh_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    seeds = [random.SystemRandom().randrange(1 << 32) for _ in range(FRESH)]
    with capsys.disabled():
        print(f"\nsimulated seeds {seeds}")  # noqa: T201
    for seed in seeds:
        simulate(seed)


def test_a_seed_decides_everything_in_every_process() -> None:
    seeds = (3, 12, 58)
    traces = [simulate(seed).trace for seed in seeds]
    assert len(set(traces)) == len(seeds)
    assert [simulate(seed).trace for seed in seeds] == traces
    found = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--traces", *map(str, seeds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(random.SystemRandom().randrange(1, 1 << 32))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == traces


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_planted_fault_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    for seed in range(CAUGHT_WITHIN):
        try:
            simulate(seed)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return
    pytest.fail(f"not found within {CAUGHT_WITHIN} seeds")
