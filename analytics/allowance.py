"""Pure: how many requests a client may make. A token bucket each, for so many clients."""

from collections import OrderedDict
from dataclasses import dataclass

from analytics.limits import MAX_CLIENTS


@dataclass
class _Bucket:
    left: float
    at_s: float


class Allowances:
    """`per_s` requests a second, after `burst` at once. Each process counts by itself."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, client: str, now_s: float) -> float:
        """0 if the client may, else the seconds until it may; any clock that goes forward.

        Of more than MAX_CLIENTS those who asked longest ago begin with a full bucket again.
        """
        bucket = self._buckets.setdefault(client, _Bucket(self._burst, now_s))
        self._buckets.move_to_end(client)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        bucket.left = min(self._burst, bucket.left + (now_s - bucket.at_s) * self._per_s)
        bucket.at_s = now_s
        if bucket.left < 1:
            return (1 - bucket.left) / self._per_s
        bucket.left -= 1
        return 0.0
