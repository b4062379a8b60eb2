"""What comes from outside cannot take the process down."""

import msgspec
import pytest

from contracts_test.parse import MAX_DEPTH, parse


@pytest.mark.parametrize("body", ["[" * 50_000, '{"a":' * 50_000, "[" * 501 + "]" * 501])
def test_json_that_is_too_deep_is_refused(body: str) -> None:
    import eth  # noqa: F401  # it raises the recursion limit, which is what makes depth dangerous

    with pytest.raises(msgspec.DecodeError, match="nested deeper"):
        parse(body)


def test_a_long_batch_is_not_deep() -> None:
    body = "[" + ",".join(['{"a":[]}'] * 5_000) + "]"
    assert len(parse(body)) == 5_000
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
