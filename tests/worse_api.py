"""An HTTP API of the worse kind, on loopback, whose faults a test switches on and off.

No ETags, time stamps of one second, deleted items that still answer 200 with a flag, batches that answer 200 with errors
inside, pages capped at 100 items, a ``modified_after`` that is strict and can be ignored, no idempotency keys, answers that
get lost.  ``python -m tests.worse_api`` serves it until it is interrupted.

    GET    /items?page=&per_page=&modified_after=&reference=   a list, oldest change first; X-Total, X-Total-Pages
    GET    /items/ID     POST /items     PUT /items/ID     DELETE /items/ID     POST /items/batch
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

Item = dict[str, Any]
TOKEN = "worse-token"
MAX_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the server saw it; ``at`` by `time.monotonic`."""

    at: float
    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Faults:
    """What goes wrong; each can be set at any time and holds for the next request."""

    ignore_modified_after: bool = False
    hide_totals: bool = False
    list_deleted: bool = True
    """Whether listings have deleted items, flagged; else only GET /items/ID tells."""
    honour_idempotency_keys: bool = False
    unavailable_share: float = 0.0
    """This share of the requests is answered 503, before anything is done."""
    limited_until: float = 0.0
    """Until then (`time.monotonic`) each request is answered 429; see `WorseApi.limit`."""
    limited_date: bool = False
    lose_answers: int = 0
    """So many writes are done, and then the connection is dropped without an answer."""
    drop_requests: int = 0
    """So many connections are dropped once the request is read, before anything is done."""
    stall_s: float = 0.0
    """Each answer waits so long, after the work is done."""
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    """The next answers, whatever is asked: status, headers, body."""


