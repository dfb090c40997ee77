"""Data sets that a call of `harness run` needs, and that can be fetched before it starts anything."""

from __future__ import annotations

from harness.data.download import Archive
from harness.data.prepare import data_source
from harness.errors import HarnessError
from harness.launching.manifest import Manifest
from harness.records.planned import done_elsewhere


def with_downloads(manifest: Manifest) -> Manifest:
    """Returns a manifest whose runs fetch their data, as `data.download: true` would; it is no part of an identity.

    Raises:
        HarnessError: no run reads data that can be fetched.
    """
    runs = []
    for run in manifest.runs:
        if "download" in type(run.spec.data).model_fields:
            data = run.spec.data.model_copy(update={"download": True})
            run = run.model_copy(update={"spec": run.spec.model_copy(update={"data": data})})
        runs.append(run)
    if not any(getattr(run.spec.data, "download", False) for run in runs):
        names = ", ".join(sorted({run.spec.data.name for run in runs}))
        message = f"--download has nothing to fetch: no run reads published data, all read {names}"
        raise HarnessError(message, "leave it out")
    return manifest.model_copy(update={"runs": tuple(runs)})


def missing_archives(manifest: Manifest, system_id: str) -> list[tuple[Archive, bool]]:
    """Returns files that open runs need and that are not here, each once, and whether a run is told to fetch it."""
    sources, needed = {}, {}
    for run in manifest.runs:
        key = run.spec.data.model_dump_json()
        source = sources[key] = sources.get(key) or data_source(run.spec.data)
        archive = source.archive
        if archive and not archive.is_there() and not manifest.is_done(run, manifest.folder(run, system_id)):
            needed.setdefault(archive.path, []).append((run.run_id, archive, bool(source.download)))
    found = []
    for of_runs in needed.values():
        run_ids = {run_id for run_id, _, _ in of_runs}
        elsewhere = done_elsewhere(manifest.output, manifest.suite, run_ids, system_id)
        if len({result.run_id for result in elsewhere}) < len(run_ids):
            found.append((of_runs[0][1], any(told for _, _, told in of_runs)))
    return found
