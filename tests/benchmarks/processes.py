"""What a process and those below it spend, from /proc."""

import os
from pathlib import Path


def tree(process: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(one for child in children for one in tree(int(child)))]


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def tree_cpu_s(process: int) -> float:
    """CPU seconds of a process, of those below it, and of those that have ended."""
    ticks = 0
    for one in tree(process):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mb(process: int) -> float:
    """Most memory that a process and those below it have had resident, each at its worst."""
    most = 0
    for one in tree(process):
        status = Path(f"/proc/{one}/status").read_text()
        most += int(status.split("VmHWM:")[1].split()[0])
    return most / 1024
