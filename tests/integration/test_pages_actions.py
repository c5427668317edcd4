"""What operators do on the pages happens as on the command line, and what stands in the way is said."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from locks import TokenLock
from ops.pages.operations import operations
from runstate.statuses import RunStatus
from tasks import clients
from tests.integration.flower_pages import Site, flower_site
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.kinds import FREE, KEYED

pytestmark = pytest.mark.usefixtures("machinery")


@pytest.fixture
def site(machinery: None) -> Iterator[Site]:
    """Flower with users of each role."""
    with flower_site() as running:
        yield running


def letters(count: int) -> str:
    """A completed run with so many dead letters of one trouble."""
    run_id = planned(FREE, jobs=[{"fails": 9, "error": "permanent", "message": "no such shop"}] * count)
    work_off(FREE, run_id)
    return run_id


def test_the_tabs_are_on_every_page_of_flower_under_its_prefix(machinery: None) -> None:
    """Flower's pages and ours have one navigation, and every link of it leads somewhere."""
    with flower_site(url_prefix="prefix") as site:
        ada = site.browser("ada")
        for page in ("/workers", "/holdfast/"):
            text = ada.get(page).text
            tabs = re.findall(r'class="nav-link(?: active)?"\s+href="(/prefix/[^"]+)"', text)
            assert len(tabs) >= 8
            for tab in tabs:
                assert ada.get(tab.removeprefix("/prefix")).status_code == 200, tab
        script = re.findall(r'src="(/prefix/holdfast/static/[^"]+)"', text)
        assert ada.get(script[0].removeprefix("/prefix")).status_code == 200
        run_id = planned(KEYED, n=1)
        done = ada.post(f"/holdfast/runs/{run_id}/pause", reason="x")
        assert done.headers["Location"] == f"/prefix/holdfast/runs/{run_id}"


def test_a_run_is_paused_resumed_and_cancelled(site: Site) -> None:
    """Each form says what will happen, with numbers; afterwards the run stands there, and its page says so."""
    run_id = planned(KEYED, n=3)
    olga = site.browser("olga")
    form = olga.get(f"/holdfast/runs/{run_id}/cancel").text
    assert "3 open jobs will not be done" in form and "key k" in form.lower()
    assert olga.post(f"/holdfast/runs/{run_id}/pause", reason="the shop closes").status_code == 303
    assert run_of(run_id).status is RunStatus.PAUSED
    shown = olga.get(f"/holdfast/runs/{run_id}").text
    assert "the run is paused now" in shown and "the shop closes" in shown and "Resume" in shown
    assert "the run is paused now" not in olga.get(f"/holdfast/runs/{run_id}").text
    again = olga.post(f"/holdfast/runs/{run_id}/pause", reason="twice")
    assert again.status_code == 409 and "cannot pause" in again.text and 'value="twice"' in again.text
    assert "The run is paused: there is nothing to pause now" in again.text
    assert "there is nothing to" not in olga.get(f"/holdfast/runs/{run_id}/resume").text
    assert olga.post(f"/holdfast/runs/{run_id}/resume", reason="open again").status_code == 303
    assert olga.post(f"/holdfast/runs/{run_id}/cancel", reason="wrong file").status_code == 303
    assert run_of(run_id).status is RunStatus.CANCELLING
    assert query("SELECT action, actor FROM audit_log ORDER BY id") == [
        (action, "olga") for action in ("pause", "resume", "cancel")
    ]


def test_recover_acts_on_the_heartbeat_that_was_seen(site: Site) -> None:
    """A run that moved since is left alone; a healthy one is not offered; a stale one is ended or resumed."""
    run_id = planned(KEYED, n=1)
    olga = site.browser("olga")
    assert "/recover" not in olga.get(f"/holdfast/runs/{run_id}").text
    execute("UPDATE runs SET heartbeat_at = NOW(6) - INTERVAL 1 HOUR")
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 1 HOUR")
    link = re.search(r'href="([^"]+/recover\?heartbeat=[^"]+)"', olga.get(f"/holdfast/runs/{run_id}").text)
    assert link is not None
    form = olga.get(link.group(1)).text
    seen = re.search(r'name="heartbeat" value="([^"]+)"', form)
    assert seen is not None
    path = f"/holdfast/runs/{run_id}/recover"
    execute("UPDATE runs SET heartbeat_at = heartbeat_at + INTERVAL 1 SECOND")
    moved = olga.post(path, how="resume", heartbeat=seen.group(1), reason="x")
    assert moved.status_code == 409 and "moved since you looked" in moved.text
    # The form keeps what was seen: sent again it is refused again.
    assert f'value="{seen.group(1)}"' in moved.text
    execute("UPDATE runs SET heartbeat_at = heartbeat_at - INTERVAL 1 SECOND")
    assert olga.post(path, how="resume", heartbeat=seen.group(1), reason="x").status_code == 303
    assert run_of(run_id).fence == 2


