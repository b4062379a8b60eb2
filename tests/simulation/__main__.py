"""`make sim SEED=n` replays one run, `make sim RUNS=1000` sweeps from a seed on."""

import argparse
import sys
import time
from collections import Counter

from tests.simulation.run import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--traces", type=int, nargs="+", default=())
    asked = parser.parse_args()
    if asked.traces:
        print(*(simulate(seed).trace for seed in asked.traces))  # noqa: T201
        return 0
    seen: Counter[str] = Counter()
    failed = []
    began = time.monotonic()
    for seed in range(asked.seed, asked.seed + asked.runs):
        try:
            run = simulate(seed)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failed.append(seed)
            print(f"seed {seed} FAILED: {why(error)}", flush=True)  # noqa: T201
            continue
        seen.update(run.seen.keys())
        if asked.runs == 1:
            print(f"seed {seed}: trace {run.trace}")  # noqa: T201
        elif (seed - asked.seed) % 500 == 499:
            print(f"{seed - asked.seed + 1} runs", flush=True)  # noqa: T201
    took_s = time.monotonic() - began
    for case, runs in sorted(seen.items()):
        print(f"{runs:6} runs saw {case}")  # noqa: T201
    print(f"{asked.runs} runs, {len(failed)} failed, {took_s:.0f} s")  # noqa: T201
    return 1 if failed else 0


def why(error: BaseException) -> str:
    """The innermost reason."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error)[:500]}"


if __name__ == "__main__":
    sys.exit(main())
