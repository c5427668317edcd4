"""Every guard of every action by itself: with all the others satisfied, the one that is left refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from flower.urls import settings as flower_settings
from tornado.web import RequestHandler

from locks import TokenLock
from locks.limits import RateLimiter
from ops.pages import csrf, locks
from ops.pages.routes import routes
from runstate.statuses import RunStatus
from tasks import clients
from tests.integration.flower_pages import Browser, Site, flower_site
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.kinds import KEYED

pytestmark = pytest.mark.usefixtures("machinery")

ACTIONS: dict[str, list[tuple[str, dict[str, str]]]] = {
    "holdfast-run-action": [
        ("/holdfast/runs/{run}/pause", {}),
        ("/holdfast/runs/{run}/resume", {}),
        ("/holdfast/runs/{run}/cancel", {}),
        ("/holdfast/runs/{run}/recover", {"how": "fail", "force": "1"}),
        ("/holdfast/runs/{ended}/retry", {}),
    ],
    "holdfast-letter-edit": [("/holdfast/dead-letters/{letter}/edit", {"payload": "{{}}"})],
    "holdfast-letters-action": [
        ("/holdfast/dead-letters/replay", {"id": "{letter}", "expected": "1"}),
        ("/holdfast/dead-letters/discard", {"id": "{letter}", "expected": "1"}),
        ("/holdfast/dead-letters/discard", {"all": "1", "expected": "9"}),
    ],
    "holdfast-lock-release": [("/holdfast/locks/release", {"key": "{key}", "token": "{token}", "force": "1"})],
    "holdfast-limit": [
        ("/holdfast/limits/pause", {"key": "email:x", "for_s": "5"}),
        ("/holdfast/limits/resume", {"key": "email:x"}),
    ],
}
"""What each of our addresses that takes a form can be asked to do, by the name of its route."""
EACH = [(name, path, fields) for name, given in ACTIONS.items() for path, fields in given]
IDS = [f"{path.rpartition('/')[2]} {' '.join(fields)}" for _, path, fields in EACH]


def test_every_address_that_takes_a_form_is_tried_here() -> None:
    """An action that is added without its line above fails this test, not an operator."""
    posting = {spec.name for spec in routes() if spec.handler_class.post is not RequestHandler.post}
    assert posting == set(ACTIONS)


@pytest.fixture
def site(machinery: None) -> Iterator[Site]:
    """Flower with users of each role."""
    with flower_site() as running:
        yield running


@pytest.fixture
def subjects() -> dict[str, str]:
    """A running run, an ended one with its letter, a lock that is held, a limit's key that is paused."""
    job = {"fails": 1, "error": "permanent", "message": "broken"}
    ended = planned(KEYED, jobs=[job, {}], key="ended")
    work_off(KEYED, ended)
    lock = TokenLock(clients.redis(), ["admission", "keyed", "k"], 60, "me")
    assert lock.try_acquire()
    (held,) = locks._held()
    RateLimiter(clients.redis()).pause("email:x", 60, reason="they asked for it")
    return {
        "run": planned(KEYED, n=1, key="r"),
        "ended": ended,
        "letter": str(query("SELECT MAX(id) FROM dead_letters")[0][0]),
        "key": held.key,
        "token": held.holder.token,
    }


def with_token(site: Site, user: str) -> tuple[Browser, str]:
    """A browser with a cookie and the token that fits it, whatever this user is offered."""
    browser = site.browser(user)
    browser.session.cookies.set(csrf.COOKIE, "nonce")
    return browser, csrf.token(flower_settings["cookie_secret"], "nonce", user)


def state() -> list[Any]:
    """All that an action could change."""
    return [
        query("SELECT run_id, status, fence FROM runs ORDER BY run_id"),
        query("SELECT id, status, edited_payload FROM dead_letters ORDER BY id"),
        query("SELECT COUNT(*) FROM audit_log"),
        [lock.holder.token for lock in locks._held()],
        [limited.pause is not None for limited in locks._limits()],
    ]


def filled(path: str, fields: dict[str, str], names: dict[str, str]) -> tuple[str, dict[str, str]]:
    return path.format(**names), {name: value.format(**names) for name, value in fields.items()}


@pytest.mark.parametrize(("name", "path", "fields"), EACH, ids=IDS)
def test_each_action_has_each_guard(
    site: Site, subjects: dict[str, str], name: str, path: str, fields: dict[str, str]
) -> None:
    """Role, token, origin, reason: each alone is enough to refuse, and then nothing has changed."""
    address, sent = filled(path, fields, subjects)
    before = state()
    vic, vics = with_token(site, "vic")
    role = vic.post(address, csrf_token=vics, reason="x", **sent)
    assert role.status_code == 403 and " takes " in role.text, role.text[-500:]
    nobody, theirs = with_token(site, "nobody")
    assert nobody.post(address, csrf_token=theirs, reason="x", **sent).status_code == 403
    ada, adas = with_token(site, "ada")
    for wrong in ("", vics, adas[:-1] + ("0" if adas[-1] != "0" else "1")):
        said = ada.post(address, csrf_token=wrong, reason="x", **sent)
        assert said.status_code == 403 and "load its page again" in said.text, said.text[-500:]
    foreign = ada.post(address, csrf_token=adas, origin="https://evil.example", reason="x", **sent)
    assert foreign.status_code == 403 and "another site" in foreign.text
    unsaid = ada.post(address, csrf_token=adas, reason=" \t", **sent)
    assert unsaid.status_code == 400 and "Say why" in unsaid.text
    assert 'role="alert"' in unsaid.text, "the error stands on the form"
    assert state() == before
    stranger = requests.post(site.url + address, data={"reason": "x", "csrf_token": adas, **sent}, timeout=20)
    assert stranger.status_code == 401 and state() == before


