"""What can go wrong at start: the operator's to mend.

CannotListen
└── PortInUse
"""


class CannotListen(Exception):
    """The address we were told to serve on cannot be had."""


class PortInUse(CannotListen):
    """Somebody else listens there."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port {port} on {host} is in use by another process")
        self.host = host
        self.port = port
