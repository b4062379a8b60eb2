"""Ports, and what is said when one cannot be had.

CannotListen
└── PortInUse
"""

import socket


class CannotListen(Exception):
    """An address we were told to serve on cannot be had."""


class PortInUse(CannotListen):
    """Something else listens there; the message names the port, and the flag that changes it."""

    def __init__(self, host: str, port: int, flag: str = "--port") -> None:
        super().__init__(f"port {port} on {host} is in use: choose another with {flag}")


def require_free(host: str, port: int, flag: str) -> None:
    """Raise PortInUse if nothing can listen there now: looked at before anything is started."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(host, port, flag) from error
