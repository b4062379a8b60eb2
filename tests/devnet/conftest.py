"""The fixtures of `contracts_test.pytest_plugin`, also where its entry point is not installed."""

from contracts_test.pytest_plugin import chain, devnet, devnet_chain, exchange

__all__ = ["chain", "devnet", "devnet_chain", "exchange"]
