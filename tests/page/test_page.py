"""The page as a file: what it holds, how large it is, what it lets in, and what it says of bad input."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.data.prepare import fingerprint
from harness.records.result import Inference
from harness.report.charts.theme import PAGE_COLOURS, PALETTE, on_page
from harness.report.page import MOST_CONFIGS, write_page
from harness.report.pictures import PictureFile, gallery
from harness.suite.plan import load_suite
from tests.page.conftest import EVIL, Seen
from tests.page.test_in_browser import contrast
from tests.report.conftest import make_result, store


def _text(path: Path) -> str:
    """Returns what people read of a page."""
    page = re.sub(r"<(script|style)\b.*?</\1>", "", path.read_text(), flags=re.DOTALL)
    return " ".join(re.sub("<[^>]+>", " ", page).split())


@pytest.mark.launch
def test_only_the_files_own_scripts_and_styles_are_let_in(everything: Path) -> None:
    page = everything.read_text()
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    policy = policy.replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    for text in [*scripts, *re.findall(r"<style>(.*?)</style>", page, re.DOTALL)]:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert page.count("window.vegaEmbed=") == 1


def test_no_label_ends_the_data(everything: Path) -> None:
    page = everything.read_text()
    assert EVIL not in page
    assert "<img src=x" not in page
    for text in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL):
        assert "<" not in text
        json.loads(text)
    specs = re.findall(r'id="specs">(.*?)</script>', page, re.DOTALL)
    labels = [point["label"] for point in json.loads(specs[0])["suite/accuracy_over_time"]["datasets"]["points"]]
    assert EVIL in labels


def test_links_lead_to_the_runs_and_the_charts_beside_the_page(words: Path) -> None:
    page = words.read_text()
    links = re.findall(r'<td class="runs">(.*?)</td>', page, re.DOTALL)
    assert len(links) == 11
    assert re.search(r'<a href="[0-9a-f]{12}-1/a1b2c3/">seed 1</a>', links[0])
    assert any("<b>oom</b>" in link for link in links)
    assert '<a href="pictures/filters_0.png"><img' in page


@pytest.mark.launch
def test_a_page_of_a_part_links_to_its_own_charts_and_to_the_runs_of_the_suite(fake: Any, tmp_path: Path) -> None:
    source = fake.source(tmp_path, fake.suite(3, 2), selection=["seed=0"])
    page = write_page(tmp_path / "only-seed=0", [source]).read_text()
    assert 'href="accuracy_over_time.svg"' in page
    assert re.search(r'href="../[0-9a-f]{12}-0/a1b2c3/"', page)
    assert 'href="only-seed%3D0/accuracy_over_time.svg"' in write_page(tmp_path, [source]).read_text()


@pytest.mark.slow
@pytest.mark.launch
def test_500_runs_are_less_than_three_megabytes(fake: Any, tmp_path: Path) -> None:
    results = fake.measured(fake.suite(100, 5))
    path = fake.page(tmp_path, results)
    assert path.stat().st_size < 3_000_000
    assert path.read_text().count('<td class="runs">') == 100


def _many(folder: Path, count: int) -> list[PictureFile]:
    from PIL import Image

    made = []
    for number in range(count):
        Image.effect_noise((1200, 900), 90).convert("RGB").save(folder / f"{number}.png")
        made.append(PictureFile(Path(f"{number}.png"), "a, seed 0", f"picture {number}"))
    return made


@pytest.mark.launch
def test_letters_of_every_alphabet_are_text_in_the_pictures(tmp_path: Path) -> None:
    """No font of this machine need have them: the browser draws the text of an SVG."""
    import torch

    from harness.visualize.grid import draw_grid
    from harness.visualize.picture import Picture

    cells = [torch.rand(3, 8, 8)] * 2
    path = Picture("grid", "Mistakes.", draw_grid(cells, title="Köter", labels=["Köter > 猫", "a & b"])).write(tmp_path)
    svg = path.with_suffix(".svg").read_text()
    assert "Köter &gt; 猫</text>" in svg and "a &amp; b</text>" in svg
    [thumbnail], _ = gallery([PictureFile(Path("grid.png"), "a, seed 0", "Mistakes.")], tmp_path, 60_000)
    kind, _, data = thumbnail.source.partition(",")
    assert kind == "data:image/svg+xml;base64" and len(thumbnail.source) < 60_000
    inside = base64.b64decode(data).decode()
    assert "Köter &gt; 猫</text>" in inside and "data:image/webp" in inside and "image/png" not in inside


@pytest.mark.launch
def test_a_chart_among_the_pictures_is_shown_as_it_is(tmp_path: Path) -> None:
    import altair

    from harness.visualize.picture import Picture

    chart = altair.Chart(altair.InlineData([{"class": "猫"}, {"class": "Köter"}])).mark_point().encode(y="class:N")
    path = Picture("confusion", "Confusion.", chart).write(tmp_path)
    [shown], _ = gallery([PictureFile(Path("confusion.png"), "a, seed 0", "Confusion.")], tmp_path)
    assert base64.b64decode(shown.source.partition(",")[2]) == path.with_suffix(".svg").read_bytes()
    assert ">猫</text>" in path.with_suffix(".svg").read_text()


def test_pictures_are_scaled_down_to_what_the_page_has_room_for(tmp_path: Path) -> None:
    pictures = _many(tmp_path, 4)
    roomy, _ = gallery(pictures, tmp_path, 1_000_000)
    assert [(picture.width, picture.height) for picture in roomy] == [(640, 480)] * 4
    tight, left_out = gallery(pictures, tmp_path, 60_000)
    assert sum(len(picture.source) for picture in tight) <= 60_000
    assert len(tight) + int((left_out or "0").split(" ")[0]) == 4
    (tmp_path / "1.png").write_bytes(b"no picture")
    _, left_out = gallery(pictures, tmp_path)
    assert left_out == "1 of the pictures could not be read."
    assert gallery([], tmp_path) == ([], "")


@pytest.mark.parametrize("status", [None, "failed"])
def test_without_a_result_it_says_what_there_is(fake: Any, tmp_path: Path, status: str | None) -> None:
    results = [fake.result("a", seed=seed, status=status) for seed in range(2)] if status else []
    path = fake.page(tmp_path, results, epochs_of=lambda run: {})
    said = _text(path)
    assert "There is no answer yet" in said
    assert "vegaEmbed=" not in path.read_text()  # there is nothing to draw
    assert path.stat().st_size < 60_000
    assert (
        "2 runs of 1 config on 1 process: 2 failed" if status else "There is no answer yet: no run of this suite has"
    ) in said


@pytest.mark.launch
def test_one_run(fake: Any, tmp_path: Path) -> None:
    said = _text(fake.page(tmp_path, [fake.result("only")]))
    assert "only reaches 90.00 % of the test images; there is nothing to compare it with." in said
    assert "One seed each, so there are no intervals." in said
    assert "Energy, memory and latency" in said


@pytest.mark.launch
def test_lost_epochs_are_named(fake: Any, tmp_path: Path) -> None:
    results = [fake.result("a", seed=seed, config_id="a", train={"epochs": 6}) for seed in range(2)]
    lost = {0: (), 1: (1,)}
    path = fake.page(tmp_path, results, epochs_of=lambda run: fake.events(run, lost=lost[run.seed]))
    assert "Epochs without an event in every run are left out: a (1)." in _text(path)


@pytest.mark.slow
@pytest.mark.launch
def test_curves_say_which_losses_do_not_compare(fake: Any, tmp_path: Path) -> None:
    losses = "The train loss has label smoothing, the test loss none"
    results = [
        fake.result("a", seed=seed, accuracy=0.9 + seed / 1000, seconds=60.0, train={"label_smoothing": 0.2})
        for seed in range(3)
    ]
    smooth, plain = (fake.page(tmp_path / name, own) for name, own in (("s", results), ("p", [fake.result("a")])))
    assert "Means over seeds; the intervals of whole runs are in the table. The higher a line" in _text(smooth)
    assert losses in _text(smooth) and losses not in _text(plain)


def test_records_without_events_have_no_curves(fake: Any, tmp_path: Path) -> None:
    said = _text(fake.page(tmp_path, fake.suite(3, 2), epochs_of=lambda run: {}, charts=False))
    assert "Learning curves" not in said
    assert "Take " in said  # whole runs still say what to take for a budget


@pytest.mark.launch
@pytest.mark.slow
def test_5000_runs_stay_usable(fake: Any, tmp_path: Path, open_page: Any) -> None:
    results = fake.suite(500, 10)
    path = fake.page(tmp_path, results)
    assert path.stat().st_size < 5_000_000
    page = path.read_text()
    assert page.count('<td class="runs">') == MOST_CONFIGS
    assert f"{500 - MOST_CONFIGS} more configs are not on this page" in page
    assert "Drawn are the front and the most accurate: 400 of 500 configs" in page
    seen: Seen = open_page(path)
    seen.tab.locator("input[type=search]").fill("vgg16")
    assert "of 400 configs" in seen.tab.locator(".count").inner_text()


@pytest.mark.launch
def test_several_suites_share_a_page(fake: Any, tmp_path: Path) -> None:
    sources = [
        fake.source(tmp_path / name, fake.suite(3, 2, suite=name, spread=20.0 + at), charts=not at)
        for at, name in enumerate(("one", "two"))
    ]
    path = write_page(tmp_path, sources)
    page = path.read_text()
    assert path == tmp_path / "report.html"
    assert re.findall(r'<p class="kicker">(.*?)</p>', page) == ["one", "two"]
    assert re.search(r'href="two/[0-9a-f]{12}-0/a1b2c3/"', page)
    assert 'href="one/accuracy_over_time.svg"' in page
    assert "There are no charts: vl-convert-python is not installed." in page  # of the second
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_each_system_has_its_own_answer(fake: Any, tmp_path: Path) -> None:
    results = [fake.result(label, config_id=label, system_id=system) for system in ("x", "y") for label in ("a", "b")]
    said = _text(fake.page(tmp_path, results, charts=False))
    assert said.count("most accurate, with") == 2
    assert "Run times of different systems are never compared" in said


def test_specifications_leave_out_what_the_page_says_and_follow_its_theme() -> None:
    colour = {"field": "config", "legend": {"values": ["a"]}, "scale": {"domain": [PALETTE[0]], "range": [PALETTE[0]]}}
    spec = {
        "title": "x",
        "background": "#ffffff",
        "mark": {"type": "bar", "color": PALETTE[1]},
        "encoding": {"color": colour, "shape": {"field": "b", "legend": {"title": "b"}}},
        "datasets": {"a": [{"x": 1.23456789, "y": float("nan"), "config": PALETTE[2]}]},
    }
    made = on_page(spec)
    assert made.keys() == {"mark", "encoding", "datasets", "config"}
    assert made["mark"] == {"type": "bar", "color": "var(--c1)"}
    assert made["encoding"]["color"]["legend"] is None and made["encoding"]["shape"]["legend"] == {"title": "b"}
    assert made["encoding"]["color"]["scale"] == {"domain": [PALETTE[0]], "range": ["var(--c0)"]}, "a name stays"
    assert made["datasets"] == {"a": [{"x": 1.2346, "y": None, "config": PALETTE[2]}]}


def test_the_charts_colours_can_be_told_from_their_background() -> None:
    def rgb(colour: str) -> str:
        return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"

    for theme in (0, 1, 2):
        background = PAGE_COLOURS["paper"][theme]
        for name, own in PAGE_COLOURS.items():
            if name not in ("paper", "grid"):
                assert contrast(rgb(own[theme]), rgb(background)) >= 3, (theme, name)


def test_what_disturbed_a_run_stands_beside_the_answer(fake: Any, tmp_path: Path) -> None:
    results = [fake.result("a", seed=seed, config_id="a") for seed in range(2)]
    marked = results[0].model_copy(update={"disturbed": ["others took 1 of 2 cores"]})
    said, quiet = (
        _text(fake.page(tmp_path / name, own, charts=False))
        for name, own in (("loud", [marked, results[1]]), ("quiet", results))
    )
    assert 0 < said.index("others took 1 of 2 cores") < said.index("2 runs of 1 config"), "before the summary"
    assert "others took" not in quiet


def test_commands_are_shown_as_they_are_typed(fake: Any, tmp_path: Path) -> None:
    source = fake.source(tmp_path, fake.suite(2, 1), charts=False)
    study = dataclasses.replace(source.study, source=Path("two  spaces & more <b>.yaml"), folder=Path("results/s"))
    page = write_page(tmp_path, [source._replace(study=study)]).read_text()
    [shown] = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page, re.DOTALL)
    commands = html.unescape(shown).split("\n")
    assert commands[0] == "harness plan 'two  spaces & more <b>.yaml'    # what it would run" and "<b>" not in shown
    assert commands[1:] == [
        "harness run 'two  spaces & more <b>.yaml'",
        "harness report 'two  spaces & more <b>.yaml' --html",
    ]


def test_sections_of_which_nothing_was_measured_are_absent(fake: Any, tmp_path: Path) -> None:
    results = [fake.result("a", seed=seed, config_id="a", device_bytes=None) for seed in range(2)]
    page = fake.page(tmp_path, results, epochs_of=lambda run: {}, charts=False).read_text()
    titles = re.findall(r"<h2 id=[^>]+>(.*?)</h2>", page)
    assert titles == ["Accuracy over train time", "All configs", "How it was measured"]
    assert page.count('<li><a href="#suite-') == len(titles)


def test_the_command_names_the_page_and_the_suites_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.cli import main

    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        base = "base: {data: digits, model: mlp, optimizer: {name: sgd, lr: 0.1}}"
        Path(f"{name}.yaml").write_text(f"name: {name}\n{base}\n")
        [run] = load_suite(Path(f"{name}.yaml")).plan(fingerprint).runs
        more: dict[str, Any] = {"suite": name, "run_id": run.run_id, "config_id": run.config_id, "status": "failed"}
        store(Path("results"), [make_result(name, **more)])
    for suites, page in ((["one"], "results/one/report.html"), (["one", "two"], "results/report.html")):
        with pytest.raises(SystemExit) as ended:
            main(["report", *(f"{name}.yaml" for name in suites), "--html"])
        assert not ended.value.code
        said = capsys.readouterr().err
        assert f"page of {', '.join(suites)}: {page} (" in said
        assert "There is no answer yet: no run has ended ok." in _text(tmp_path / page)
    assert "harness run one.yaml" in _text(tmp_path / "results/one/report.html")


def test_configs_of_which_no_time_counts_have_a_page(fake: Any, tmp_path: Path) -> None:
    def result(label: str, seed: int, **marks: Any) -> Any:
        accuracy = {"a": [0.90, 0.92, 0.94], "b": [0.93, 0.92, 0.90]}[label][seed]
        return fake.result(label, seed=seed, accuracy=accuracy, seconds=10.0, config_id=label).model_copy(update=marks)

    disturbed = {"disturbed": ["others took 1 of 2 cores"]}
    every = [result(label, seed, **disturbed) for label in "ab" for seed in range(3)]
    said = _text(fake.page(tmp_path / "all", every))
    assert "None of their train times counts" in said and "On the Pareto front" not in said
    some = [result("a", seed, **disturbed) for seed in range(3)] + [result("b", seed) for seed in range(3)]
    said = _text(fake.page(tmp_path / "some", some))
    assert "fastest of those whose times count" in said, said[:900]
    assert "On the Pareto front: every more accurate config whose time counts takes longer" in said


def test_networks_in_use_have_a_list_by_latency_and_a_chart(fake: Any, tmp_path: Path) -> None:
    results = [
        fake.result(label, seed=seed, config_id=label, accuracy=accuracy, inference=Inference(latency_seconds=latency))
        for label, accuracy, latency in (("a", 0.8, 0.002), ("b", 0.9, 0.005))
        for seed in range(2)
    ]
    page = fake.page(tmp_path, results)
    assert "If an image in use may take 2.00 ms or more: Take a : 80.00 ± 0.00 %, no other is so fast." in _text(page)
    assert "Accuracy over latency" in _text(page)
