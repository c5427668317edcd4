"""No page and no action without login, role, token and reason; nothing of other people's text becomes markup."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import requests

from runstate.statuses import RunStatus
from tests.integration.flower_pages import Site, flower_site
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.kinds import KEYED

pytestmark = pytest.mark.usefixtures("machinery")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egnp.exe\u2066"
PAGES = ("", "runs", "dead-letters", "locks", "audit")


@pytest.fixture
def site(machinery: None) -> Iterator[Site]:
    """Flower with an admin, an operator, a viewer, and one without a role of its own."""
    with flower_site() as running:
        yield running


def dead_letter(**payload: object) -> tuple[str, int]:
    """A completed run and its one dead letter."""
    job = {"fails": 1, "error": "permanent", "message": "broken", **payload}
    run_id = planned(KEYED, jobs=[job, {}])
    work_off(KEYED, run_id)
    return run_id, query("SELECT MAX(id) FROM dead_letters")[0][0]


def addresses(run_id: str, letter: int) -> list[str]:
    """Every page, and the form of every action."""
    return [
        *(f"/holdfast/{page}" for page in PAGES),
        f"/holdfast/runs/{run_id}",
        *(f"/holdfast/runs/{run_id}/{action}" for action in ("pause", "resume", "cancel", "recover", "retry")),
        f"/holdfast/dead-letters/{letter}",
        f"/holdfast/dead-letters/{letter}/edit",
        f"/holdfast/dead-letters/replay?id={letter}",
        f"/holdfast/dead-letters/discard?id={letter}",
        "/holdfast/operations/0123456789abcdef",
        "/holdfast/locks/release",
        "/holdfast/limits/pause?key=k",
        "/holdfast/metrics",
    ]


def test_nothing_is_shown_or_done_without_login(site: Site) -> None:
    """No password, a wrong one, another user's: 401 for each page and each action."""
    run_id, letter = dead_letter()
    for auth in (None, ("ada", "wrong"), ("eve", "pw")):
        for path in addresses(run_id, letter):
            assert requests.get(site.url + path, auth=auth, timeout=20).status_code == 401, path
            assert requests.post(site.url + path, auth=auth, data={"reason": "x"}, timeout=20).status_code == 401, path


def test_flowers_buttons_ask_for_the_password(site: Site) -> None:
    """A browser whose first page was one of ours sends none to Flower's API unless it is asked."""
    refused = requests.post(f"{site.url}/api/worker/queue/add-consumer/w@h", data={"queue": "q"}, timeout=20)
    assert (refused.status_code, refused.headers.get("WWW-Authenticate")) == (401, 'Basic realm="flower"')


