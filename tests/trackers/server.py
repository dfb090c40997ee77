"""A W&B server on 127.0.0.1 for tests: what the client of wandb 0.31 asks of one, and failures on purpose.

It answers GraphQL (login, a run made or resumed, its files, the public API's look at it, projects, reports) and the
file stream (history, summary, exit code), and keeps what it was told, so that a test can compare it with our records.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

KEY = "0123456789abcdef0123456789abcdef01234567"
ENTITY = "someone"


@dataclass
class StoredRun:
    """A run as the server knows it."""

    entity: str
    project: str
    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    exit_code: int | None = None
    sessions: int = 0

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows, as they were logged."""
        stored = self.lines.get("wandb-history.jsonl", {})
        return [json.loads(stored[offset]) for offset in sorted(stored)]

    @property
    def summary(self) -> dict[str, Any]:
        """The newest summary."""
        stored = self.lines.get("wandb-summary.json", {})
        return json.loads(stored[max(stored)]) if stored else {}

    @property
    def config(self) -> dict[str, Any]:
        """What the run was configured with, without W&B's own."""
        config = json.loads(self.fields.get("config") or "{}")
        return {name: value["value"] for name, value in config.items() if name != "_wandb"}

    @property
    def tail(self) -> str:
        rows = self.lines.get("wandb-history.jsonl", {})
        return json.dumps([rows[max(rows)]] if rows else [])


