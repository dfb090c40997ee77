"""The page as people see and use it, in a real browser, opened from disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.page.conftest import EVIL

pytestmark = pytest.mark.launch
Open = Callable[..., Any]


FILL = "(element) => getComputedStyle(element).fill"


def _column(tab: Any, title: str) -> int:
    """Returns the place of a column, counted from 1."""
    titles = tab.locator(".ranking thead th").all_text_contents()
    return [text.strip() for text in titles].index(title) + 1


def _cells(tab: Any, title: str) -> list[str]:
    return tab.locator(f".ranking tbody tr > :nth-child({_column(tab, title)})").all_text_contents()


def _configs(tab: Any) -> list[str]:
    return [text.replace("◆", "").replace("On the front: ", "").strip() for text in _cells(tab, "config")]


def _values(tab: Any, title: str) -> list[float]:
    return [float(re.sub(r"[^0-9.].*", "", text.replace(",", ""))) for text in _cells(tab, title) if text != "-"]


def test_every_chart_is_drawn_and_nothing_is_asked_of_the_network(everything: Path, look_at: Open) -> None:
    seen = look_at(everything)
    charts = seen.tab.locator(".chart")
    assert charts.count() == 6
    for index in range(charts.count()):
        marks = charts.nth(index).locator("svg path")
        assert marks.count() > 5, charts.nth(index).get_attribute("aria-label")
    assert seen.requests[0] == everything.as_uri()


def test_sections_stand_in_their_order(words: Path, open_page: Open) -> None:
    tab = open_page(words).tab
    assert [text.strip() for text in tab.locator("section > h2").all_text_contents()] == [
        "Accuracy over train time",
        "All configs",
        "Published against ours",
        "Pictures",
        "How it was measured",
    ]
    answer = tab.locator(".answer").bounding_box()
    assert answer["y"] < 450
    assert tab.locator("h1").inner_text() == "Which network reads images best, and what does that cost?"


def test_without_scripts_it_is_complete_but_for_the_charts(everything: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    tab = context.new_page()
    tab.goto(everything.as_uri())
    assert "is the most accurate" in tab.locator(".answer").inner_text()
    assert tab.locator(".budgets dd").first.inner_text().startswith("Take ")
    assert not tab.locator(".tools").filter(visible=True).count()
    assert tab.locator(".ranking tbody tr").count() == 11
    assert (
        tab.locator("noscript").first.inner_text()
        == "This chart needs JavaScript; the files below and the table do not."
    )
    figure = tab.locator("figure:has(.chart)").first
    figure.locator("summary").click()
    assert figure.locator("tbody tr").first.is_visible()
    context.close()


def test_a_click_on_a_heading_sorts_and_says_so(words: Path, open_page: Open) -> None:
    tab = open_page(words).tab
    head = tab.locator(".ranking th", has_text="train time").first
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    times = _values(tab, "train time")
    assert len(times) == 10
    assert times == sorted(times, reverse=True)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert _values(tab, "train time") == times[::-1]
    assert _cells(tab, "train time")[-1] == "-"  # what has no number stays last
    tab.locator(".ranking th button").first.click()
    assert head.get_attribute("aria-sort") is None
    names = _configs(tab)
    batches = [int(name.split(" batch ")[1]) for name in names if name.startswith("mlp no batch ")]
    assert len(batches) > 1
    assert batches == sorted(batches)  # numbers in names count as numbers


def test_text_filters_the_rows(words: Path, open_page: Open) -> None:
    tab = open_page(words).tab
    rows = tab.locator(".ranking tbody tr")
    every = rows.count()
    tab.locator("input[type=search]").fill("bf16")
    shown = [text for text in rows.all() if text.is_visible()]
    assert 0 < len(shown) < every
    assert all("bf16" in row.inner_text() for row in shown)
    assert tab.locator(".count").inner_text() == f"{len(shown)} of {every} configs"
    tab.locator("input[type=search]").fill("nothing has this")
    assert not [row for row in rows.all() if row.is_visible()]
    tab.locator("input[type=search]").fill("")
    assert all(row.is_visible() for row in rows.all())


def test_columns_can_be_chosen(words: Path, open_page: Open) -> None:
    tab = open_page(words).tab
    hidden = tab.locator(f".ranking thead th:nth-child({_column(tab, 'parameters')})")
    assert not hidden.is_visible()
    tab.locator(".choose summary").click()
    tab.get_by_label("parameters").check()
    assert hidden.is_visible()
    assert tab.locator(f".ranking tbody tr:first-child > :nth-child({_column(tab, 'parameters')})").is_visible()
    tab.get_by_label("train time", exact=True).uncheck()
    assert not tab.locator(f".ranking thead th:nth-child({_column(tab, 'train time')})").is_visible()
    tab.keyboard.press("Escape")
    assert not tab.get_by_label("parameters").is_visible()


def test_the_table_is_used_with_the_keyboard_alone(words: Path, open_page: Open) -> None:
    tab = open_page(words).tab
    tab.keyboard.press("Tab")
    assert tab.evaluate("() => document.activeElement.textContent") == "Skip to the content"
    tab.locator("input[type=search]").focus()
    for _ in range(3):
        tab.keyboard.press("Tab")  # the columns, the table itself, its first heading
    assert tab.evaluate("() => document.activeElement.className") == "sort"
    outline = tab.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    tab.keyboard.press("Enter")
    assert tab.locator(".ranking th").first.get_attribute("aria-sort") == "ascending"


def test_the_config_stays_in_sight_when_the_table_is_scrolled(words: Path, open_page: Open) -> None:
    tab = open_page(words, width=360).tab
    scroll = tab.locator(".ranking .scroll")
    scroll.scroll_into_view_if_needed()
    before = tab.locator(".ranking tbody th").first.bounding_box()["x"]
    scroll.evaluate("(element) => { element.scrollLeft = 200; }")
    assert scroll.evaluate("(element) => element.scrollLeft") == 200
    assert tab.locator(".ranking tbody th").first.bounding_box()["x"] == before


def test_a_section_has_one_legend_in_the_colours_of_its_charts(everything: Path, look_at: Open) -> None:
    tab = look_at(everything).tab
    sections = tab.locator("section:has(.legend)").all()
    assert len(sections) == 4
    for section in sections:
        assert section.locator(".legend").count() == 1
        assert section.locator(".chart svg .role-legend").count() == 0
    stroke = "(element) => getComputedStyle(element).stroke"
    legend = tab.locator("#suite-curves .legend circle").first.evaluate(FILL)
    for figure in ("curves", "learning_curves", "over_epochs"):
        lines = tab.locator(f"#suite-chart-{figure} svg .mark-line path").all()
        assert legend in [line.evaluate(stroke) for line in lines], figure


def test_hovering_names_the_config(everything: Path, look_at: Open) -> None:
    tab = look_at(everything).tab
    point = tab.locator("#suite-chart-accuracy_over_time svg .role-mark.mark-symbol path").last
    point.scroll_into_view_if_needed()
    # Scrolling hides the tip, and its event comes with the next frame.
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box = point.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = tab.locator("#tip")
    tip.wait_for(state="visible", timeout=5000)
    names = _configs(tab)
    lines = tip.inner_text().split("\n")
    assert lines[0] in names
    assert any(line.startswith("test accuracy: ") for line in lines)
    tab.mouse.move(5, 5)
    assert not tip.is_visible()


BESIDE = """(svg) => {
    const middle = (one) => { const box = one.getBoundingClientRect();
        return [box.left + box.width / 2, box.top + box.height / 2, box.width / 2]; };
    const points = [...svg.querySelectorAll(".role-mark.mark-symbol path")].map(middle);
    const texts = [...svg.querySelectorAll(".role-mark.mark-text text")].map(middle);
    return texts.map(([x, y, half]) => Math.min(...points.map(([a, b]) =>
        Math.hypot(Math.max(0, Math.abs(x - a) - half), y - b))));
}"""


@pytest.mark.parametrize("width", [390, 800, 1440])
def test_labels_stand_beside_their_points_however_wide_the_page_is(everything: Path, look_at: Open, width: int) -> None:
    tab = look_at(everything, width).tab
    svg = tab.locator("#suite-chart-accuracy_over_time svg").first
    found = svg.evaluate(BESIDE)
    assert found and max(found) < 42, "pixels from a label to the nearest point"
    inside = tab.locator("#suite-chart-accuracy_over_time .chart").first
    assert svg.bounding_box()["width"] <= inside.bounding_box()["width"] + 1


def test_dark_where_the_system_is_dark(everything: Path, look_at: Open) -> None:
    tab = look_at(everything, dark=True).tab
    assert tab.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
    label = tab.locator("#suite-chart-accuracy_over_time svg text").first.evaluate(FILL)
    assert label == "rgb(168, 173, 183)"


def test_names_that_would_be_scripts_are_text(words: Path, open_page: Open) -> None:
    tab = open_page(words).tab
    assert tab.title() == "networks"
    assert tab.locator("img[src=x]").count() == 0
    assert EVIL in _configs(tab)
    assert "A paper <b>in bold</b>, table 1" in tab.locator("#suite-published").inner_text()


def test_what_is_printed_is_black_on_white_and_without_controls(everything: Path, look_at: Open) -> None:
    tab = look_at(everything, dark=True).tab
    pdf = tab.pdf()
    assert pdf.startswith(b"%PDF")
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for control in (".tools", "nav"):
        assert not tab.locator(control).first.is_visible(), control
    label = tab.locator("#suite-chart-accuracy_over_time svg text").first
    assert label.evaluate(FILL) == "rgb(88, 94, 105)"
    tab.emulate_media(media="screen", color_scheme="dark")
    assert tab.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, *(pytest.param(width, marks=pytest.mark.slow) for width in (768, 1440))])
def test_it_fits_the_screen(everything: Path, look_at: Open, artefacts: Path, width: int, dark: bool) -> None:
    tab = look_at(everything, width, dark).tab
    assert tab.evaluate("() => document.documentElement.scrollWidth") == width
    for chart in tab.locator(".chart").all():
        # Neither cut off nor scrolled, whatever stands beside the plots.
        fits = chart.evaluate("(one) => one.querySelector('svg').getBoundingClientRect().width <= one.clientWidth + 1")
        assert fits, chart.get_attribute("aria-label")
    tab.screenshot(path=artefacts / f"page_{width}_{'dark' if dark else 'light'}.png", full_page=True)


def test_charts_have_a_caption_and_a_table(everything: Path, look_at: Open) -> None:
    tab = look_at(everything).tab
    for figure in tab.locator("figure:has(.chart)").all():
        chart = figure.locator(".chart")
        assert chart.get_attribute("role") == "img"
        assert chart.get_attribute("aria-label")
        described = chart.get_attribute("aria-describedby")
        assert len(tab.locator(f"[id='{described}']").inner_text()) > 40
        figure.locator("summary").click()
        assert figure.locator("details tbody tr").count() >= 2
    pictures = tab.locator(".gallery img")
    assert [picture.get_attribute("alt") for picture in pictures.all()] == [
        f"The filters of layer {number}." for number in range(3)
    ]


# Each element with text of its own, its colour and the first background below it, as the browser computes them.
COLOURS = """() => {
  const solid = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length || element.closest("script, noscript")) continue;
    const style = getComputedStyle(element), drawn = element.namespaceURI.endsWith("svg");
    const halo = drawn && element.closest("text").getAttribute("stroke");
    if (halo && halo !== "none") continue;
    found.push([drawn ? style.fill : style.color, solid(element), element.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


def _luminance(colour: str) -> float:
    """By WCAG 2.2."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Returns the contrast ratio of two colours, as WCAG 2.2 defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_the_contrast_of_aa(everything: Path, look_at: Open, dark: bool) -> None:
    tab = look_at(everything, dark=dark).tab
    tab.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = tab.evaluate(COLOURS)
    assert len(found) > 300
    faint = {(colour, below): text for colour, below, text in found if contrast(colour, below) < 4.5}
    assert faint == {}
