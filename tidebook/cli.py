"""The command: one function each; what several take is declared once, in `options`.

Exit codes: 0 done, 1 it failed, 2 it was asked for something impossible (one line says what).
"""

import errno
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from tidebook import disturbances, options
from tidebook.settings import Chain, Flow, Listen, Storage

FULL = {errno.ENOSPC, errno.EDQUOT}
"""How a disk says that it takes no more."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tidebook")
def tidebook() -> None:
    """A reorg-aware order-book backend for EVM chains."""


@tidebook.command()
@options.storage
@options.chain
@options.flow
@click.option("--devnet-port", type=options.port, default=8545, show_default=True)
@click.option("--api-port", type=options.port, default=42069, show_default=True)
@click.option("--ws-port", type=options.port, default=42080, show_default=True)
@click.option("--analytics-port", type=options.port, default=3001, show_default=True)
def up(storage: Storage, chain: Chain, flow: Flow, **ports: int) -> None:
    """Everything at once: a living market on this machine, until Ctrl-C."""
    from tidebook.up import Plan, run

    _run(run(Plan(storage, chain, flow, **ports)))


@tidebook.group(invoke_without_command=True)
@options.flow
@options.listening("DEVNET", 8545)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the chain there, and go on with it at the next start.",
)
@click.pass_context
def devnet(context: click.Context, flow: Flow, listen: Listen, data_dir: Path | None) -> None:
    """A local chain with an exchange on it, and traders that trade.

    The commands below disturb a devnet that runs, to see who survives it.
    """
    if context.invoked_subcommand is None:
        from tidebook import services

        _run(services.devnet(flow, listen, data_dir))


for disturbance in disturbances.ALL:
    devnet.add_command(disturbance)


@tidebook.command()
@options.storage
@options.chain
@click.option(
    "--log-cache",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="TIDEBOOK_LOG_CACHE",
    help="Where finalized logs are kept for the next time; unset: in the data directory.",
)
@click.option(
    "--no-log-cache",
    is_flag=True,
    envvar="TIDEBOOK_NO_LOG_CACHE",
    help="Fetch everything, and keep no logs.",
)
def index(storage: Storage, chain: Chain, log_cache: Path | None, no_log_cache: bool) -> None:
    """The writer: follow a node's chain into Postgres."""
    from tidebook import services

    folder = log_cache or storage.data_dir / "log-cache"
    _run(services.index(storage, chain, None if no_log_cache else folder))


@tidebook.command()
@options.storage
def relay(storage: Storage) -> None:
    """Move the outbox into Redis Streams."""
    from tidebook import services

    _run(services.relay(storage))


@tidebook.command()
@options.storage
@options.listening("API", 42069)
@click.option(
    "--feed-url",
    envvar="TIDEBOOK_FEED_URL",
    default="ws://127.0.0.1:42080/v1",
    show_default=True,
    help="Where browsers reach `tidebook ws`, for the page at /.",
)
@click.option(
    "--analytics-url",
    envvar="TIDEBOOK_ANALYTICS_URL",
    default="http://127.0.0.1:3001",
    show_default=True,
    help="Where browsers reach `tidebook analytics`.",
)
@click.option(
    "--devnet-url",
    envvar="TIDEBOOK_DEVNET_URL",
    help="A devnet's node: the page then sends orders and makes chaos.",
)
@click.option(
    "--documents",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="TIDEBOOK_DOCUMENTS",
    help="A JSON file of the only GraphQL documents to run, by the SHA-256 of their text.",
)
@click.option(
    "--introspection/--no-introspection",
    envvar="TIDEBOOK_INTROSPECTION",
    default=True,
    show_default=True,
    help="Whether GraphQL tells its schema; GraphiQL needs it.",
)
def api(
    storage: Storage,
    listen: Listen,
    feed_url: str,
    analytics_url: str,
    devnet_url: str | None,
    documents: Path | None,
    introspection: bool,
) -> None:
    """Serve GraphQL, REST and the page."""
    from tidebook import services

    asked = services.Asked(documents, introspection)
    _run(services.api(storage, listen, feed_url, analytics_url, devnet_url, asked))


@tidebook.command()
@options.storage
@options.listening("WS", 42080)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    envvar="TIDEBOOK_WS_ORIGINS",
    help="A web origin whose pages may connect, besides our own; repeatable, `*` for all.",
)
def ws(storage: Storage, listen: Listen, origins: tuple[str, ...]) -> None:
    """Serve the live feed."""
    from tidebook import services

    _run(services.ws(storage, listen, origins))


@tidebook.command()
@options.storage
@options.listening("ANALYTICS", 3001)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    envvar="TIDEBOOK_ANALYTICS_ORIGINS",
    default=("*",),
    show_default=True,
    help="A web origin whose pages may read it; repeatable, `*` for all.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    envvar="TIDEBOOK_ANALYTICS_RATE",
    default=50.0,
    show_default=True,
    help="Requests a second of one client address; 0: no limit.",
)
@click.option("--rebuild", is_flag=True, help="Fold its tables anew from what is stored, and end.")
def analytics(
    storage: Storage, listen: Listen, origins: tuple[str, ...], rate: float, rebuild: bool
) -> None:
    """Serve portfolios and markets."""
    from tidebook import services

    if rebuild:
        _run(services.rebuild_analytics(storage))
    else:
        _run(services.analytics(storage, listen, origins, rate or None))


