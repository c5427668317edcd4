"""What the overview and a run's page tell: alerts with since-when, the course, who has its jobs, each kind's own report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from ops.alerts.look import remember
from ops.checks import fail
from runstate import alerts
from runstate.audit import Actor
from runstate.transaction import in_transaction
from tasks import clients, control
from tasks.images.kind import IMAGE_BATCH
from tasks.imports.kind import IMPORT
from tasks.registry import kinds
from tasks.report import Figure, Report, RunSeen, Table
from tests.integration import email_campaigns, sync_machinery
from tests.integration.flower_pages import Site, flower_site
from tests.integration.machinery import execute, planned, query, work_off
from tests.kinds import KEYED
from tests.pictures import write_pictures
from tests.waiting import wait_until

__all__ = ["api", "server"]
api, server = sync_machinery.api, email_campaigns.server
pytestmark = pytest.mark.usefixtures("machinery")
HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def site(machinery: None) -> Iterator[Site]:
    """Flower with users of each role."""
    with flower_site() as running:
        yield running


def parts(site: Site, path: str) -> dict[str, str]:
    """The parts of a page that move, once all that it does not wait for has come."""
    vic, found = site.browser("vic"), dict[str, str]()
    # As after an action: what was shared before does not count.
    site.shared.forget()

    def arrived() -> bool:
        found.update(vic.get(f"{path}{'&' if '?' in path else '?'}live=1").json()["parts"])
        return "data-pending" not in "".join(found.values())

    wait_until(arrived, 10)
    return found


def page_of(site: Site, run_id: str) -> dict[str, str]:
    return parts(site, f"/holdfast/runs/{run_id}")


def test_firing_alerts_are_told_with_since_when_and_what_to_do(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What beat wrote down and what is found now, together; a cause leads to its page, a run id to its run."""
    run_id = planned(KEYED, n=1)
    for name in ("PATIENCE_S", "CALM_S"):
        monkeypatch.setenv(f"HOLDFAST_ALERT_{name}", "0.000001")
    clients.reset()
    for _ in range(2):
        remember([fail("stuck runs", f"{run_id} for 10 min {HOSTILE}", "run `python -m ops runs explain RUN`")])
    execute("UPDATE alerts SET fired_at = NOW(6) - INTERVAL 125 SECOND")
    shown = parts(site, "/holdfast/")["alerts"]
    first = shown.partition('data-trouble="stuck runs"')[2].partition("</li>")[0]
    assert "alert firing" in shown or "alerts firing" in shown
    assert "2 min 5 s" in first and "<code>python -m ops runs explain RUN</code>" in first
    assert f'href="/holdfast/runs/{run_id}"' in first and "/holdfast/runs?status=active" in first
    assert "<script>" not in shown and "\u202e" not in shown
    assert shown.index("stuck runs") < shown.index('data-trouble="dispatchers"'), "what fires comes before what is new"


def test_an_overview_does_not_say_all_well_when_nobody_looks(site: Site) -> None:
    """Without beat no alert ever fires."""
    assert "Nobody has ever looked" in parts(site, "/holdfast/")["alerts"]
    in_transaction(clients.engine(), lambda c: alerts.take_turn(c, 1))
    assert "Nobody has" not in parts(site, "/holdfast/")["alerts"]
    execute("UPDATE alerts SET seen_at = NOW(6) - INTERVAL 10 MINUTE")
    assert "Nobody has looked for" in parts(site, "/holdfast/")["alerts"]


def test_a_day_of_attempts_by_hour_and_kind(site: Site) -> None:
    """Out of the shared statistics; another span is refused."""
    run_id = planned(KEYED, jobs=[{"fails": 9, "error": "permanent"}, {}])
    work_off(KEYED, run_id)
    shown = parts(site, "/holdfast/?span=day")["throughput"]
    assert "last 24 hours" in shown and ">keyed</a>" in shown and "33.3 %" in shown
    assert site.browser("vic").get("/holdfast/?span=year").status_code == 400


