"""Commands that disturb a devnet that runs: each turns one of its knobs."""

from typing import Any

import click

_url = click.option(
    "--url",
    default="http://127.0.0.1:8545",
    envvar="TIDEBOOK_DEVNET_URL",
    show_default=True,
    help="The devnet to disturb.",
)


@click.command()
@click.option("--depth", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--drop", is_flag=True, help="Leave their txs out of the new branch.")
@_url
def reorg(url: str, depth: int, drop: bool) -> None:
    """Replace the newest blocks, as far as there are so many, by a longer branch."""
    _disturb(url, "reorg", depth=depth, drop=drop)


@click.command()
@click.option("--seconds", type=click.FloatRange(min=0), default=5.0, show_default=True)
@_url
def outage(url: str, seconds: float) -> None:
    """Answer nobody for a while."""
    _disturb(url, "outage", seconds=seconds)


@click.command()
@click.option("--seconds", type=click.FloatRange(min=0), default=1.0, show_default=True)
@_url
def slow(url: str, seconds: float) -> None:
    """Let every answer take so long; 0 ends it."""
    _disturb(url, "slow", seconds=seconds)


@click.command()
@click.option("--off", is_flag=True, help="End it.")
@_url
def stale(url: str, off: bool) -> None:
    """Keep telling the head of now while the chain goes on."""
    _disturb(url, "stale", on=not off)


@click.command("drop-logs")
@click.option("--share", type=click.FloatRange(0, 1), default=0.3, show_default=True)
@_url
def drop_logs(url: str, share: float) -> None:
    """Leave logs out of answers; 0 ends it."""
    _disturb(url, "drop-logs", share=share)


@click.command("wrong-chain")
@click.option("--chain-id", type=int, default=1, show_default=True)
@_url
def wrong_chain(url: str, chain_id: int) -> None:
    """Claim to be another chain."""
    _disturb(url, "wrong-chain", chain_id=chain_id)


@click.command()
@_url
def calm(url: str) -> None:
    """End every disturbance."""
    _disturb(url, "calm")


def _disturb(url: str, knob: str, **values: Any) -> None:
    import aiohttp

    from contracts_test import chaos

    try:
        told = chaos.ask_now(url, knob, **values)
    except (aiohttp.ClientError, OSError) as error:
        raise click.BadParameter(f"no devnet at {url}: {error}", param_hint="--url") from error
    for name, value in told.items():
        lines = ["", *value] if isinstance(value, list) else [value]
        click.echo(f"{name.replace('_', ' ')}: " + "\n  ".join(map(str, lines)))


ALL = (reorg, outage, slow, stale, drop_logs, wrong_chain, calm)
