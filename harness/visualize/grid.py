"""Grids of small images as one picture: title, labels, and a colour bar where colours mean values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate
from torch.nn.functional import pad as padded
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from harness.report.charts.theme import INK, MUTED
from harness.visualize.lettering import Text, fitting, lettered, text_width

PAGE, NARROWEST = 1600, 1200  # pixels across; printed 16 cm wide, 100 pixels are a centimetre
HIGHEST = 2000  # pixels of the grid, where cells are not at their smallest
MARGIN, GAP = 28, 6
LARGEST_CELL, SMALLEST_CELL = 360, 56
TITLE_SIZE, TEXT_SIZE = 34, 24  # pixels: 9.6 and 6.8 points where 1600 pixels are 16 cm
BAR_WIDTH, BAR_HEIGHT = 560, 26
OUTLINE = 0.75  # grey

Colours = Literal["diverging", "sequential"]
# ColorBrewer's RdBu, reversed, and eleven points of viridis: both keep their order in grey and for the colour-blind.
_COLOURS: dict[Colours, tuple[str, ...]] = {
    "diverging": (
        *("#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7"),
        *("#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"),
    ),
    "sequential": (
        *("#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c"),
        *("#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"),
    ),
}


@dataclass(frozen=True)
class Scale:
    """What colours mean.

    Attributes:
        low, high: the values at its ends; values beyond them have the colour of the end.
        colours: `diverging`, blue over white at the middle to red, or `sequential`, dark to bright.
        title: what the values are, with their unit; it stands beside the bar.
    """

    low: float
    high: float
    colours: Colours
    title: str

    def colour(self, values: Tensor) -> Tensor:
        """Returns values of any shape [..., H, W] as colours, float [..., 3, H, W] in [0, 1]."""
        anchors = torch.tensor([[int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)] for text in _COLOURS[self.colours]])
        span = self.high - self.low
        if span > 0:
            place = ((values - self.low) / span).clamp(0, 1) * (len(anchors) - 1)
        else:  # one value for all: the colour of zero
            place = torch.full_like(values, (len(anchors) - 1) / 2 if self.colours == "diverging" else 0.0)
        below = place.floor().long().clamp(max=len(anchors) - 2)
        part = (place - below).unsqueeze(-1)
        return (anchors[below] * (1 - part) + anchors[below + 1] * part).movedim(-1, -3)


def symmetric_scale(values: Tensor, title: str) -> Scale:
    """Returns the scale with white at zero and the largest magnitude at both ends."""
    largest = float(values.abs().max())
    return Scale(-largest, largest, "diverging", title)


def scale_of(values: Tensor, title: str) -> Scale:
    """Returns a scale from zero up; where values are negative too, a symmetric one."""
    if float(values.min()) < 0:
        return symmetric_scale(values, title)
    return Scale(0.0, float(values.max()), "sequential", title)


def around_grey(values: Tensor) -> Tensor:
    """Returns signed pixel values [..., C, H, W], C of 1 or 3, as colours [..., 3, H, W]: zero is mid grey, the largest
    magnitude of each image becomes black or full brightness."""
    largest = values.abs().amax((-3, -2, -1), keepdim=True)
    return as_rgb(0.5 + 0.5 * values / torch.where(largest > 0, largest, 1.0))


def as_rgb(images: Tensor) -> Tensor:
    """Returns images [..., C, H, W] as [..., 3, H, W]: one channel as grey, of more than three the first three; a
    second one alone leaves blue black."""
    if images.shape[-3] == 1:
        return images.expand(*images.shape[:-3], 3, *images.shape[-2:])
    if images.shape[-3] == 2:
        return torch.cat([images, torch.zeros_like(images[..., :1, :, :])], dim=-3)
    return images[..., :3, :, :]


def columns_for(count: int) -> int:
    """Returns how many columns a grid of square cells gets: a little wider than high, with few cells left empty."""
    if count <= 4:
        return max(1, count)
    side = math.sqrt(count)
    return min(range(round(side), math.ceil(1.35 * side) + 1), key=lambda columns: -count % columns)


def draw_grid(
    cells: Sequence[Tensor],
    *,
    title: str,
    subtitle: str = "",
    columns: int | None = None,
    labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    scale: Scale | None = None,
) -> Image.Image:
    """Draws images beside each other, row by row, with `torchvision.utils.make_grid`.

    Args:
        cells: colours, each float [3, H, W] in [0, 1]; sizes may differ, all are shown as large as each other, with
            the first one's aspect, their pixels as squares (nearest neighbour).
        title: what is seen.
        subtitle: the run's name.
        columns: cells in a row; by default so that the picture is a little wider than high.
        labels: a text above each cell.
        row_labels: a text beside each row.
        column_labels: a text above each column.
        scale: what colours mean; drawn as a bar below.
    """
    columns = columns or columns_for(len(cells))
    left = MARGIN + (math.ceil(max(text_width(text, TEXT_SIZE) for text in row_labels)) + GAP if row_labels else 0)
    across = (PAGE - left - MARGIN - GAP * (columns + 1)) // columns
    rows = math.ceil(len(cells) / columns)
    aspect = cells[0].shape[1] / cells[0].shape[2]
    width = max(SMALLEST_CELL, min(LARGEST_CELL, across, round((HIGHEST / rows - TEXT_SIZE - GAP) / aspect)))
    height = max(4, round(width * aspect))
    # A thin outline: zero and white backgrounds would melt into the page.
    sized = [_outlined(interpolate(cell[None], (height - 2, width - 2), mode="nearest-exact")[0]) for cell in cells]
    strip_height = TEXT_SIZE + 8
    strip = strip_height if labels else 0
    if labels:
        sized = [padded(cell, (0, 0, strip, 0), value=1.0) for cell in sized]
    body = make_grid(torch.stack(sized), nrow=columns, padding=GAP, pad_value=1.0)

    page_width = max(NARROWEST, left + body.shape[2] + MARGIN)
    heading = _lines(title, TITLE_SIZE, page_width) + _lines(subtitle, TEXT_SIZE, page_width)
    top = MARGIN + sum(round(size * 1.35) for _, size in heading) + GAP
    head = strip_height if column_labels else 0
    foot = BAR_HEIGHT + TEXT_SIZE + 24 if scale else 0
    page = Image.new("RGB", (page_width, top + head + body.shape[1] + foot + MARGIN), "white")
    pen = ImageDraw.Draw(page)
    page.paste(to_pil_image(body.clamp(0, 1)), (left, top + head))
    texts, y = [], MARGIN
    for text, size in heading:
        colour = INK if size == TITLE_SIZE else MUTED
        texts.append(Text(text, MARGIN, y + size, size, colour))
        y += round(size * 1.35)

    def above(text: str, column: int, bottom: float) -> Text:
        middle = left + GAP + column * (width + GAP) + width / 2
        return Text(fitting(text, TEXT_SIZE, width), middle, bottom - 7, TEXT_SIZE, INK, "middle")

    texts += [above(text, column, top + head) for column, text in enumerate(column_labels)]
    top += head + GAP
    step = strip + height + GAP
    for index, text in enumerate(labels):
        texts.append(above(text, index % columns, top + index // columns * step + strip))
    for row, text in enumerate(row_labels):
        middle = top + row * step + strip + height / 2
        texts.append(Text(text, MARGIN, middle + 0.35 * TEXT_SIZE, TEXT_SIZE, INK))
    if scale:
        texts += _bar(page, pen, scale, left + GAP, top - GAP + body.shape[1] + 12)
    return lettered(page, texts)


def _outlined(cell: Tensor) -> Tensor:
    return padded(cell, (1, 1, 1, 1), value=OUTLINE)


def _lines(text: str, size: int, page_width: int) -> list[tuple[str, int]]:
    """Returns a heading's lines with their font size, none of them wider than the page."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > page_width - 2 * MARGIN:
            lines.append(word)
        else:
            lines[-1] = longer
    return [(line, size) for line in lines if line]


def _bar(page: Image.Image, pen: ImageDraw.ImageDraw, scale: Scale, x: int, y: int) -> list[Text]:
    """Draws what the colours mean, and returns the texts beside it."""
    steps = torch.linspace(scale.low, scale.high, BAR_WIDTH).view(1, -1).expand(BAR_HEIGHT, -1)
    page.paste(to_pil_image(scale.colour(steps)), (x, y))
    pen.rectangle((x, y, x + BAR_WIDTH - 1, y + BAR_HEIGHT - 1), outline=MUTED)
    below = y + BAR_HEIGHT + 6 + TEXT_SIZE
    return [
        Text(f"{scale.low:.3g}", x, below, TEXT_SIZE, INK),
        Text(f"{(scale.low + scale.high) / 2:.3g}", x + BAR_WIDTH / 2, below, TEXT_SIZE, INK, "middle"),
        Text(f"{scale.high:.3g}", x + BAR_WIDTH, below, TEXT_SIZE, INK, "end"),
        Text(scale.title, x + BAR_WIDTH + 20, y + BAR_HEIGHT / 2 + 0.35 * TEXT_SIZE, TEXT_SIZE, INK),
    ]
