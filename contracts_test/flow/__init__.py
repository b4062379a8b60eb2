"""Traders that trade: what makes a market move when nobody is there.

`traders` decides (pure, seeded), `books` remembers what the chain said, `drive` signs and sends.
"""

from contracts_test.flow.drive import (
    FlowConfig,
    HttpTransport,
    LocalTransport,
    burst,
    run,
    run_against,
)
from contracts_test.flow.traders import Flow

__all__ = ["Flow", "FlowConfig", "HttpTransport", "LocalTransport", "burst", "run", "run_against"]