def test_letters_are_grouped_looked_at_edited_and_replayed(site: Site) -> None:
    """By trouble; the edit is used by the replay; the replay is a run of its own, which the page names."""
    run_id = letters(2)
    olga = site.browser("olga")
    page = olga.get("/holdfast/dead-letters").text
    assert "no such shop" in page and re.search(r'big-n"><a [^>]+>2</a>', page)
    first, second = [row[0] for row in query("SELECT id FROM dead_letters ORDER BY id")]
    assert "Traceback" in olga.get(f"/holdfast/dead-letters/{first}").text
    assert olga.post(f"/holdfast/dead-letters/{first}/edit", payload='{"fails": 0}', reason="typo").status_code == 303
    form = olga.get(f"/holdfast/dead-letters/replay?id={first}&id={second}").text
    assert "Replay 2 dead letters?" in form and run_id[:8] in form
    done = olga.post(
        "/holdfast/dead-letters/replay",
        f"/holdfast/dead-letters/replay?id={first}",
        id=[first, second],
        expected=2,
        per_second="50",
        reason="mended",
    )
    assert done.status_code == 303
    report = olga.get(done.headers["Location"]).text
    assert "Replayed 2 of 2 letters" in report
    child = query("SELECT run_id, `replay` FROM runs WHERE parent_run_id = :r", r=run_id)[0]
    assert child[0] in report and '"per_s":50.0' in child[1]
    assert query("SELECT status FROM dead_letters") == [("replaying",), ("replaying",)]


def test_more_than_was_confirmed_is_not_done(site: Site) -> None:
    """Letters that came after the dry run are not swept along."""
    letters(2)
    ada = site.browser("ada")
    form_at = "/holdfast/dead-letters/discard?all=1&kind=free"
    assert "Discard 2 dead letters?" in ada.get(form_at).text
    letters(1)
    said = ada.post("/holdfast/dead-letters/discard", form_at, all="1", kind="free", expected=2, reason="x")
    assert said.status_code == 400 and "Meanwhile it is 3" in said.text
    assert query("SELECT COUNT(*) FROM dead_letters WHERE status = 'dead'") == [(3,)]
    assert (
        ada.post("/holdfast/dead-letters/discard", form_at, all="1", kind="free", expected=3, reason="x").status_code
        == 303
    )
    assert query("SELECT status, COUNT(*) FROM dead_letters GROUP BY status") == [("discarded", 3)]


def test_an_operation_that_takes_long_has_a_page_of_its_own(site: Site) -> None:
    """It goes on behind the answer and counts; what fails is said there."""
    operation = operations().begin("discard", "ada", "x", _fail)
    page = site.browser("ada").get(f"/holdfast/operations/{operation.id}?live=1").json()["parts"]["operation"]
    assert "under way" in page or "stopped" in page
    assert operation.future is not None
    operation.future.result(5)
    page = site.browser("ada").get(f"/holdfast/operations/{operation.id}").text
    assert "RuntimeError: out of luck" in page and "can be started again" in page


def _fail(operation: object) -> None:
    time.sleep(0.05)
    raise RuntimeError("out of luck")


def test_a_lock_is_released_by_force_and_only_the_holding_that_was_seen(site: Site) -> None:
    """With "force" said, with a reason; a holding that is another by now is left alone."""
    lock = TokenLock(clients.redis(), ["admission", "import", "flights"], 60, "me")
    assert lock.try_acquire()
    ada = site.browser("ada")
    link = re.search(r'href="(/holdfast/locks/release\?[^"]+)"', ada.get("/holdfast/locks").text)
    assert link is not None
    form_at = link.group(1).replace("&amp;", "&")
    key, token = re.findall(r'name="(?:key|token)" value="([^"]+)"', ada.get(form_at).text)
    unsaid = ada.post("/holdfast/locks/release", form_at, key=key, token=token, reason="x")
    assert unsaid.status_code == 400 and lock.holder() is not None
    other = ada.post("/holdfast/locks/release", form_at, key=key, token="another", force="1", reason="x")
    assert other.status_code == 404 and lock.holder() is not None
    assert ada.post("/holdfast/locks/release", form_at, key=key, token=token, force="1", reason="x").status_code == 303
    assert lock.holder() is None
    assert query("SELECT action, actor, subject FROM audit_log") == [
        ("release_lock", "ada", 'lock:["admission","import","flights"]')
    ]
    assert "Release" not in site.browser("olga").get("/holdfast/locks").text