class WorseApi:
    """The items, and what a test does to them behind the API's back."""

    def __init__(self, *, seed: int = 0, now: Callable[[], datetime] | None = None) -> None:
        self.lock = threading.RLock()
        self.items: dict[int, Item] = {}
        self.faults = Faults()
        self.seen: list[Seen] = []
        self.url = ""
        self.now = now or (lambda: datetime.now(UTC))
        self._ids = itertools.count(1)
        self._random = random.Random(seed)
        self._created_by_key: dict[str, int] = {}

    def create(self, fields: Mapping[str, Any], *, modified: datetime | None = None) -> Item:
        """A new item, as if somebody else had made it."""
        with self.lock:
            item = {**fields, "id": next(self._ids), "deleted": False, "date_modified": self._stamp(modified)}
            self.items[item["id"]] = item
            return dict(item)

    def edit(self, item_id: int, fields: Mapping[str, Any], *, modified: datetime | None = None) -> Item:
        """Change an item, as if somebody else had done it.  A deleted one stays as it is."""
        with self.lock:
            item = self.items[item_id]
            if not item["deleted"]:
                item.update({**fields, "date_modified": self._stamp(modified)})
            return dict(item)

    def delete(self, item_id: int, *, modified: datetime | None = None) -> Item:
        """Flag an item as deleted."""
        with self.lock:
            item = self.items[item_id]
            if not item["deleted"]:
                item.update(deleted=True, date_modified=self._stamp(modified))
            return dict(item)

    def forget(self, item_id: int) -> None:
        """Take an item away for good: nothing tells of it any more."""
        with self.lock:
            del self.items[item_id]

    def live(self) -> dict[int, Item]:
        """A copy of what is not deleted."""
        with self.lock:
            return {key: dict(item) for key, item in self.items.items() if not item["deleted"]}

    def limit(self, for_s: float, *, as_date: bool = False) -> None:
        """Answer 429 for so long; ``Retry-After`` says how long still, in whole seconds or as a date."""
        self.faults.limited_date = as_date
        self.faults.limited_until = time.monotonic() + for_s

    def requests(self, method: str | None = None) -> list[Seen]:
        """What was asked since `forget_requests`, of one method or of all."""
        with self.lock:
            return [seen for seen in self.seen if method in (None, seen.method)]

    def forget_requests(self) -> None:
        with self.lock:
            self.seen.clear()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What the API answers, faults included."""
        with self.lock:
            faults, left_s = self.faults, self.faults.limited_until - time.monotonic()
            if faults.answers:
                status, extra, raw = faults.answers.pop(0)
                return Answer(status, raw, extra)
            if faults.drop_requests:
                faults.drop_requests -= 1
                return Answer(0)
            if left_s > 0:
                until = self.now() + timedelta(seconds=left_s + 0.999)
                text = format_datetime(until, usegmt=True) if faults.limited_date else str(int(left_s + 0.999))
                return Answer.of(429, {"code": "too_many"}, {"Retry-After": text})
            if self._random.random() < faults.unavailable_share:
                return Answer.of(503, {"code": "unavailable"})
            if headers.get("Authorization") != f"Bearer {TOKEN}":
                return Answer.of(401, {"code": "unauthorized", "message": "bad token"})
            answer = self._route(method, target, headers, body)
            if faults.lose_answers and method != "GET":
                faults.lose_answers -= 1
                return Answer(0)
            return answer

    def _route(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        parts = urlsplit(target)
        try:
            content = json.loads(body) if body else {}
        except ValueError:
            return Answer.of(400, {"code": "bad_json"})
        path = parts.path.strip("/").split("/")
        if path == ["items"] and method == "GET":
            return self._listing(dict(parse_qsl(parts.query)))
        if path == ["items"] and method == "POST":
            return self._created(content, headers.get("Idempotency-Key"))
        if path == ["items", "batch"] and method == "POST":
            return self._batch(content)
        if len(path) == 2 and path[0] == "items" and path[1].isdecimal():
            return self._one(method, int(path[1]), content)
        return Answer.of(404, {"code": "no_such_route"})

    def _listing(self, query: dict[str, str]) -> Answer:
        per_page = min(MAX_PER_PAGE, int(query.get("per_page", 10)))
        page = int(query.get("page", 1))
        items = sorted(self.items.values(), key=lambda item: (item["date_modified"], item["id"]))
        if not self.faults.list_deleted:
            items = [item for item in items if not item["deleted"]]
        if "modified_after" in query and not self.faults.ignore_modified_after:
            items = [item for item in items if item["date_modified"] > query["modified_after"]]
        if "reference" in query:
            items = [item for item in items if item.get("reference") == query["reference"]]
        pages = -(-len(items) // per_page)
        totals = {} if self.faults.hide_totals else {"X-Total": str(len(items)), "X-Total-Pages": str(pages)}
        return Answer.of(200, items[(page - 1) * per_page : page * per_page], totals)

    def _one(self, method: str, item_id: int, content: Mapping[str, Any]) -> Answer:
        if item_id not in self.items:
            return Answer.of(404, {"code": "not_found", "message": f"no item {item_id}"})
        if method == "GET":
            return Answer.of(200, self.items[item_id])
        if method == "DELETE":
            return Answer.of(200, self.delete(item_id))
        if method == "PUT":
            wrong = self._wrong(content, new=False)
            return Answer.of(400, wrong) if wrong else Answer.of(200, self.edit(item_id, self._own(content)))
        return Answer.of(405, {"code": "method_not_allowed"})

    def _created(self, content: Mapping[str, Any], key: str | None) -> Answer:
        if wrong := self._wrong(content, new=True):
            return Answer.of(400, wrong)
        if self.faults.honour_idempotency_keys and key is not None:
            if key in self._created_by_key:
                return Answer.of(200, self.items[self._created_by_key[key]])
            item = self.create(self._own(content))
            self._created_by_key[key] = item["id"]
            return Answer.of(201, item)
        return Answer.of(201, self.create(self._own(content)))

    def _batch(self, content: Mapping[str, Any]) -> Answer:
        if sum(len(entries) for entries in content.values()) > MAX_PER_PAGE:
            return Answer.of(413, {"code": "too_many_entries"})
        answers: dict[str, list[Any]] = {}
        for name, entries in content.items():
            for entry in entries:
                if name == "create":
                    answer = self._created(entry, None)
                else:
                    item_id = int(entry["id"] if isinstance(entry, dict) else entry)
                    method = {"update": "PUT", "delete": "DELETE"}[name]
                    answer = self._one(method, item_id, entry if isinstance(entry, dict) else {})
                result = json.loads(answer.body)
                wrong = answer.status >= 400
                answers.setdefault(name, []).append({"error": {**result, "status": answer.status}} if wrong else result)
        return Answer.of(200, answers)

    def _wrong(self, content: Mapping[str, Any], *, new: bool) -> dict[str, str] | None:
        if (new or "name" in content) and not content.get("name"):
            return {"code": "invalid", "message": "name must not be empty"}
        return None

    def _own(self, content: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in content.items() if key not in ("id", "deleted", "date_modified")}

    def _stamp(self, modified: datetime | None) -> str:
        return (modified or self.now()).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` 0: none at all, the connection is dropped."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, content: Any, headers: Mapping[str, str] | None = None) -> Answer:
        return cls(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})


@contextmanager
def worse_api(api: WorseApi | None = None, *, port: int = 0) -> Iterator[WorseApi]:
    """The API, served on loopback while the block runs."""
    state = api or WorseApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one segment each: without this every answer waits 40 ms for a delayed acknowledgement.
        disable_nagle_algorithm = True
        wbufsize = -1

        def answer(self) -> None:
            at = time.monotonic()
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = state.answer(self.command, self.path, self.headers, body)  # type: ignore[arg-type]
            with state.lock:
                state.seen.append(Seen(at, self.command, self.path, answer.status, dict(self.headers), body))
            if state.faults.stall_s:
                time.sleep(state.faults.stall_s)
            if answer.status == 0:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(state.now(), usegmt=True)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def worse() -> Iterator[WorseApi]:
    """An empty API of the worse kind."""
    with worse_api() as api:
        yield api


if __name__ == "__main__":
    with worse_api() as served:
        print(f"{served.url}/items, bearer token {TOKEN}", flush=True)
        threading.Event().wait()
