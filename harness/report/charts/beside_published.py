"""Published numbers beside ours, for those that are shares: accuracies and recalls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.charts.theme import FONT_SIZE, INK, PALETTE, frame
from harness.report.tables import Table
from harness.report.texts import one_line, shortened
from harness.results.columns import kind_of

if TYPE_CHECKING:
    import altair

WIDTH, ROW = 700, 42
MOST_ROWS = 30
_WHOSE = {"published": INK, "ours": PALETTE[1]}


@dataclass(frozen=True)
class BesidePublished:
    """The chart of one system as plain data.

    Attributes:
        points: `row`, `whose`, `value`, and the ends `low` and `high` of our interval, in percent.
        rows: from the top.
    """

    title: str
    subtitle: str
    points: list[dict[str, Any]]
    rows: list[str]

    def draw(self) -> altair.LayerChart:
        """Returns the chart.

        Raises:
            ImportError: altair is not installed.
        """
        import altair

        across = altair.X("value:Q", title="Percent", scale=altair.Scale(zero=False))
        bands = altair.Scale(paddingInner=0, paddingOuter=0)
        down = altair.Y("row:N", sort=self.rows, title=None, axis=None, scale=bands)
        base = altair.Chart(altair.NamedData("points")).encode(y=down)
        colour = altair.Color(
            "whose:N",
            title=None,
            scale=altair.Scale(domain=list(_WHOSE), range=list(_WHOSE.values())),
            legend=altair.Legend(orient="top", direction="horizontal"),
        )
        shape = altair.Shape(
            "whose:N", title=None, scale=altair.Scale(domain=list(_WHOSE), range=["diamond", "circle"])
        )
        told = [altair.Tooltip(f"{name}:N") for name in ("row", "whose", "text", "verdict", "source")]
        intervals = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.6, yOffset=8, y2Offset=8)
        names = base.transform_filter("datum.whose == 'published'").mark_text(
            align="left", baseline="bottom", yOffset=-2, fontSize=FONT_SIZE, color=INK
        )
        return altair.LayerChart(
            layer=[
                intervals.encode(x=altair.X("low:Q", title="Percent"), x2="high:Q", color=colour),
                base.mark_point(filled=True, size=90, opacity=1, yOffset=8).encode(
                    x=across, color=colour, shape=shape, tooltip=told
                ),
                names.encode(x=altair.value(0), text="row:N"),
            ],
            datasets={"points": self.points},
            width=WIDTH,
            height=ROW * len(self.rows),
            **frame(self.title, [self.subtitle]),
        )


def beside_published(table: Table) -> BesidePublished | None:
    """Returns the chart of one system; None where no published share was measured here."""
    records = table.published.records if table.published else ()
    wanted = [one for one in records if kind_of(one["metric"]) == "percent" and one["ours_mean"] is not None]
    points: list[dict[str, Any]] = []
    rows: list[str] = []
    for record in wanted[:MOST_ROWS]:
        epoch = f", epoch {record['epoch']}" if record["epoch"] is not None else ""
        row = f"{shortened(one_line(record['label']), 40)}: {record['metric']}{epoch}"
        row = f"{row} ({len(rows)})" if row in rows else row
        rows.append(row)
        told = {"row": row, "verdict": record["verdict"], "source": shortened(one_line(record["source"]), 60)}
        mean, low, high = record["ours_mean"], record["expected_low"], record["expected_high"]
        ends = {} if low is None else {"low": 100 * max(0.0, low), "high": 100 * min(1.0, high)}
        ours = f"{mean:.2%}" + (f", expected {low:.2%} to {high:.2%}" if low is not None else ", one seed")
        points.append(
            {**told, "whose": "published", "value": 100 * record["published"], "text": f"{record['published']:.2%}"}
        )
        points.append({**told, "whose": "ours", "value": 100 * mean, "text": ours, **ends})
    if not rows:
        return None
    return BesidePublished(
        f"{one_line(table.suite)} on {table.system}",
        "Bars: where ours expects as many runs as were published, 95 %",
        points,
        rows,
    )
