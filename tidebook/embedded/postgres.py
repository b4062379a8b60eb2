"""Postgres as we use it: one cluster, one small machine, a unix socket and no password."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tidebook.embedded import binaries, sockets
from tidebook.embedded.child import command_of, failure, log_size, spawn
from tidebook.embedded.errors import DataDirUnusable, PlatformUnsupported, StartFailed
from tidebook.embedded.identity import Identity, choose, nobody
from tidebook.embedded.place import Place

__all__ = ["Postgres"]

USER = "tidebook"
DATABASE = "postgres"
"""The database initdb makes; our tables are in a schema of our own."""

PORT = 5432
"""Only part of the socket's name. In the URL, so that a PGPORT around us has no say."""

CREATE_LIMIT_S = 120.0
"""How long initdb may take: half a second here, but disks differ."""

SETTINGS = """\
# Written by tidebook at every start. Your own settings go into postgres.conf, one folder up.
listen_addresses = ''
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = 64MB
dynamic_shared_memory_type = {shared_memory}
maintenance_work_mem = 64MB
random_page_cost = 1.1
jit = off
# One writer and no replicas: the least of WAL, few large checkpoints. fsync and
# synchronous_commit stay on: a committed cursor must survive the machine.
wal_level = minimal
max_wal_senders = 0
max_wal_size = 1GB
min_wal_size = 80MB
checkpoint_timeout = 10min
log_min_messages = warning
log_line_prefix = '%m [%p] '
log_timezone = UTC
timezone = UTC
lc_messages = C
"""

TUNABLES = "glibc.malloc.trim_threshold=4194304:glibc.malloc.mmap_threshold=4194304"
"""A backend keeps up to 4 MB that it freed. The relay reads a block's messages as one text of
hundreds of kilobytes: given back each time, its pages cost half of the read. Only glibc looks."""

OVERRIDES = "postgres.conf"
"""Beside the log, if the operator wrote one; later lines win."""


class Postgres:
    """The server in `place`; `lock` is the server.lock its processes hold."""

    steps: tuple[tuple[signal.Signals, float], ...] = (
        (signal.SIGINT, 60.0),  # fast: abort, checkpoint, end
        (signal.SIGQUIT, 5.0),  # immediate: recovery at the next start
    )

    def __init__(self, place: Place, lock: int) -> None:
        self._place = place
        self._lock = lock
        self._identity = choose()
        self._owner = os.geteuid()
        self._bin = binaries.postgres()
        self._log_start = log_size(place)
        if self._identity is Identity.NOBODY:
            self._owner = nobody().pw_uid
            place.directory.chmod(0o711)
            binaries.must_be_reachable(place.data)
            self._bin = binaries.for_everyone(self._bin, place.directory / "binaries")
        self._sockets = sockets.make_socket_directory(place.directory, self._owner)

    @property
    def url(self) -> str:
        """For asyncpg, libpq and SQLAlchemy alike."""
        return f"postgresql://{USER}@/{DATABASE}?host={self._sockets}&port={PORT}"

    def start(self, report: Callable[[str], None]) -> subprocess.Popen[bytes]:
        """Create the cluster if there is none, then run the server; does not wait for it."""
        place = self._place
        if not (place.data / "PG_VERSION").exists():
            report(f"Creating the Postgres database in {place.data}")
            self._create()
        self._own(place.data)
        self._forget_dead_postmaster()
        self._configure()
        return self._spawn(["postgres", "-D", "data"], signal.SIGINT)

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it accepts connections: Postgres says so in the last line of its pid file."""
        try:
            lines = (self._place.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready"

    def failure(self, fallback: str) -> Exception:
        """Why it did not start."""
        return failure(self._place, self._log_start, fallback)

    def clean(self) -> None:
        """After the end: leave nothing in a temporary directory."""
        if self._sockets.parent != self._place.directory:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _create(self) -> None:
        """initdb beside the final place, then rename: a killed one leaves no half cluster."""
        place = self._place
        if place.data.exists() and any(place.data.iterdir()):
            raise DataDirUnusable(
                f"{place.data} has files but no PG_VERSION, so it is no Postgres database: "
                "move it away"
            )
        draft = place.directory / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        os.chown(draft, self._owner, -1)
        initdb = f"initdb -D data.new -U {USER} --encoding=UTF8 --locale=C --data-checksums"
        process = self._spawn(
            [*initdb.split(), "--auth=trust", "--no-instructions"], signal.SIGKILL
        )
        try:
            if process.wait(CREATE_LIMIT_S):
                raise self.failure(f"initdb ended with {process.returncode}")
        except subprocess.TimeoutExpired:
            raise self.failure(f"initdb took more than {CREATE_LIMIT_S:.0f} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        with contextlib.suppress(FileNotFoundError):
            place.data.rmdir()
        draft.rename(place.data)
        directory = os.open(place.directory, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def _spawn(self, command: list[str], death: signal.Signals) -> subprocess.Popen[bytes]:
        program = self._bin / command[0]
        try:
            return spawn(
                self._place,
                [program, *command[1:]],
                lock=self._lock,
                identity=self._identity,
                death_signal=death,
                tunables=TUNABLES,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise PlatformUnsupported(
                f"{program} cannot run on this machine ({error}): "
                "set TIDEBOOK_DATABASE_URL to a running server"
            ) from error

    def _own(self, data: Path) -> None:
        """Give the cluster to the identity of this start, if root ran it as another before."""
        owner = data.lstat().st_uid
        if owner == self._owner:
            return
        if os.geteuid() != 0 or owner not in (0, nobody().pw_uid):
            raise DataDirUnusable(
                f"{data} belongs to user {owner}: run as that user or choose another --data-dir"
            )
        for folder, _, files in os.walk(data):
            for name in (".", *files):
                os.chown(os.path.join(folder, name), self._owner, -1, follow_symlinks=False)

    def _forget_dead_postmaster(self) -> None:
        """Remove the pid file a killed server left.

        We hold server.lock, so none of ours lives; but the pid may live again as another program
        (a container's pids repeat), and Postgres would take that one for itself.
        """
        path = self._place.data / "postmaster.pid"
        try:
            pid = int(path.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        if command_of(pid) == "postgres" and _works_in(pid, self._place.data):
            raise StartFailed(
                f"another Postgres (process {pid}) already runs in {self._place.data}: stop it"
            )
        path.unlink()

    def _configure(self) -> None:
        """Write the settings and who may connect: anybody who can reach the private socket."""
        who = f"local all {USER} trust\n"
        names = ""
        if self._identity is Identity.NOBODY:
            # The directory is nobody's, who may have other processes: the kernel says who asks.
            who = f"local all {USER} peer map=keeper\n"
            names = f"keeper {pwd.getpwuid(os.geteuid()).pw_name} {USER}\n"
        settings = SETTINGS.format(
            sockets=self._sockets,
            port=PORT,
            # /dev/shm is absent or tiny in some containers and absent on macOS.
            shared_memory="posix" if os.access("/dev/shm", os.W_OK) else "mmap",
        )
        if (self._place.directory / OVERRIDES).exists():
            settings += f"include = '../{OVERRIDES}'\n"
        for name, text in (
            ("postgresql.conf", settings),
            ("pg_hba.conf", who),
            ("pg_ident.conf", names),
        ):
            path = self._place.data / name
            path.write_text(text)
            os.chown(path, self._owner, -1)


def _works_in(pid: int, directory: Path) -> bool:
    """Whether `pid`'s working directory is `directory`; where nobody can tell, assume so."""
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", directory)
    except OSError:
        return not Path("/proc/self/cwd").exists()
