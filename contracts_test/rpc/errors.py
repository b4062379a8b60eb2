"""What a caller is told when a request can not be served.

RpcError
├── InvalidRequest     -32600   not a JSON-RPC request
├── MethodNotFound     -32601
├── InvalidParams      -32602
├── ServerError        -32000   the request was fine, the chain's answer is no
├── ResourceNotFound   -32001
├── Rejected           -32003   a transaction that can not enter the pool
└── Reverted               3    the EVM said REVERT; `data` is what it returned
"""

from __future__ import annotations

from typing import Any


class RpcError(Exception):
    """A JSON-RPC error object."""

    code = -32603

    def __init__(self, message: str, data: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def as_json(self) -> dict[str, Any]:
        """The `error` member of a response."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


class InvalidRequest(RpcError):
    code = -32600


class MethodNotFound(RpcError):
    code = -32601


class InvalidParams(RpcError):
    code = -32602


class ServerError(RpcError):
    code = -32000


class ResourceNotFound(RpcError):
    code = -32001


class Rejected(RpcError):
    code = -32003


class Reverted(RpcError):
    code = 3
