"""Which errors are for whom, as exit codes: 2 for the caller, 1 for the operator.

An error that is in neither list is our mistake, and keeps its traceback.
"""

import contracts_test.node
from contracts_test.chaos import UnknownKnob
from contracts_test.journal import DataDirError
from indexer.chain.errors import BadAnswer, BlockGone, ChainError, ReorgTooDeep, RpcError
from indexer.chain.recording import BadRecording
from indexer.decode import MalformedLog
from indexer.domain.deployment import BadDeployment
from indexer.mirror.errors import FoldError
from indexer.relay import RedisChanged, RedisUnreachable
from indexer.store.errors import StoreError
from indexer.store.postgres import DatabaseUnreachable
from migrations import SchemaNewer
from tidebook.embedded import EmbeddedError
from tidebook.ports import CannotListen
from tidebook.settings import BadSetting
from tidebook.supervised import ServiceFailed
from tidebook.witness import Diverged

OPERATORS = (
    BadAnswer,
    BlockGone,
    Diverged,
    FoldError,
    MalformedLog,
    RedisChanged,
    ReorgTooDeep,
    RpcError,
)
CALLERS = (
    BadDeployment,
    BadRecording,
    BadSetting,
    CannotListen,
    ChainError,
    DataDirError,
    DatabaseUnreachable,
    EmbeddedError,
    RedisUnreachable,
    SchemaNewer,
    StoreError,
    UnknownKnob,
    contracts_test.node.PortInUse,
)


def exit_code(error: Exception) -> int | None:
    """1, 2, or None for what nobody expected."""
    if isinstance(error, ServiceFailed):
        return error.code
    if isinstance(error, OPERATORS):
        return 1
    return 2 if isinstance(error, CALLERS) else None
