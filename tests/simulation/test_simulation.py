"""The whole pipeline under faults, seed by seed; and proof that it looks where it should."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS, Plant
from tests.simulation.run import simulate

NOTABLE = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "notable_seeds.txt").read_text().splitlines()
    if not line.startswith("#")
]
FIXED = 100
FRESH = 5
SOMETIMES = (
    "a backfill",
    "a commit of unknown outcome",
    "a reorg deeper than 3",
    "fails at commit",
    "fails at published",
    "logs of a block that is gone",
    "no logs of a block that has some",
    "Redis emptied",
    "Redis failed over",
    "the chain moves between two calls",
    "the head goes backwards",
    "truncated JSON",
    "_write ends: Killed",
    "_relay ends: Killed",
)
CAUGHT_WITHIN = 200


def test_seeds_end_as_a_clean_run_and_meet_every_interesting_case() -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIXED):
        seen.update(simulate(seed).seen)
    assert [case for case in SOMETIMES if not seen[case]] == []


@pytest.mark.parametrize("seed", NOTABLE)
def test_a_seed_that_once_failed(seed: int) -> None:
    simulate(seed)


def test_fresh_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    seeds = [random.SystemRandom().randrange(1 << 32) for _ in range(FRESH)]
    with capsys.disabled():
        print(f"\nsimulated seeds {seeds}")  # noqa: T201
    for seed in seeds:
        simulate(seed)


def test_a_seed_decides_everything() -> None:
    for seed in (3, 12, 58):
        assert simulate(seed).trace == simulate(seed).trace
    assert simulate(3).trace != simulate(4).trace


@pytest.mark.parametrize("plant", MUTANTS)
def test_a_planted_fault_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in range(CAUGHT_WITHIN):
        try:
            simulate(seed)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return
    pytest.fail(f"not found within {CAUGHT_WITHIN} seeds")