def test_runs_are_filtered_sorted_and_paged_by_the_address(site: Site) -> None:
    """Every run once, in order, over pages; each filter narrows; a filter that cannot be is a 400."""
    for number in range(120):
        execute(
            "INSERT INTO runs (run_id, kind, admission_key, admission_hash, status, args, requested_at, requested_by) VALUES"
            " (:id, 'keyed', :k, SHA2(:k, 256), IF(:n MOD 2, 'completed', 'failed'), '{}',"
            " '2026-01-01' + INTERVAL :m SECOND, 'me')",
            id=f"{number:08x}-0000-4000-8000-000000000000",
            k=f"key {number}",
            n=number,
            # Many at one moment: the page must not lose or repeat any of them.
            m=number // 40,
        )
    vic = site.browser("vic")
    for sort in ("newest", "oldest"):
        seen: list[str] = []
        path = f"/holdfast/runs?sort={sort}"
        while path:
            page = vic.get(path).text
            seen += re.findall(r'data-open href="/holdfast/runs/([0-9a-f-]{36})"', page)
            following = re.search(r'rel="next" href="([^"]+)"', page)
            path = following.group(1).replace("&amp;", "&") if following else ""
        assert len(seen) == len(set(seen)) == 120
    assert len(re.findall("data-row", vic.get("/holdfast/runs?status=failed&text=key 1").text)) == 15
    assert "No run matches" in vic.get("/holdfast/runs?kind=free").text
    assert "No run matches" in vic.get("/holdfast/runs?text=%25").text
    assert "0000000a" in vic.get("/holdfast/runs?text=0000000a").text
    for wrong in ("status=x", "sort=x", "time=x", "after=x"):
        assert vic.get(f"/holdfast/runs?{wrong}").status_code == 400


def test_fifty_browsers_cost_as_much_as_one(site: Site) -> None:
    """What all of them ask for is read once, not fifty times."""
    planned(KEYED, n=1)
    browsers = [site.browser("vic") for _ in range(50)]
    site.shared.forget()
    before = site.shared.reads
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda b: b.get("/holdfast/?live=1").status_code, browsers))
    assert answers == [200] * 50
    assert site.shared.reads - before <= 8


def test_a_slow_query_does_not_stop_flower(site: Site) -> None:
    """While one page waits for MySQL, Flower answers others at once."""
    blocker = clients.engine().raw_connection()
    cursor = blocker.cursor()
    cursor.execute("LOCK TABLES runs WRITE")
    try:
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(lambda: site.browser("vic").get("/holdfast/runs").status_code)
            time.sleep(0.2)
            began = time.monotonic()
            assert requests.get(site.url + "/healthcheck", timeout=5).text == "OK"
            assert time.monotonic() - began < 1 and not waits.done()
            cursor.execute("UNLOCK TABLES")
            assert waits.result(10) == 200
    finally:
        cursor.execute("UNLOCK TABLES")
        blocker.close()


def test_an_address_that_is_none_is_said_to_be_none(site: Site) -> None:
    """With the navigation and after a login; a run that is not there says so, too."""
    vic = site.browser("vic")
    for path in ("runs/ZZZ", "nothing", "dead-letters/1/2"):
        page = vic.get(f"/holdfast/{path}")
        assert page.status_code == 404 and "no such page" in page.text and "Dead letters" in page.text, path
        assert requests.get(f"{site.url}/holdfast/{path}", timeout=20).status_code == 401
    page = vic.get("/holdfast/runs/01234567-89ab-4def-8123-456789abcdef")
    assert page.status_code == 404 and "01234567" in page.text


def test_a_database_of_another_version_is_said_to_be_one(site: Site) -> None:
    """Flower was deployed before the migration: what to run stands on the page."""
    execute("ALTER TABLE audit_log RENAME TO audit_log_aside")
    try:
        page = site.browser("vic").get("/holdfast/audit")
        assert page.status_code == 503 and "python -m runstate.migrate" in page.text
    finally:
        execute("ALTER TABLE audit_log_aside RENAME TO audit_log")


def test_without_mysql_a_page_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with a sentence, for people and for the page's script; no statement, no trace."""
    monkeypatch.setenv("DATABASE_URL", "mysql+pymysql://u:s3cret@127.0.0.1:1/none")
    clients.reset()
    page = site.browser("vic").get("/holdfast/runs")
    assert page.status_code == 503 and "MySQL does not answer" in page.text and "s3cret" not in page.text
    posted = site.browser("ada").post(
        "/holdfast/dead-letters/discard", "/holdfast/limits/pause?key=k", id=1, reason="x"
    )
    assert posted.status_code == 503 and "Look whether it was done" in posted.text
    assert "MySQL does not answer" in site.browser("vic").get("/holdfast/runs?live=1").json()["error"]