@pytest.mark.parametrize(("name", "path", "fields"), EACH, ids=IDS)
def test_each_action_is_refused_read_only(
    subjects: dict[str, str], name: str, path: str, fields: dict[str, str]
) -> None:
    """An admin with a true token and a reason, and the form itself: 403 because of ``--read-only`` and of nothing else."""
    address, sent = filled(path, fields, subjects)
    before = state()
    with flower_site(read_only=True) as site:
        ada, token = with_token(site, "ada")
        said = ada.post(address, csrf_token=token, reason="x", **sent)
        assert said.status_code == 403 and "--read-only" in said.text, said.text[-500:]
        form = ada.get(f"{address}?id={subjects['letter']}&key={sent.get('key', '')}&token={sent.get('token', '')}")
        assert form.status_code == 403 and "--read-only" in form.text
    assert state() == before


def test_flowers_own_buttons_are_refused_read_only_and_from_other_sites(machinery: None) -> None:
    """Whoever may; nothing reaches a worker, nothing is written."""
    with flower_site(read_only=True) as site:
        said = site.browser("ada").session.post(f"{site.url}/api/worker/shutdown/w@h", data="{}", timeout=20)
        assert said.status_code == 403
    with flower_site() as site:
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            said = site.browser("ada").session.post(
                f"{site.url}/api/task/revoke/x", data="{}", headers=headers, timeout=20
            )
            assert said.status_code == 403, headers
    assert query("SELECT COUNT(*) FROM audit_log") == [(0,)]


def test_a_lock_that_changed_hands_after_the_look_stays_with_its_new_holder(
    site: Site, subjects: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken anew between the page's own look and the release: the token is compared in Redis once more."""
    seen = locks._held()
    client = clients.redis()
    client.delete(subjects["key"])
    new = TokenLock(client, ["admission", "keyed", "k"], 60, "somebody else")
    assert new.try_acquire()
    # The page looks a moment before the change.
    monkeypatch.setattr(locks, "_held", lambda: seen)
    ada, token = with_token(site, "ada")
    said = ada.post(
        "/holdfast/locks/release",
        csrf_token=token,
        reason="x",
        force="1",
        key=subjects["key"],
        token=subjects["token"],
    )
    assert said.status_code == 303
    monkeypatch.undo()
    (held,) = locks._held()
    assert held.holder.owner == "somebody else"
    assert "Nothing was done" in ada.get(said.headers["Location"]).text


@pytest.mark.parametrize("sort", ["newest", "oldest", "finished"])
def test_runs_of_one_moment_are_each_on_one_page(site: Site, sort: str) -> None:
    """One second for all of them: without the id as a tie-break pages would repeat or lose some."""
    for number in range(120):
        execute(
            "INSERT INTO runs (run_id, kind, admission_key, admission_hash, status, args, requested_at, finished_at,"
            " requested_by) VALUES (:id, 'keyed', 'k', SHA2('k', 256), 'completed', '{}', '2026-01-01', '2026-01-02', 'me')",
            # The last in the order of ids was written first.
            id=f"{(number * 7919) % 100_000:08x}-0000-4000-8000-000000000000",
        )
    vic, seen, path = site.browser("vic"), list[str](), f"/holdfast/runs?sort={sort}"
    while path:
        page = vic.get(path).text
        seen += re.findall(r'data-open href="/holdfast/runs/([0-9a-f-]{36})"', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = following.group(1).replace("&amp;", "&") if following else ""
    assert len(seen) == len(set(seen)) == 120


def test_each_action_is_audited_with_who_is_logged_in_whatever_the_form_says(
    site: Site, subjects: dict[str, str]
) -> None:
    """A name in the form is nobody's: the actor is whoever Flower has let in."""
    olga, token = with_token(site, "olga")
    for action in ("pause", "resume"):
        said = olga.post(
            f"/holdfast/runs/{subjects['run']}/{action}",
            csrf_token=token,
            reason="because",
            actor="ada",
            user="ada",
            requested_by="ada",
        )
        assert said.status_code == 303
    assert set(query("SELECT actor, reason FROM audit_log")) == {("olga", "because")}
    assert run_of(subjects["run"]).status is RunStatus.RUNNING
