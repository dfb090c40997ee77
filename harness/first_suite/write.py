"""The suite as text, each choice with its reason."""

from __future__ import annotations

import json
import re

from harness.counted import counted
from harness.first_suite.choose import Choice, Choices
from harness.first_suite.look import Look

SHOWN = 12
COLUMN = 62  # where comments begin
SMOKE_IMAGES = 128


def suite_text(look: Look, choices: Choices, name: str) -> str:
    """Returns the suite; `name` is its name, see `suite_name`."""
    return "\n".join([*_head(look), *_body(look, choices, name)]) + "\n"


def suite_name(folder: str) -> str:
    """Returns a name for the suite that is close to a folder's."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", folder).lstrip("_.-")[:64].rstrip("_")
    return name or "images"


def summary(look: Look) -> list[str]:
    """Returns sentences on what was found."""
    classes = len(look.train)
    counts = {name: count + look.test.get(name, 0) for name, count in look.train.items()}
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    lines = [
        f"{counted(look.images, 'image')} of {counted(classes, 'class', 'classes')} in {printable(str(look.root))}"
    ]
    if look.test_folder:
        train, test = sum(look.train.values()), sum(look.test.values())
        lines.append(f"split: {train:,} in train, {test:,} in {look.test_folder}, which is tested on")
    else:
        lines.append("no test folder: of each class a fifth becomes the test split, the same for every run")
    if look.unused:
        lines.append(f"not used: the folders {', '.join(printable(name) for name in look.unused)}")
    if look.passed_over:
        lines.append(f"passed over, without images: {_some([printable(name) for name in look.passed_over])}")
    if look.loose:
        lines.append(f"{counted(look.loose, 'image')} in no class folder: left out")
    span = f"{counts[least]:,} ({printable(least)}) to {counts[most]:,} ({printable(most)}) images a class"
    lines.append(f"balance: {span if counts[least] < counts[most] else f'{counts[least]:,} images of each class'}")
    if is_unbalanced(look):
        lines.append(
            "unbalanced: accuracy is that of the large classes; look at test macro recall, which counts all alike"
        )
    if tiny := [name for name, count in counts.items() if count < 5]:
        lines.append(f"fewer than 5 images: {_some([printable(name) for name in tiny])}")
    smallest, largest = min(look.sizes, key=min), max(look.sizes, key=min)
    formats = ", ".join(f"{count:,} {name}" for name, count in look.formats.most_common())
    read = "" if look.looked_at_all else f" ({look.opened:,} of them were read, chosen at random)"
    sizes = f"{_by(smallest)} to {_by(largest)}" if smallest != largest else _by(smallest)
    lines.append(f"sizes: {sizes} pixels; {formats}{read}")
    for path, reason in sorted(look.unreadable.items())[:SHOWN]:
        lines.append(f"unreadable: {printable(path.removeprefix(f'{look.root}/'))}: {printable(reason)}")
    if (more := len(look.unreadable) - SHOWN) > 0:
        lines.append(f"unreadable: and {more:,} more")
    return lines


def is_unbalanced(look: Look) -> bool:
    """Tells whether a class has more than three times the images of another one."""
    counts = [count + look.test.get(name, 0) for name, count in look.train.items()]
    return max(counts) > 3 * min(counts)


def printable(text: str) -> str:
    """Returns a name from the disk as it may stand in a comment or on a terminal: on one line, without controls."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _head(look: Look) -> list[str]:
    return [
        "# Written by `harness init` after a look at the images; every value may be changed.",
        *(f"# {line}" for line in summary(look)),
        f"# Classes: {_some([printable(name) for name in look.train])}",
    ]


def _body(look: Look, choices: Choices, name: str) -> list[str]:
    c = choices
    data = [
        "    name: image_folder",
        f"    root: {json.dumps(str(look.root), ensure_ascii=False)}",
        *([f"    test_folder: {look.test_folder}"] if look.test_folder not in (None, "test") else []),
        *([f"    nested: {look.nested}"] if look.nested != "refuse" else []),
        _line("    size", c.size),
        _line("    channels", c.channels),
        *([_line("    unreadable", c.unreadable)] if c.unreadable else []),
        "    augment:",
        _line("      crop", c.crop),
        _line("      flip", c.flip),
    ]
    weights = [_comment("    # class_weights: balanced", "each class counts alike in the loss")] * is_unbalanced(look)
    # Half of what is listed, at the most: some may be unreadable, and of classes of one image none is tested on.
    listed = {"train": look.train_images, "test": sum(look.test.values()) or look.images - look.train_images}
    slices = [f"data.{split}_samples: {min(SMOKE_IMAGES, max(1, count // 2))}" for split, count in listed.items()]
    return [
        f"name: {name}",
        "description: Which network reads these images best, and what does that cost in time?",
        "base:",
        "  data:",
        *data,
        _line("  loader", c.loader),
        _line("  optimizer", c.optimizer),
        _line("  schedule", c.schedule),
        "  train:",
        _line("    epochs", c.epochs),
        _line("    global_batch_size", c.batch_size),
        *weights,
        "matrix:",
        "  model:",
        *(_comment(f"    - {model.value}", model.reason) for model in c.models),
        "    # One that has seen a million other images learns much from few; `--download` fetches its weights once:",
        "    # - {name: torchvision/resnet18, pretrained: true}",
        _comment("seeds: 3", "each config three times: without that no difference can be told from noise"),
        _comment("smoke:", "of `harness run --smoke`: whether all of it works, in about a minute"),
        f"  set: {{seeds: 1, train.epochs: 1, {', '.join(slices)}}}",
    ]


def _line(key: str, choice: Choice) -> str:
    return _comment(f"{key}: {choice.value}", choice.reason)


def _comment(text: str, reason: str) -> str:
    return f"{text:<{COLUMN - 2}}  # {reason}"


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
