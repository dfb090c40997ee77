"""Settings of all tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import House, build_house

# Small tensors are fastest on one thread, and tests that run side by side would wait for each other's OpenMP teams.
# Set before torch is imported; processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

# Nothing is sent anywhere, whoever is logged in: tests of trackers name a server of this machine.
os.environ |= {"WANDB_MODE": "offline", "WANDB_BASE_URL": "https://wandb.invalid"}
# `nohup` and a shell's `&` ignore these, and processes that tests start would inherit that.
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

for name in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_ENTITY", "HARNESS_TRACKERS"):
    os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that start processes come first: they take longest, and workers that run side by side end together so."""
    launching = {item.path for item in items if item.get_closest_marker("launch")}
    items.sort(key=lambda item: ("slurm" not in item.path.parts, item.path not in launching))


@pytest.fixture(scope="module", autouse=True)
def short_collections() -> None:
    """Runs and loaders collect garbage, and would walk half a second each time through all that tests have imported."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """What is frozen is not freed at the end, and Triton's bindings would then report each object as a leak."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where decoded images are kept, by the processes that tests start too: not in the home of who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("HARNESS_CACHE", str(folder))
        yield folder


@pytest.fixture(params=[0o077, 0o002, 0o022], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """One umask after the other, while a test runs."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A copy of the package with an architecture that fails on purpose, where suites run as users run them."""
    return build_house(tmp_path)
