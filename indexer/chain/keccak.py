"""Ethereum's hash, without what a choice of implementations costs at every start."""

from sha3 import keccak_256  # type: ignore[import-untyped]


def keccak(data: bytes) -> bytes:
    """The 32 bytes of Keccak-256, which is not the SHA-3 that became the standard."""
    digest: bytes = keccak_256(data).digest()
    return digest
