"""Which errors are for whom, as exit codes: 2 for the caller, 1 for the operator.

Known by name, so that saying what is wrong imports nothing (a test looks each name up). An error
that is in neither list is our mistake, and keeps its traceback.
"""

OPERATORS = {
    "indexer.chain.errors.BadAnswer",
    "indexer.chain.errors.BlockGone",
    "indexer.chain.errors.NoState",
    "indexer.chain.errors.ReorgTooDeep",
    "indexer.chain.errors.RpcError",
    "indexer.domain.logs.MalformedLog",
    "indexer.mirror.errors.FoldError",
    "indexer.relay.RedisChanged",
    "indexer.store.rejected.RowRejected",
    "tidebook.witness.Diverged",
}
CALLERS = {
    "analytics.kept.AlreadyKept",
    "asyncpg.exceptions.InsufficientPrivilegeError",
    "contracts_test.chaos.UnknownKnob",
    "contracts_test.journal.DataDirError",
    "contracts_test.node.PortInUse",
    "indexer.chain.errors.ChainError",
    "indexer.chain.recording.BadRecording",
    "indexer.domain.deployment.BadDeployment",
    "indexer.mirror.simulate.BadSimulation",
    "indexer.relay.RedisUnreachable",
    "indexer.relay.RedisUnsuitable",
    "indexer.store.errors.StoreError",
    "indexer.store.postgres.DatabaseUnreachable",
    "migrations.Refused",
    "tidebook.embedded.errors.EmbeddedError",
    "tidebook.ports.CannotListen",
    "tidebook.settings.BadSetting",
}


def exit_code(error: Exception) -> int | None:
    """1, 2, or None for what nobody expected. A failed service's own code is passed on."""
    names = {f"{type_.__module__}.{type_.__qualname__}" for type_ in type(error).__mro__}
    if "tidebook.supervised.ServiceFailed" in names:
        code: int = getattr(error, "code")  # noqa: B009  # known by name only
        return code
    if names & OPERATORS:
        return 1
    return 2 if names & CALLERS else None
