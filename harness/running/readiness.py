"""What the runs of a manifest would meet at their start here: `python -m harness.running.readiness MANIFEST`.

The doctor asks in a process of its own: a plug-in, a driver or a package may do worse than raise. Nothing is trained.
Each finding is one line of JSON, written as soon as it is known.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch

from harness import registry
from harness.counted import counted
from harness.data.copies import require_room
from harness.data.loaders.dali import require_installed
from harness.data.prepare import Splits, absent, known_fingerprint, prepare
from harness.errors import HarnessError, MachineError
from harness.launching.accelerate_settings import is_true
from harness.launching.manifest import Manifest
from harness.measure.finding import Finding
from harness.measure.torch_probe import probe
from harness.measure.usable_gpus import has_usable_gpu
from harness.models.network import build_network
from harness.models.pretrained import leaving_out_weights
from harness.spec import DataSection, LoaderSection, RunSpec, parameters
from harness.training.precision import resolve_mixed_precision
from harness.weights_files import MissingWeights

BUILD_SECONDS = 60.0  # for networks, of which a suite may have thousands
STATES = 4  # a checkpoint's size over the weights': two moments of Adam's and an average beside them


def examine(manifest: Manifest) -> Iterator[Finding]:
    """Yields what the runs would meet, as far as it can be seen without training; nothing more after a `stop` of all.

    Args:
        manifest: the runs, all of which count.
    """
    specs = list({run.config_id: run.spec for run in manifest.runs}.values())
    plugins = _tried("plug-ins", lambda: _load_plugins(manifest, specs))
    yield plugins
    if plugins.verdict == "stop":
        return
    try:
        use_cpu = is_true(os.environ.get("ACCELERATE_USE_CPU")) or not has_usable_gpu(probe())
    except MachineError:  # a verdict on the machine
        return
    device = torch.device("cpu" if use_cpu else "cuda:0")
    for asked in dict.fromkeys(spec.train.mixed_precision for spec in specs):
        yield _tried("precision", lambda asked=asked: _precision(asked, device))
    began, weights = time.monotonic(), dict[str, int]()
    for same in _by_data(specs):
        splits = None
        for found in (_missing(same[0].data), _unread(same[0].data)):
            if found:
                yield found
                break
        else:
            read: list[Splits] = []
            yield _tried("data", lambda same=same, read=read: _read(same[0].data, read))
            splits = read[0] if read else None
        loaders = {spec.loader.model_dump_json(): spec.loader for spec in same}
        for section in loaders.values():
            yield _loader(section, splits, device)
        if splits:
            yield from _networks(same, splits, began + BUILD_SECONDS, weights)
    if weights:
        yield _room_for_weights(manifest, weights)


def _tried(about: str, look: Callable[[], str], of: str = "") -> Finding:
    """Returns the sentence of a look, or the error that it ends with."""
    try:
        return Finding(about, "ok", look())
    except HarnessError as error:
        return Finding(about, "stop", error.message, error.hint)
    except Exception as error:
        first = str(error).partition("\n")[0]
        return Finding(about, "stop", f"{of and f'{of}: '}{type(error).__name__}: {first}")


def _load_plugins(manifest: Manifest, specs: Iterable[RunSpec]) -> str:
    registry.load(manifest.files())
    origins: Counter[str] = Counter()
    for kind, name in dict.fromkeys(pair for spec in specs for pair in spec.plugins().items()):
        plugin = registry.find(kind, name)
        package = plugin.wildcard()
        try:
            plugin.load()
        except ImportError as error:
            hint = f"pip install {package}" if package else ""
            raise HarnessError(f"{kind} '{name}' cannot be imported: {error}", hint) from None
        where = plugin.file.path.name if plugin.file else "the harness"
        origins[f"{package} {importlib.metadata.version(package)}" if package else where] += 1
    return "imported: " + ", ".join(f"{count} of {origin}" for origin, count in origins.items())


def _precision(asked: str, device: torch.device) -> str:
    found = resolve_mixed_precision(asked, device)
    where = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return f"{asked} on {where}" if found == asked else f"{asked} is {found} on {where}"


def _by_data(specs: Iterable[RunSpec]) -> list[list[RunSpec]]:
    """Returns the configs, those that read the same images together, which are then read once."""
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.data.model_dump_json(exclude={"augment", "normalize"}), []).append(spec)
    return list(groups.values())


def _missing(section: DataSection) -> Finding | None:
    """Returns the verdict on published data that are not here, and on options that do not fit the data."""
    try:
        sources = absent([section]).values()
    except HarnessError as error:
        return Finding("data", "stop", error.message, error.hint)
    for source in sources:
        if source.archive and source.download:
            return Finding("data", "ok", source.archive.lacking("harness run SUITE"))
        if source.archive:
            error = source.archive.missing()
            return Finding("data", "stop", error.message, error.hint)
    return None


def _unread(section: DataSection) -> Finding | None:
    """Returns the verdict on data of which a first look would take long."""
    try:
        if known_fingerprint(section):
            return None
    except HarnessError as error:
        return Finding("data", "stop", error.message, error.hint)
    where = getattr(section, "root", None) or section.name
    return Finding("data", "ok", f"{where} is large: `harness run SUITE` reads all of its files first")


def _read(section: DataSection, read: list[Splits]) -> str:
    splits = prepare(section, encoded=True)
    read.append(splits)
    height, width, channels = splits.train.shape
    counts = [f"{len(splits.train.labels):,} train"]
    counts += [f"{len(split.labels):,} {name}" for name, split in splits.held_out()]
    skipped = f", {counted(len(splits.skipped), 'unreadable file')} left out" if splits.skipped else ""
    decoded = _size(sum(split.size_bytes for split in _all(splits)))
    return f"{section.name}: {', '.join(counts)} images of {width}x{height}x{channels}, {decoded} decoded{skipped}"


def _all(splits: Splits) -> list:
    return [split for _, split in splits.evaluated(train=True)]


def _loader(section: LoaderSection, splits: Splits | None, device: torch.device) -> Finding:
    """Returns the verdict on a loader, with what it falls back to."""

    def resident() -> str:
        return (
            f"resident: {require_room([split.squashed for split in _all(splits)], device)}"
            if splits
            else "resident, if the data fit in memory"
        )

    if section.name == "resident":
        return _tried("loader", resident)
    if section.name not in ("dali", "auto"):
        return Finding("loader", "ok", section.name)
    try:
        require_installed()
        without = ""
    except MachineError as error:
        without, hint = error.message, error.hint
        fallback = parameters(section).get("fallback")
        if section.name == "dali" and not fallback:
            return Finding("loader", "stop", without, hint)
        if section.name == "dali":
            return Finding("loader", "warning", f"{without}; '{fallback}' takes its place", hint)
    if section.name == "dali":
        return Finding("loader", "ok", "dali: installed")
    told = [_tried("loader", resident).says, "pinned", without or "dali: installed"]
    return Finding("loader", "ok", f"auto tries what can be had of: {'; '.join(told)}")


def _networks(specs: list[RunSpec], splits: Splits, until: float, weights: dict[str, int]) -> Iterator[Finding]:
    """Yields what building the networks came to, and notes the bytes of their weights by config."""
    sizes: dict[str, int] = {}
    failed: set[str] = set()
    left = 0
    for spec in specs:
        key = f"{spec.model.model_dump_json()} {spec.data.augment.model_dump_json()}"
        if key not in sizes and key not in failed:
            if time.monotonic() > until:
                left += 1
                continue
            found = _tried("network", lambda spec=spec: str(_bytes_of(spec, splits)), spec.label)
            if found.verdict == "stop":
                failed.add(key)
                yield found
                continue
            sizes[key] = int(found.says)
            yield from _to_fetch(spec)
        if key in sizes:
            weights[spec.config_id()] = sizes[key]
    if sizes:
        least, most = (_size(count) for count in (min(sizes.values()), max(sizes.values())))
        span = least if least == most else f"{least} to {most}"
        more = f"; {left} were not tried" if left else ""
        yield Finding("network", "ok", f"{counted(len(sizes), 'network')} built, with weights of {span}{more}")


def _bytes_of(spec: RunSpec, splits: Splits) -> int:
    weights = spec.pretrained_weights()
    # Weights that are here are read as a run reads them.
    reading = leaving_out_weights() if weights and not weights.is_here() else contextlib.nullcontext()
    with reading:
        network = build_network(spec.model, splits.image_shape(spec.data.augment), len(splits.class_names))
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def _to_fetch(spec: RunSpec) -> Iterator[Finding]:
    if (weights := spec.pretrained_weights()) and not weights.is_here():
        missing = MissingWeights(weights)
        yield Finding("weights", "stop", f"{spec.label}: {missing.message}", missing.hint)


def _room_for_weights(manifest: Manifest, weights: dict[str, int]) -> Finding:
    """Returns the verdict on the disk that results go to."""
    kept = sum(weights.get(run.config_id, 0) for run in manifest.runs if run.spec.train.keep_weights)
    # The last checkpoint is kept until the next one is whole.
    checkpoints = 2 * STATES * max(weights.values(), default=0)
    folder = next(path for path in (manifest.output, *manifest.output.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    says = (
        f"{_size(kept)} for the weights of {counted(len(manifest.runs), 'run')}, {_size(checkpoints)} for checkpoints"
    )
    says = f"{says}; {_size(free)} free in {folder}"
    if kept + checkpoints > free:
        return Finding("disk", "stop", says, "make room, --set train.keep_weights=false, or another --output DIR")
    return Finding("disk", "ok", says)


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


if __name__ == "__main__":
    for finding in examine(Manifest.read(Path(sys.argv[1]))):
        sys.stdout.write(json.dumps(finding) + "\n")
        sys.stdout.flush()