def test_prometheus_reads_with_a_viewers_password(site: Site) -> None:
    """The text format, not a page; who has no role gets nothing."""
    planned(KEYED, n=6)
    answer = site.browser("vic").get("/holdfast/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'holdfast_jobs{kind="keyed",state="queued"} 4.0' in answer.text
    assert site.browser("nobody").get("/holdfast/metrics").status_code == 403


def test_without_any_login_configured_the_pages_stay_closed(machinery: None) -> None:
    """Flower without auth lets everybody in; the pages then let nobody in."""
    with flower_site(basic_auth=[]) as site:
        assert requests.get(site.url + "/workers", timeout=20).status_code == 200
        assert requests.get(site.url + "/holdfast/", timeout=20).status_code == 403
        # A name that nobody has checked is nobody's.
        assert requests.get(site.url + "/holdfast/", auth=("ada", "anything"), timeout=20).status_code == 403
        assert requests.post(f"{site.url}/holdfast/limits/pause", auth=("ada", ""), timeout=20).status_code == 403


ROLES = [
    # action, form fields, and what viewer, operator and admin are answered
    ("runs/{run}/pause", {}, (403, 303, 303)),
    ("runs/{run}/cancel", {}, (403, 303, 303)),
    ("runs/{stale}/recover", {"how": "fail", "heartbeat": "{beat}"}, (403, 303, 303)),
    ("runs/{stale}/recover", {"how": "fail", "force": "1"}, (403, 403, 303)),
    ("runs/{ended}/retry", {}, (403, 303, 303)),
    ("runs/{ended}/retry", {"over_newer": "1"}, (403, 403, 303)),
    ("dead-letters/{letter}/edit", {"payload": "{{}}"}, (403, 303, 303)),
    ("dead-letters/replay", {"id": "{letter}", "expected": "1"}, (403, 303, 303)),
    ("dead-letters/replay", {"id": "{letter}", "expected": "1", "over_newer": "1"}, (403, 403, 303)),
    ("dead-letters/discard", {"id": "{letter}", "expected": "1"}, (403, 303, 303)),
    ("dead-letters/discard", {"all": "1", "expected": "9"}, (403, 403, 303)),
    ("limits/pause", {"key": "email:x", "for_s": "5"}, (403, 303, 303)),
    ("locks/release", {"key": "k", "token": "t", "force": "1"}, (403, 403, 404)),
]


@pytest.mark.parametrize(("path", "fields", "answers"), ROLES, ids=[f"{r[0]} {' '.join(r[1])}" for r in ROLES])
def test_each_action_asks_for_its_role(site: Site, path: str, fields: dict[str, str], answers: tuple[int, ...]) -> None:
    """On the server, whatever the page offers; a refusal changes nothing and writes nothing."""
    wanted = path + " ".join(fields.values())
    for user, answer in zip(("vic", "olga", "ada"), answers, strict=True):
        execute("DELETE FROM audit_log")
        names = _subjects(user, wanted)
        sent = {name: value.format(**names) for name, value in fields.items()}
        # The token of any form of theirs; a viewer has none: see the next test for one with a true token.
        form_at = "/holdfast/limits/pause?key=any"
        said = site.browser(user).post(f"/holdfast/{path.format(**names)}", form_at, reason="because", **sent)
        assert said.status_code == answer, (user, said.text[-1500:])
        acted = query("SELECT actor, reason FROM audit_log")
        if answer == 303:
            assert set(acted) == {(user, "because")}
        else:
            assert acted == []


def _subjects(user: str, wanted: str) -> dict[str, object]:
    """What the address and the fields name: a running run, a stale one with its heartbeat, an ended one, its letter."""
    names: dict[str, object] = {}
    if "{ended}" in wanted or "dead-letters" in wanted:
        names["ended"], names["letter"] = dead_letter(key=user)
    if "{run}" in wanted:
        names["run"] = planned(KEYED, n=1, key=f"r-{user}")
    if "{stale}" in wanted:
        names["stale"] = planned(KEYED, n=1, key=f"s-{user}")
        execute("UPDATE runs SET heartbeat_at = NOW(6) - INTERVAL 1 HOUR")
        execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 1 HOUR")
        names["beat"] = run_of(str(names["stale"])).heartbeat_at.isoformat()  # type: ignore[union-attr]
    return names


def test_a_viewer_with_a_true_token_is_still_refused(site: Site) -> None:
    """The role is asked for apart from the token."""
    from flower.urls import settings

    from ops.pages import csrf

    run_id = planned(KEYED, n=1)
    vic = site.browser("vic")
    vic.session.cookies.set(csrf.COOKIE, "nonce")
    token = csrf.token(settings["cookie_secret"], "nonce", "vic")
    said = vic.post(f"/holdfast/runs/{run_id}/pause", csrf_token=token, reason="x")
    assert said.status_code == 403
    assert "takes operator" in said.text
    assert run_of(run_id).status is RunStatus.RUNNING


def test_a_forged_form_is_refused(site: Site) -> None:
    """Another site's, without a token, with another user's token, without the cookie: 403, and nothing happens."""
    run_id = planned(KEYED, n=1)
    path = f"/holdfast/runs/{run_id}/cancel"
    olga, ada = site.browser("olga"), site.browser("ada")
    good, others = olga.token(path), ada.token(path)
    assert len(good) == 64 and good != others
    assert olga.post(path, origin="https://evil.example", reason="x").status_code == 403
    assert olga.post(path, origin="null", reason="x").status_code == 403
    assert olga.post(path, csrf_token="", reason="x").status_code == 403
    assert olga.post(path, csrf_token=others, reason="x").status_code == 403
    fetched = olga.session.post(
        site.url + path, data={"csrf_token": good, "reason": "x"}, headers={"Sec-Fetch-Site": "cross-site"}, timeout=20
    )
    assert fetched.status_code == 403
    olga.session.cookies.clear()
    assert (
        requests.post(
            site.url + path, auth=("olga", "pw"), data={"csrf_token": good, "reason": "x"}, timeout=20
        ).status_code
        == 403
    )
    assert run_of(run_id).status is RunStatus.RUNNING
    assert site.browser("olga").post(path, reason="x").status_code == 303


def test_cookies_and_headers_are_strict(site: Site) -> None:
    """The token's cookie is not for scripts nor for other sites; the policy allows nothing from elsewhere, nothing inline."""
    run_id = planned(KEYED, n=1)
    page = site.browser("olga").get(f"/holdfast/runs/{run_id}/pause")
    cookie = next(c for c in page.raw.headers.getlist("Set-Cookie") if c.startswith("holdfast_csrf="))
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert page.headers["X-Frame-Options"] == "DENY" and page.headers["Cache-Control"] == "no-store"
    assert "<style" not in page.text and " style=" not in page.text and "<script>" not in page.text


def test_read_only_flower_changes_nothing_for_an_admin(machinery: None) -> None:
    """Pages are shown, no action is offered, forms and posts are refused."""
    run_id, letter = dead_letter()
    running = planned(KEYED, n=1, key="other")
    with flower_site(read_only=True) as site:
        ada = site.browser("ada")
        shown = ada.get(f"/holdfast/runs/{running}")
        assert shown.status_code == 200 and "/cancel" not in shown.text and "read-only" in shown.text
        assert "discard" not in ada.get("/holdfast/dead-letters").text.lower().replace("discarded", "")
        for path in (f"runs/{running}/cancel", f"runs/{run_id}/retry", f"dead-letters/{letter}/edit"):
            assert ada.get(f"/holdfast/{path}").status_code == 403
            assert ada.post(f"/holdfast/{path}", reason="x", payload="{}").status_code == 403
    assert run_of(running).status is RunStatus.RUNNING
    assert query("SELECT COUNT(*) FROM audit_log") == [(0,)]


def test_an_action_needs_a_reason(site: Site) -> None:
    """Without one the form comes back, and nothing is done."""
    _, letter = dead_letter()
    running = planned(KEYED, n=1, key="other")
    ada = site.browser("ada")
    for path, fields in (
        (f"runs/{running}/pause", {}),
        (f"dead-letters/{letter}/edit", {"payload": "{}"}),
        ("dead-letters/discard", {"id": letter, "expected": 1}),
    ):
        said = ada.post(f"/holdfast/{path}", f"/holdfast/runs/{running}/pause", reason="  ", **fields)
        assert said.status_code == 400 and "audit log" in said.text
    assert query("SELECT COUNT(*) FROM audit_log") == [(0,)]
    assert run_of(running).status is RunStatus.RUNNING


def test_hostile_text_is_shown_and_never_markup(site: Site) -> None:
    """In keys, errors, payloads, reasons, arguments, filters: escaped, and marks that turn the direction made visible."""
    job = {"fails": 1, "error": "permanent", "message": HOSTILE, HOSTILE: HOSTILE}
    run_id = planned(KEYED, key=HOSTILE, jobs=[job])
    work_off(KEYED, run_id)
    letter = query("SELECT id FROM dead_letters")[0][0]
    execute("UPDATE runs SET reason = :h, requested_by = :h WHERE run_id = :r", h=HOSTILE, r=run_id)
    execute(
        "INSERT INTO audit_log (at, actor, action, subject, reason, before_state, after_state)"
        " VALUES (NOW(6), :h, 'pause', :r, :h, :d, :d)",
        h=HOSTILE,
        r=run_id,
        d=json.dumps({"x": HOSTILE}),
    )
    ada = site.browser("ada")
    for path in [
        *addresses(run_id, letter),
        "/holdfast/runs?" + requests.compat.urlencode({"text": HOSTILE, "key": HOSTILE}),
    ]:
        for address in (path, path + ("&" if "?" in path else "?") + "live=1"):
            page = ada.get(address).text
            text = " ".join(json.loads(page).get("parts", {}).values()) if page.startswith("{") else page
            assert "<script>alert" not in text and "<img" not in text.replace('<img src="/static/favicon.ico', ""), (
                address
            )
            assert "\u202e" not in text and "\u2066" not in text, address
    shown = ada.get(f"/holdfast/runs/{run_id}").text
    assert "&lt;script&gt;alert(1)" in shown and "\\u202e" in shown


def test_secrets_are_masked_wherever_values_are_shown(site: Site) -> None:
    """Arguments, payloads, edit forms, errors, the audit log's before and after."""
    secret = "s3cr3t-value"
    job = {
        "fails": 1,
        "error": "permanent",
        "message": f"password={secret}",
        "api_key": secret,
        "deep": [{"authToken": secret}],
    }
    run_id = planned(KEYED, jobs=[job], password=secret, url=f"https://me:{secret}@host/x")
    work_off(KEYED, run_id)
    letter = query("SELECT id FROM dead_letters")[0][0]
    ada = site.browser("ada")
    ada.post(f"/holdfast/dead-letters/{letter}/edit", reason="x", payload=json.dumps({"token": secret}))
    for path in [*addresses(run_id, letter), f"/holdfast/audit?subject=dead_letter:{letter}"]:
        assert secret not in ada.get(path).text, path


def test_a_mask_is_never_written_back(site: Site) -> None:
    """Left where it stands it keeps the secret; anywhere else the edit is refused."""
    _, letter = dead_letter(password="hunter2", url="https://me:pw@host/", n=1)
    ada = site.browser("ada")
    path = f"/holdfast/dead-letters/{letter}/edit"
    shown = {"password": "••••••", "url": "https://••••••@host/", "fails": 0, "n": 2}
    assert ada.post(path, reason="x", payload=json.dumps(shown)).status_code == 303
    stored = json.loads(query("SELECT edited_payload FROM dead_letters")[0][0])
    assert stored == {"password": "hunter2", "url": "https://me:pw@host/", "fails": 0, "n": 2}
    for moved in ({"other": "••••••"}, {"password": "x••••••"}, {"url": "https://••••••@evil/"}, ["••••••"], "••••••"):
        assert ada.post(path, reason="x", payload=json.dumps(moved)).status_code == 400, moved
    assert ada.post(path, reason="x", payload="{no").status_code == 400
    assert json.loads(query("SELECT edited_payload FROM dead_letters")[0][0]) == stored


def test_flowers_own_buttons_ask_for_roles_and_are_audited(site: Site) -> None:
    """A viewer cannot stop workers; an operator may revoke; what ends workers or sends tasks is an admin's."""
    asked = {"/api/worker/shutdown/w@h": "ada", "/api/task/send-task/x": "ada", "/api/task/revoke/some-id": "olga"}
    for path, least in asked.items():
        for user in ("vic", "olga", "ada"):
            execute("DELETE FROM audit_log")
            said = site.browser(user).session.post(site.url + path, data="{}", timeout=20)
            refused = user == "vic" or (user == "olga" and least == "ada")
            assert (said.status_code == 403) == refused, (path, user, said.status_code, said.text)
            assert [row[0] for row in query("SELECT actor FROM audit_log")] == ([] if refused else [user])


def test_a_user_without_a_role_sees_nothing_of_the_pages(site: Site) -> None:
    """Where roles are named and nobody else is, whoever else can log in to Flower has none."""
    assert site.browser("nobody").get("/holdfast/").status_code == 403