def test_the_timeline_shows_pauses_and_the_log_goes_on(site: Site) -> None:
    """Drawn with the times of the audit log, and renewed without a reload."""
    run_id = planned(KEYED, n=2)
    who = Actor("olga", "the shop closes")
    control.pause(run_id, who)
    before = page_of(site, run_id)
    assert 's-paused"' in before["course"] and "running" in before["course"]
    control.resume(run_id, who)
    after = page_of(site, run_id)
    assert "resume" in after["log"] and "resume" not in before["log"]
    assert "the shop closes" in after["log"] and f"/holdfast/audit?subject={run_id}" in after["log"]
    work_off(KEYED, run_id)
    ended = page_of(site, run_id)
    assert "completed" in ended["log"] and "attempts done" in ended["course"] and "last progress" not in ended["course"]


def test_it_is_shown_who_has_a_job_in_hand_and_whose_lease_ran_out(site: Site) -> None:
    """By name, with the time held: the owner of what does not move."""
    run_id = planned(KEYED, n=3)
    execute(
        "UPDATE jobs SET state = 'running', worker = :w, claimed_at = NOW(6) - INTERVAL 75 SECOND,"
        " lease_until = NOW(6) - INTERVAL 60 SECOND, claim_token = 't' WHERE run_id = :r AND job_no = 2",
        r=run_id,
        w=f"imports0@{HOSTILE}",
    )
    shown = page_of(site, run_id)["hands"]
    assert "1 min 15 s" in shown and "ran out 1 min 0 s ago" in shown
    assert "imports0@&lt;script&gt;" in shown and "\u202e" not in shown


