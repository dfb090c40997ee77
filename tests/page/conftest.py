"""Pages of made-up results, as files, and a real browser that opens them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from harness.records.result import Energy, RunResult, Telemetry
from harness.report.charts.of_report import charts_of
from harness.report.epochs import curve_of
from harness.report.page import PageSource, write_page
from harness.report.pictures import PictureFile
from harness.results.question import SuiteQuestion
from harness.results.study import Study
from tests.report.conftest import SYSTEM, Published, make_report, make_result, make_suite, spec_of

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">“quoted”"
EPOCHS = 6


def events_of(result: RunResult, epochs: int = EPOCHS, lost: Sequence[int] = ()) -> dict[int, dict[str, Any]]:
    """Returns the events of a run's epochs, whose accuracy rises to that of its result."""
    accuracy, seconds = result.metrics["test"].accuracy, (result.clock.train_seconds or 0.0) / epochs
    events = {}
    for number in range(epochs):
        reached = accuracy * (1 - 0.6 * math.exp(-1.2 * number)) if number < epochs - 1 else accuracy
        metrics = {
            "train": {"accuracy": min(1.0, reached + 0.02), "loss": 1.4 - reached},
            "test": {"accuracy": reached, "loss": 1.5 - reached},
        }
        events[number] = {
            "epoch": number,
            "train_seconds": seconds,
            "wait_seconds": 0.05 * seconds,
            "train_joules": 90.0 * seconds,
            "metrics": metrics,
        }
    return {number: event for number, event in events.items() if number not in lost}


def page_of(
    folder: Path,
    results: Sequence[RunResult],
    *,
    epochs_of: Callable[[RunResult], Mapping[int, Mapping[str, Any]]] = events_of,
    charts: bool = True,
    **material: Any,
) -> Path:
    """Writes the page of results into a folder, and returns its path."""
    source = source_of(folder, results, epochs_of=epochs_of, charts=charts, **material)
    return write_page(folder, [source])


def source_of(
    folder: Path,
    results: Sequence[RunResult],
    *,
    epochs_of: Callable[[RunResult], Mapping[int, Mapping[str, Any]]] = events_of,
    charts: bool = True,
    **material: Any,
) -> PageSource:
    """Returns what a page of results in a folder is made from."""
    report = make_report(results, epochs_of=epochs_of, curve_of=lambda run: curve_of(epochs_of(run)), **material)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = charts_of(report, for_page=True) if charts else None
    gpu = {**SYSTEM, "gpu": "NVIDIA GTX 1060", "memory_bytes": 2**34}
    question = SuiteQuestion(description="Which network reads images best, and what does that cost?")
    study = Study(report.suite, folder, folder, {}, {}, results, {SYSTEM["system_id"]: gpu}, question)
    return PageSource(report, study, wanted)


def measured(results: Sequence[RunResult]) -> list[RunResult]:
    """Returns the results with energy and telemetry, as a GPU gives them."""
    return [
        result.model_copy(
            update={
                "energy": Energy(train_joules=90.0 * (result.clock.train_seconds or 0.0)),
                "telemetry": Telemetry(samples=10, gpu_utilization=0.87),
                "memory": result.memory.model_copy(
                    update={"max_allocated_bytes": 2**28 * (1 + result.spec["train"]["global_batch_size"] % 7)}
                ),
            }
        )
        for result in results
    ]


def with_everything(folder: Path, *, charts: bool = True) -> Path:
    """Writes a page that has every part, and a config with a name that would be a script."""
    results = measured(make_suite(9, 3, suite="networks"))
    evil = [
        make_result(EVIL, seed=seed, accuracy=0.8 + seed / 100, seconds=50.0 + seed, suite="networks", model="vgg11")
        for seed in range(3)
    ]
    failed = make_result("vgg19", status="oom", suite="networks", model="vgg19", seed=1)
    references = {results[0].config_id: [Published("test.accuracy", 0.91, "A paper <b>in bold</b>, table 1")]}
    pictures = []
    for number in range(3):
        path = folder / "pictures" / f"filters_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((900, 600), 60 + number).convert("RGB").save(path)
        pictures.append(PictureFile(path.relative_to(folder), "mlp, seed 0", f"The filters of layer {number}."))
    results = [*results, *evil, failed]
    return page_of(folder, results, charts=charts, references=references, pictures=pictures, budget_seconds=60.0)


