"""The order of the runs of one round, drawn from the suite's name and the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def round_order(suite_name: str, seed: int, config_ids: Sequence[str]) -> list[int]:
    """Returns the places of the configs in the order in which they are run in the round of a seed.

    Each config is placed by a hash of its own: where some are left out, the others keep their order among themselves.

    Args:
        suite_name: of the suite; two suites of the same configs have other orders.
        seed: of the round.
        config_ids: of its configs, each once.
    """

    def drawn(place: int) -> str:
        return hashlib.sha256(f"{suite_name}\0{seed}\0{config_ids[place]}".encode()).hexdigest()

    return sorted(range(len(config_ids)), key=drawn)