@tidebook.command()
@options.storage
def migrate(storage: Storage) -> None:
    """Bring the database's schema to this version's."""
    from tidebook import tasks

    _run(tasks.migrate(storage))


@tidebook.command()
@options.storage
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(storage: Storage, as_json: bool) -> None:
    """Where the indexer stands."""
    from tidebook import tasks

    _run(tasks.status(storage, as_json))


@tidebook.command()
@options.storage
@click.option("--history", is_flag=True, help="Also how levels and balances came about.")
def export(storage: Storage, history: bool) -> None:
    """The state at the last indexed block, as canonical JSON."""
    from tidebook import tasks

    _run(tasks.export(storage, history=history))


@tidebook.command()
@click.option("--from", "first", type=options.block, help="First block to judge.")
@click.option("--to", "last", type=options.block, help="Last block to judge.")
@click.option("--against-chain", is_flag=True, help="Compare state with the contracts' getters.")
@click.option("--block", type=options.block, help="For --against-chain: a past block.")
@options.storage
@options.chain
def verify(
    storage: Storage,
    chain: Chain,
    first: int | None,
    last: int | None,
    against_chain: bool,
    block: int | None,
) -> None:
    """Match the chain's orders anew and compare every fill; exit 1 if any differs.

    With --against-chain, levels, orders and balances are compared with what the contracts' getters
    say at one block.
    """
    from tidebook import comparison, witness

    if against_chain:
        _run(comparison.against_chain(storage, chain, block))
        return
    if block is not None:
        raise click.UsageError("--block is for --against-chain; for fills say --from and --to")
    _run(witness.verify(storage, first, last))


@tidebook.command()
@click.argument("market", required=False)
@click.option("--all", "everything", is_flag=True, help="Of every market.")
@options.storage
def acknowledge(storage: Storage, market: str | None, everything: bool) -> None:
    """Take note of a MARKET's divergences (symbol or address): it is not marked any more."""
    from tidebook import witness

    if everything == (market is not None):
        raise click.UsageError("expected either MARKET or --all")
    _run(witness.acknowledge(storage, market))


@tidebook.command()
@click.option("--market", required=True, help="Symbol or address.")
@click.option("--side", type=click.Choice(["buy", "sell"]), required=True)
@click.option("--quantity", type=click.IntRange(min=1), required=True, help="In base units.")
@click.option("--price", type=click.IntRange(min=1), help="Quote units; without, a market order.")
@click.option(
    "--time-in-force",
    type=click.Choice(["gtc", "ioc", "fok", "post_only"]),
    default="gtc",
    show_default=True,
)
@click.option("--account", help="Whose funds and own orders count; without, nobody's.")
@click.option("--block", type=options.block, help="A past block instead of the head.")
@options.storage
def simulate(storage: Storage, market: str, block: int | None, **intent: Any) -> None:
    """What would come of an order, as JSON; nothing is sent."""
    from indexer.domain.execution import Intent
    from tidebook import witness

    _run(witness.simulate(storage, market, [Intent(**intent)], block))


@tidebook.command()
def match() -> None:
    """Order commands on stdin, their fills on stdout, as JSON lines."""
    from tidebook import witness

    witness.match()


@tidebook.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.storage
def replay(file: Path, storage: Storage) -> None:
    """Index a recording instead of a node."""
    from tidebook import tasks

    _run(tasks.replay(storage, file))


@tidebook.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "first", type=options.block, required=True)
@click.option("--to", "last", type=options.block, required=True)
@options.chain
def record(file: Path, first: int, last: int, chain: Chain) -> None:
    """Make a recording of a node's blocks."""
    from tidebook import tasks

    _run(tasks.record(chain, file, first, last))


def _run(work: Coroutine[Any, Any, None]) -> None:
    import uvloop  # a third of the price of a query's round trip

    uvloop.run(work)


def main(arguments: list[str] | None = None) -> None:
    """The console script: run a command, turn what went wrong into one line and an exit code."""
    from tidebook.supervised import die_with_parent

    die_with_parent()
    _open_streams()
    os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")  # a tenth of the devnet's time
    try:
        tidebook.main(arguments, prog_name="tidebook", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "tidebook"
        _fail(f"{error.format_message()} (see `{command} --help`)", 2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        from tidebook.errors import exit_code

        code = exit_code(error)
        if code is None and isinstance(error, OSError) and error.errno in FULL:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or what is left is tried at the end
            _fail(f"{error.filename or 'output'}: {error.strerror}", 1)
        if code is None:
            raise
        _fail(str(error), code)


def _open_streams() -> None:
    """What was closed leads nowhere: else a socket got its number, at which uvloop aborts."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # to the end
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    click.echo(f"tidebook: {line}", err=True)
    sys.exit(code)
