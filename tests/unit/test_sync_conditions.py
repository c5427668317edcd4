"""Versions and conditions of the REST base, by answers that a test writes down."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.sync.conditions import etag_version, if_match, must_read_first, seen_version
from tasks.sync.http import Http
from tasks.sync.remote_errors import NotFound, OutcomeUnknown, Rejected, VersionMoved
from tasks.sync.rest import RestConnector
from tests.worse_api import WorseApi
from tests.worse_items import address_of

T = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Tagged(RestConnector):
    path = "v1/things"
    record_at = wrapped_in = "data"
    records_at = "data"
    conditional_writes = chosen_ids = True
    idempotency_header = "Idempotency-Key"


class Replacing(RestConnector):
    path = "things"
    update_method = "PUT"
    update_replaces = True


def body(**fields: Any) -> bytes:
    return json.dumps({"data": {"id": 1, **fields}}).encode()


@pytest.mark.parametrize(
    "etag, version",
    (('"a"', 'etag:"a"'), ("abc", "etag:abc"), ('W/"a"', None), ('w/"a"', None), ("", None), (None, None)),
)
def test_only_strong_etags_are_versions(etag: str | None, version: str | None) -> None:
    """If-Match never fits a weak one, so a write bound to it could never be made."""
    assert etag_version(etag) == version


def test_what_was_seen_has_one_version() -> None:
    """The order of fields does not count; any value and the time of change do."""
    version = seen_version({"a": 1, "b": [2]}, T)
    assert seen_version({"b": [2], "a": 1}, T) == version
    others = {
        seen_version({"a": 1, "b": [3]}, T),
        seen_version({"a": "1", "b": [2]}, T),
        seen_version({"a": 1, "b": [2]}, None),
    }
    assert len(others | {version}) == 4
    assert must_read_first(version) and not must_read_first('etag:"a"') and not must_read_first(None)
    assert if_match(version) == {} and if_match('etag:"a"') == {"If-Match": '"a"'}


def test_an_etag_goes_along_with_the_write(worse: WorseApi) -> None:
    """One request, bound to the version by the API itself; the answer's ETag is the next version."""
    things = Tagged(Http(address_of(worse)))
    worse.faults.answers = [
        (200, {"ETag": '"v1"'}, body(name="old")),
        (200, {"ETag": '"v2"'}, body(name="new")),
        (412, {}, b"moved"),
        (409, {}, b"conflict"),
        (204, {}, b""),
    ]
    read = things.get("1")
    assert read is not None
    written = things.update("1", {"name": "new"}, if_version=read.version)
    assert written.version == 'etag:"v2"'
    for _ in range(2):
        with pytest.raises(VersionMoved):
            things.update("1", {"name": "newer"}, if_version=written.version)
    things.delete("1", if_version=written.version)
    assert [(seen.method, seen.headers.get("If-Match")) for seen in worse.requests()] == [
        ("GET", None),
        ("PATCH", '"v1"'),
        ("PATCH", '"v2"'),
        ("PATCH", '"v2"'),
        ("DELETE", '"v2"'),
    ]
    assert json.loads(worse.requests("PATCH")[0].body) == {"data": {"name": "new"}}


def test_the_etag_of_the_read_closes_the_gap(worse: WorseApi) -> None:
    """A version from a listing without ETags is compared by reading, and the write is bound to what was read."""
    things = Tagged(Http(address_of(worse)))
    worse.faults.answers = [
        (200, {}, json.dumps({"data": [{"id": 1, "name": "old"}]}).encode()),
        (200, {"ETag": '"v1"'}, body(name="old")),
        (200, {"ETag": '"v2"'}, body(name="new")),
        (200, {"ETag": '"v3"'}, body(name="theirs")),
    ]
    (listed,) = things.list_changes(None).records
    things.update("1", {"name": "new"}, if_version=listed.version)
    assert worse.requests("PATCH")[0].headers["If-Match"] == '"v1"'
    with pytest.raises(VersionMoved) as moved:
        things.update("1", {"name": "new"}, if_version=listed.version)
    assert moved.value.current is not None and moved.value.current.version == 'etag:"v3"'


def test_a_409_without_a_condition_is_a_refusal(worse: WorseApi) -> None:
    """A conflict of another sort (a name that is taken) is not merged again and again."""
    things = Tagged(Http(address_of(worse)))
    worse.faults.answers = [(409, {}, b"name is taken")]
    with pytest.raises(Rejected, match="taken"):
        things.update("1", {"name": "new"}, if_version=None)


def test_creates_carry_their_key_or_their_id(worse: WorseApi) -> None:
    """The key goes into its header; a chosen id is made only where there is none; 201 without a body is read."""
    things = Tagged(Http(address_of(worse)))
    worse.faults.answers = [
        (201, {}, body(name="x")),
        (201, {}, body(name="x")),
        (412, {}, b""),
        (201, {"Location": "/v1/things/1"}, b""),
        (200, {"ETag": '"v1"'}, body(name="x")),
        (201, {"Location": "/v1/things/1"}, b""),
        (503, {}, b""),
    ]
    things.create({"name": "x"}, idempotency_key="k1")
    things.create({"name": "x"}, idempotency_key="k2", remote_id="1")
    with pytest.raises(VersionMoved):
        things.create({"name": "x"}, idempotency_key="k3", remote_id="1")
    assert things.create({"name": "x"}, idempotency_key="k4").version == 'etag:"v1"'
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        things.create({"name": "x"}, idempotency_key="k5")
    seen = worse.requests()
    assert [(one.method, one.path, one.headers.get("If-None-Match")) for one in seen[:3]] == [
        ("POST", "/v1/things", None),
        ("PUT", "/v1/things/1", "*"),
        ("PUT", "/v1/things/1", "*"),
    ]
    assert [one.headers.get("Idempotency-Key") for one in seen] == ["k1", "k2", "k3", "k4", None, "k5", None]


def test_an_id_cannot_be_chosen_where_the_api_chooses(worse: WorseApi) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(Rejected, match="cannot choose"):
        Replacing(Http(address_of(worse))).create({"name": "x"}, idempotency_key="k", remote_id="1")
    assert worse.requests() == []


def test_an_api_that_replaces_gets_the_whole_record(worse: WorseApi) -> None:
    """What we do not map is read and sent back, or it would be lost."""
    things = Replacing(Http(address_of(worse)))
    theirs = b'{"id": 1, "name": "old", "theirs": 7}'
    worse.faults.answers = [(200, {}, theirs), (200, {}, b'{"id": 1, "name": "new", "theirs": 7}')]
    things.update("1", {"name": "new"}, if_version=None)
    assert json.loads(worse.requests("PUT")[0].body) == {"name": "new", "theirs": 7}


def test_an_update_without_an_answer_is_read(worse: WorseApi) -> None:
    """204 says nothing of the record; if it cannot be read, or is gone, that is said."""
    things = Tagged(Http(address_of(worse)))
    worse.faults.answers = [
        (204, {}, b""),
        (200, {"ETag": '"v2"'}, body(name="new")),
        (204, {}, b""),
        (503, {}, b""),
        (204, {}, b""),
        (404, {}, b""),
    ]
    assert things.update("1", {"name": "new"}, if_version=None).version == 'etag:"v2"'
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        things.update("1", {"name": "new"}, if_version=None)
    with pytest.raises(NotFound):
        things.update("1", {"name": "new"}, if_version=None)
