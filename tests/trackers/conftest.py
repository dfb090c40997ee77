"""A server of this machine in the place of W&B's, and a client that forgets it afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.trackers.server import KEY, Server, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The only server that W&B's client knows, in this process and those that it starts."""
    with serving() as state:
        monkeypatch.setenv("WANDB_BASE_URL", state.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.delenv("WANDB_MODE")
        yield state
        forget_client()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key and no server."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    forget_client()


def forget_client() -> None:
    """Ends the client's service: its settings were read from the environment once."""
    import wandb

    wandb.teardown()