@dataclass
class Server:
    """What the server has, and how it fails.

    Attributes:
        fault: `""`, `500`, `reset`, `stall`, `401`, `403` or `unknown_entity`.
        after: answers that are given properly before the fault begins.
        requests: method, path and body of each request.
        of_client: the same of what the client tells of itself, whenever it likes; no fault meets that.
    """

    url: str = ""
    fault: str = ""
    after: int = 0
    runs: dict[str, StoredRun] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    of_client: list[tuple[str, str, bytes]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def fail(self, fault: str, after: int = 0) -> None:
        """Fails from now on, after so many more answers."""
        self.fault, self.after = fault, len(self.requests) + after

    def only_run(self) -> StoredRun:
        """Returns the run that there is."""
        [run] = self.runs.values()
        return run

    @property
    def operations(self) -> list[str]:
        """The names of the GraphQL operations, and `file_stream`, in order."""
        found = []
        for _, path, body in self.requests:
            if path.endswith("/file_stream"):
                found.append("file_stream")
            elif path == "/graphql":
                found.append(json.loads(body).get("operationName") or "?")
        return found


@contextmanager
def serving() -> Iterator[Server]:
    """Serves while the context is open."""
    state = Server()

    class Handler(_Handler):
        server_state = state

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # type: ignore[method-assign]  # of clients that are gone
    state.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.ended.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_state: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        """Answers, or fails."""
        state = self.server_state
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        of_client = self.path.startswith("/sdk/")
        (state.of_client if of_client else state.requests).append((self.command, self.path, body))
        try:
            if of_client:
                self._answer({})
            elif state.fault and len(state.requests) > state.after:
                self._fail(state, body)
            else:
                self._succeed(state, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_PUT = do_POST

    def _fail(self, state: Server, body: bytes) -> None:
        if state.fault == "500":
            self._answer({"error": "planted"}, 500)
        elif state.fault == "401":
            self._answer({"errors": [{"message": "user is not logged in"}]}, 401)
        elif state.fault == "403":
            self._answer({"errors": [{"message": "permission denied"}]}, 403)
        elif state.fault == "unknown_entity":
            if "UpsertBucket" in body.decode(errors="replace"):
                message = "failed to find entity"
                self._answer({"errors": [{"message": message, "path": ["upsertBucket"]}], "data": None}, 404)
            else:
                self._succeed(state, body)
        elif state.fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif state.fault == "stall":
            while state.fault == "stall" and not state.ended.wait(0.05):
                pass
            self.close_connection = True

    def _succeed(self, state: Server, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/graphql":
            asked = json.loads(body)
            answer = _answer_query(state, asked["query"], asked.get("variables") or {})
            self._answer(answer if "errors" in answer else {"data": answer})
        elif path.endswith("/file_stream"):
            _, entity, project, name, _ = path.strip("/").split("/")
            run = state.runs[f"{entity}/{project}/{name}"]
            sent = json.loads(body)
            for file, chunk in (sent.get("files") or {}).items():
                for place, line in enumerate(chunk["content"]):
                    run.lines.setdefault(file, {})[chunk["offset"] + place] = line
            if sent.get("complete"):
                run.exit_code = sent.get("exitcode")
            self._answer({"exitcode": None, "limits": {}})
        elif path.startswith("/storage/"):
            state.files[path.removeprefix("/storage/")] = body
            self._answer({})
        else:
            self._answer({"error": f"this server knows no {path}"}, 404)

    def _answer(self, value: Any, code: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _answer_query(state: Server, query: str, values: dict[str, Any]) -> dict[str, Any]:
    if "upsertBucket" in query:
        return {"upsertBucket": _upsert(state, values)}
    if "upsertView" in query:
        state.reports.append(values)
        view = {
            "id": values.get("id") or f"view{len(state.reports)}",
            "type": "runs",
            "name": values.get("name"),
            "updatedAt": "2026-01-01T00:00:00Z",
        }
        return {"upsertView": {"view": {**values, **view, "createdAt": "2026-01-01T00:00:00Z"}, "inserted": True}}
    if "upsertModel" in query:
        return {"upsertModel": {"model": {"id": "p1", "name": values.get("name")}, "project": {"id": "p1"}}}
    if "createRunFiles" in query:
        place = "/".join(values[name] for name in ("entity", "project", "run"))
        urls = [{"name": name, "uploadUrl": f"{state.url}/storage/{place}/{name}"} for name in values["files"]]
        return {"createRunFiles": {"runID": "r1", "uploadHeaders": [], "files": urls}}
    if "createArtifact(" in query:
        made = {"id": "a1", "digest": values.get("digest"), "state": "COMMITTED", "artifactSequence": {"id": "s1"}}
        return {"createArtifact": {"artifact": {**made, "aliases": []}}}
    run = state.runs.get("/".join(str(values.get(name) or "") for name in ("entity", "project", "name")))
    viewer = {"id": "u1", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}
    place = values.get("project") or values.get("projectName")
    project = {"id": "p1", "internalId": "1", "name": place, "entity": {"id": "e1", "name": ENTITY}}
    return {
        "viewer": {**viewer, "name": ENTITY, "admin": False, "email": "", "apiKeys": {"edges": []}},
        "serverInfo": {"features": []},
        "model": {**project, "bucket": _bucket(run) if run else None},
        "project": {**project, "run": _public(run) if run else None, "readOnly": False, "artifact": None},
        "projects": {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}},
        "models": {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}},
    }


def _upsert(state: Server, values: dict[str, Any]) -> dict[str, Any]:
    entity, project = values.get("entity") or ENTITY, values.get("project") or "uncategorized"
    key = f"{entity}/{project}/{values['name']}"
    is_new = key not in state.runs
    run = state.runs.setdefault(key, StoredRun(entity, project, values["name"]))
    run.fields |= {name: value for name, value in values.items() if value is not None}
    run.sessions += values.get("displayName") is not None
    return {"bucket": _bucket(run), "inserted": is_new}


def _bucket(run: StoredRun) -> dict[str, Any]:
    lines = {name: len(run.lines.get(f"wandb-{name}.jsonl", {})) for name in ("history", "events")}
    return {
        "id": f"id-{run.name}",
        "name": run.name,
        "displayName": run.fields.get("displayName"),
        "description": "",
        "notes": None,
        "config": run.fields.get("config") or "{}",
        "tags": run.fields.get("tags") or [],
        "sweepName": None,
        "project": {"id": "p1", "name": run.project, "entity": {"id": "e1", "name": run.entity}},
        "summaryMetrics": json.dumps(run.summary),
        "historyLineCount": lines["history"],
        "eventsLineCount": lines["events"],
        "logLineCount": 0,
        "historyTail": run.tail,
        "eventsTail": "[]",
        "wandbConfig": '{"t": 1}',  # without it, the client takes the run for one that never began
    }


def _public(run: StoredRun) -> dict[str, Any]:
    rows = run.history
    return {
        **_bucket(run),
        "state": "finished" if run.exit_code == 0 else "failed" if run.exit_code else "running",
        "group": run.fields.get("groupName"),
        "jobType": run.fields.get("jobType"),
        "systemMetrics": "{}",
        "createdAt": "2026-01-01T00:00:00",
        "heartbeatAt": "2026-01-01T00:00:00",
        "commit": None,
        "readOnly": False,
        "user": {"name": ENTITY, "username": ENTITY},
        "historyKeys": {"lastStep": rows[-1].get("_step", -1) if rows else -1, "keys": {}, "sets": []},
        "projectId": "1",
    }


def wait_until(condition: Any, seconds: float = 120.0) -> None:
    """Waits until a condition holds; fails where it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
