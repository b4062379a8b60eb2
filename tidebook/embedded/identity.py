"""Who Postgres runs as: it refuses root, and a user without a name.

Three identities, in order of preference:
ourselves, if we are an ordinary user; *namespace*: a user namespace in which our id looks like
`nobody`'s, while files stay ours outside (needs nothing but a kernel that allows it); *nobody*:
the real one, when we are root and namespaces are forbidden. Then the cluster belongs to nobody,
who must be able to reach it and the binaries.
"""

import ctypes
import enum
import os
import pwd
import signal
import sys
from collections.abc import Callable

from tidebook.embedded.errors import PlatformUnsupported

__all__ = ["Identity", "choose", "nobody", "preparation"]

NOBODY_INSIDE = 65534
"""The id we have inside the namespace: Linux's overflow id, which has a name everywhere."""

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


class Identity(enum.Enum):
    """Which user a server process is, seen from outside and from inside."""

    OURSELVES = "ourselves"
    NAMESPACE = "namespace"
    NOBODY = "nobody"


def nobody() -> pwd.struct_passwd:
    """The machine's powerless user."""
    return pwd.getpwnam("nobody")


def choose() -> Identity:
    """An identity Postgres accepts, or PlatformUnsupported."""
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return Identity.OURSELVES
    if sys.platform == "linux" and _has_name(NOBODY_INSIDE) and _namespace_works():
        return Identity.NAMESPACE
    if os.geteuid() == 0 and _has_name("nobody"):
        return Identity.NOBODY
    raise PlatformUnsupported(
        f"Postgres cannot run as user {os.geteuid()} here: run as an ordinary user, "
        "or set TIDEBOOK_DATABASE_URL to a running server"
    )


def preparation(identity: Identity, death_signal: signal.Signals) -> Callable[[], None]:
    """What a child does between fork and exec: change identity, ask to die with its keeper."""
    keeper = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)
    target = nobody() if identity is Identity.NOBODY else None

    def prepare() -> None:
        if identity is Identity.NAMESPACE:
            _enter_namespace(libc)
        elif target:
            os.setgroups([])
            os.setgid(target.pw_gid)
            os.setuid(target.pw_uid)
        if sys.platform == "linux":
            # Last, because a change of identity clears it.
            if libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")
            if os.getppid() != keeper:  # it died before we asked
                os._exit(1)

    return prepare


def _has_name(user: int | str) -> bool:
    try:
        _ = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _enter_namespace(libc: ctypes.CDLL) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (
        ("uid_map", f"{NOBODY_INSIDE} {uid} 1"),
        ("setgroups", "deny"),  # without it an unprivileged gid_map is refused
        ("gid_map", f"{NOBODY_INSIDE} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)


def _namespace_works() -> bool:
    """Try it in a child: kernels, containers and security modules forbid it in many ways."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        try:
            _enter_namespace(libc)
            # Some security modules allow the namespace and then every exec or open fails in it.
            os.close(os.open(sys.executable, os.O_RDONLY))
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0
