"""What can be wrong with a database, for the person who named it.

StoreError
├─ SchemaMissing      not migrated, or not far enough
├─ NotAllowed         our role lacks a privilege
├─ WrongChain         it belongs to another chain
└─ WrongDeployment    it belongs to other contracts of the same chain
"""


class StoreError(Exception):
    """The database cannot be used as asked. Nothing in it was changed."""


class SchemaMissing(StoreError):
    def __init__(self, found: str | None, expected: str) -> None:
        what = "has no Tidebook schema" if found is None else f"is at schema revision {found}"
        super().__init__(
            f"the database {what}, this Tidebook works with {expected}: run `tidebook migrate`"
        )


class NotAllowed(StoreError):
    def __init__(self, role: str, grants: str) -> None:
        super().__init__(
            f"TIDEBOOK_DATABASE_URL: the role {role} lacks privileges: run `{grants}` as the owner "
            "(tidebook/servers.md has every role's)"
        )


class WrongChain(StoreError):
    def __init__(self, stored: int, asked: int) -> None:
        super().__init__(
            f"chain_id: the database holds chain {stored}, the deployment says {asked}: "
            "use another database (TIDEBOOK_DATABASE_URL, --data-dir) for another chain"
        )


class WrongDeployment(StoreError):
    def __init__(self, field: str, stored: object, asked: object) -> None:
        super().__init__(
            f"deployment: {field} is {asked}, the database was filled with {stored}: "
            "use another database (TIDEBOOK_DATABASE_URL, --data-dir) for other contracts"
        )


class NothingIndexed(StoreError):
    def __init__(self) -> None:
        super().__init__(
            "the database holds no chain yet: run `tidebook index` or `tidebook replay` first"
        )