def test_an_import_shows_its_rows_and_its_rejects(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By reason, the first of them with their bytes, and how to export and replay them; while it runs, the sums so far."""
    monkeypatch.setenv("IMPORT_ROOTS", str(tmp_path))
    clients.reset()
    execute("CREATE TABLE products (sku VARCHAR(20) PRIMARY KEY, price DECIMAL(8,2) NOT NULL)")
    source = tmp_path / "f.csv"
    rows = [f"s{n},{'<script>alert(1)</script>' if n % 10 == 0 else n}" for n in range(60)]
    source.write_text("sku,price\n" + "\n".join(rows) + "\n")
    run_id = planned(IMPORT, source=source, target="products", key=["sku"], chunk_bytes=300)
    assert "rejects export" not in page_of(site, run_id)["report"]
    work_off(IMPORT, run_id)
    shown = page_of(site, run_id)["report"]
    assert "<dt>rows</dt><dd><bdi>60</bdi>" in shown and '"bad"><dt>rejected</dt><dd><bdi>6</bdi>' in shown
    assert "Rejects by reason" in shown and "The first rejects" in shown
    assert "s10,&lt;script&gt;alert(1)" in shown and "<script>" not in shown
    assert f"python -m ops rejects export {run_id}" in shown and f"rejects replay {run_id}" in shown


def test_a_campaign_shows_its_recipients(site: Site, server: Any) -> None:
    """By state, with the reasons of those that failed."""
    server.script["RCPT", "p1@example.com"] = ["550 5.1.1 <b>no such user</b>"]
    run = email_campaigns.send(email_campaigns.people(3), name="spring; rm")
    shown = page_of(site, run.run_id)["report"]
    assert "<dt>sent</dt><dd><bdi>2</bdi>" in shown and "<dt>failed</dt><dd><bdi>1</bdi>" in shown
    assert "5.1.1" in shown and "<b>no such" not in shown
    assert "python -m ops email report &#x27;spring; rm&#x27;" in shown.replace("&#39;", "&#x27;")


def test_a_sync_shows_both_sides_and_a_dry_run_its_plan(site: Site, api: Any) -> None:
    """Counts, what is open, rejects; of a plan the entries, field by field."""
    sync_machinery.change("INSERT INTO items (id, name, stock) VALUES (1, 'one', 1)", 1)
    dry = sync_machinery.sync(dry_run=True)
    plan = page_of(site, dry.run_id)["report"]
    assert "Plan" in plan and "name: " in plan and f"python -m ops sync plan show {dry.run_id}" in plan
    run = sync_machinery.sync()
    execute(
        "INSERT INTO sync_rejects (connection, kind, entity, direction, code, reason, record, run_id)"
        " VALUES ('memory', 'items', 'r:<i>', 'pull', 'null', 'name: is NOT NULL', '{\"api_key\": \"s3cret\"}', :r)",
        r=run.run_id,
    )
    shown = page_of(site, run.run_id)["report"]
    assert "Sync of memory/items" in shown and "<dt>links</dt><dd><bdi>1</bdi>" in shown
    assert "rejects now" in shown and "r:&lt;i&gt;" in shown and "s3cret" not in shown


def test_an_image_batch_shows_what_failed_and_what_its_destination_holds(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files by format, failures by code, and the command that writes the manifest."""
    monkeypatch.setenv("IMAGE_ROOTS", str(tmp_path))
    monkeypatch.setenv("IMAGE_DEST_ROOTS", str(tmp_path))
    clients.reset()
    write_pictures(tmp_path / "photos", 2, seed=1, width=60, height=40)
    (tmp_path / "photos" / "bad.png").write_bytes(b"<html>")
    run_id = planned(
        IMAGE_BATCH,
        sources=f"{tmp_path}/photos/*",
        variants=[{"name": "small", "width": 20, "formats": ["jpeg"]}],
        dest=tmp_path / "web",
    )
    work_off(IMAGE_BATCH, run_id)
    shown = page_of(site, run_id)["report"]
    assert "Images that failed, by reason" in shown and "not_an_image" in shown
    assert "2 sources in" in shown and "images manifest" in shown


def test_a_kind_of_ones_own_shows_a_report_through_one_function(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """`JobKind(report=...)`: figures, tables, what can be done; whatever it says is text, with secrets masked."""

    def report(connection: Connection, seen: RunSeen) -> Report:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        return Report(
            HOSTILE,
            [Figure(HOSTILE, seen.totals.get("attempt"), "good"), Figure("password=hunter2", HOSTILE)],
            [Table(HOSTILE, ("Name", "Times>"), [[HOSTILE, 12345], ["token=hunter2", None]], HOSTILE)],
            [f"Do `{HOSTILE}` now"],
        )

    monkeypatch.setitem(kinds(), "keyed", replace(KEYED, report=report))
    run_id = planned(KEYED, n=3)
    work_off(KEYED, run_id)
    shown = page_of(site, run_id)["report"]
    assert "<script>" not in shown and "\u202e" not in shown and "hunter2" not in shown
    assert "12,345" in shown and "<code>&lt;script&gt;" in shown


def test_a_report_that_fails_does_not_hide_the_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind's own mistake, with arguments that came by name: the page says so, and shows all the rest."""

    def report(_connection: Connection, seen: RunSeen) -> Report:
        raise KeyError(f"password=hunter2 {HOSTILE}")

    monkeypatch.setitem(kinds(), "keyed", replace(KEYED, report=report))
    run_id = planned(KEYED, n=1)
    shown = page_of(site, run_id)
    assert "could not report" in shown["report"] and "KeyError" in shown["report"]
    assert "hunter2" not in shown["report"] and "<script>" not in shown["report"]
    assert "running" in shown["state"]


def test_the_pace_of_a_run_is_not_told_by_its_planning(site: Site) -> None:
    """A run that has only been planned has no pace, and nobody is told how long it will take."""
    run_id = planned(KEYED, n=500)
    execute("UPDATE runs SET started_at = started_at - INTERVAL 50 SECOND")
    assert "pace" not in page_of(site, run_id)["state"]
    assert query("SELECT COUNT(*) FROM job_attempts WHERE outcome = 'done'") == [(1,)]
