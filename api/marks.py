"""A market with an unacknowledged divergence is marked: the two fields that tell it."""

from typing import Annotated, Any

import strawberry


async def open_divergences(root: Annotated[Any, strawberry.Parent], info: strawberry.Info) -> int:
    """How many divergences of the market nobody has acknowledged."""
    info.context.lasts = False  # acknowledging moves no block
    found: int = await info.context.loaders.open_divergences.load(root.listing.address)
    return found


async def diverged(root: Annotated[Any, strawberry.Parent], info: strawberry.Info) -> bool:
    """Whether there is any."""
    return await open_divergences(root, info) > 0