@pytest.fixture
def fake() -> SimpleNamespace:
    """The functions of this file, and those of the report's tests."""
    return SimpleNamespace(
        result=make_result,
        suite=make_suite,
        report=make_report,
        spec=spec_of,
        Published=Published,
        events=events_of,
        page=page_of,
        source=source_of,
        measured=measured,
    )


@dataclass(frozen=True)
class Seen:
    """A page in a tab, with what the browser complained of and asked for."""

    tab: Any
    complaints: list[str]
    requests: list[str]

    def check(self) -> None:
        """Checks that the browser complained of nothing and that no request left the page."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that has every part."""
    return with_everything(tmp_path_factory.mktemp("everything"))


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without charts: what has none to do with them is tested on it, as it opens at once."""
    return with_everything(tmp_path_factory.mktemp("words"), charts=False)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; where it is missing the tests are skipped, or fail where CI asks for it."""
    if not CHROMIUM.exists():
        message = f"no {CHROMIUM}: apt-get install chromium"
        if os.environ.get("CI_REQUIRE_CHROMIUM") == "1":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield running
        running.close()


class Tabs:
    """The tabs of one browser."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._kept: dict[tuple[Path, int, bool], Seen] = {}

    def open(self, path: Path, width: int = 1440, dark: bool = False) -> Seen:
        """Opens a page from disk, without a network, and waits until its charts are drawn."""
        theme = "dark" if dark else "light"
        context = self._browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, offline=True)
        tab = context.new_page()
        seen = Seen(tab, [], [])
        tab.on("console", lambda said: seen.complaints.append(f"{said.type}: {said.text}"))
        tab.on("pageerror", lambda error: seen.complaints.append(str(error)))
        tab.on("request", lambda request: seen.requests.append(request.url))
        tab.goto(path.as_uri())
        if tab.locator(".chart").count():
            drawn(tab)
        return seen

    def keep(self, path: Path, width: int = 1440, dark: bool = False) -> Seen:
        """Returns a tab that several tests look at, and leave as they found it."""
        if (path, width, dark) not in self._kept:
            self._kept[path, width, dark] = self.open(path, width, dark)
        return self._kept[path, width, dark]


@pytest.fixture(scope="session")
def tabs(browser: Any) -> Tabs:
    """All tabs of all tests."""
    return Tabs(browser)


@pytest.fixture
def open_page(tabs: Tabs) -> Iterator[Callable[..., Seen]]:
    """Opens a page in a tab of its own, and checks at the end that nothing was complained of."""
    opened: list[Seen] = []

    def open_it(path: Path, width: int = 1440, dark: bool = False) -> Seen:
        opened.append(tabs.open(path, width, dark))
        return opened[-1]

    yield open_it
    for seen in opened:
        seen.tab.context.close()
        seen.check()


@pytest.fixture
def look_at(tabs: Tabs) -> Iterator[Callable[..., Seen]]:
    """Shows a page in a tab that other tests look at, too, and checks the same."""
    shown: list[Seen] = []

    def look(path: Path, width: int = 1440, dark: bool = False) -> Seen:
        shown.append(tabs.keep(path, width, dark))
        return shown[-1]

    yield look
    for seen in shown:
        seen.check()


def drawn(tab: Any) -> None:
    """Waits until all charts are drawn."""
    tab.wait_for_selector("html[data-charts=drawn]", state="attached", timeout=30_000)


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    """Where pictures of the pages are kept: HARNESS_SCREENSHOTS, where that is set."""
    folder = Path(os.environ.get("HARNESS_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
