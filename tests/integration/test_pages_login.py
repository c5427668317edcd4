"""Logging in by OAuth, roles by e-mail address, and numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from ops.errors import UsageError
from ops.pages.scraper import parse_token
from runstate.statuses import RunStatus
from stack.endpoints import free_port
from tests.integration.flower_pages import Browser, Site, flower_site
from tests.integration.machinery import planned, query, run_of
from tests.integration.oauth_provider import CLIENT, SECRET, Provider, oauth_provider
from tests.kinds import KEYED

pytestmark = pytest.mark.usefixtures("machinery")
TOKEN = "prometheus-reads-with-this"
ADDRESSES = "ann@example.com|bob@example.com|eve@example.com"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """Who vouches for addresses."""
    with oauth_provider() as running:
        yield running


@pytest.fixture
def site(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Flower with OAuth alone: ann is an admin, every other address of hers a viewer, and no rule fits eve."""
    monkeypatch.setenv("FLOWER_OAUTH2_OKTA_BASE_URL", provider.url)
    port = free_port()
    oauth = {"key": CLIENT, "secret": SECRET, "redirect_uri": f"http://127.0.0.1:{port}/login"}
    with flower_site(
        port=port,
        roles="ann@example.com=admin,b*@example.com=viewer",
        metrics_token=TOKEN,
        oauth=oauth,
        basic_auth=[],
        auth=ADDRESSES,
        auth_provider="flower.views.auth.OktaLoginHandler",
    ) as running:
        provider.verified = True
        yield running


def log_in(site: Site, provider: Provider, email: str) -> tuple[Browser, requests.Response]:
    """A browser that asked for a page, was sent to the provider, and came back as ``email``."""
    provider.email = email
    browser = Browser(site.url, requests.Session())
    first = browser.get("/holdfast/")
    assert (first.status_code, first.headers["Location"]) == (302, "/login?next=%2Fholdfast%2F")
    return browser, browser.session.get(site.url + first.headers["Location"], timeout=20)


def test_an_address_gets_the_role_that_a_rule_gives_it(site: Site, provider: Provider) -> None:
    """Admin, viewer, none; the audit log has the address."""
    run_id = planned(KEYED, n=3)
    ann, _ = log_in(site, provider, "ann@example.com")
    bob, _ = log_in(site, provider, "bob@example.com")
    eve, _ = log_in(site, provider, "eve@example.com")
    assert [b.get("/holdfast/runs").status_code for b in (ann, bob, eve)] == [200, 200, 403]
    pause = f"/holdfast/runs/{run_id}/pause"
    assert (bob.get(pause).status_code, eve.get(pause).status_code) == (403, 403)
    assert bob.post(pause, "/holdfast/runs", reason="x").status_code == 403
    assert ann.post(pause, reason="the shop closes").status_code == 303
    assert run_of(run_id).status is RunStatus.PAUSED
    assert query("SELECT actor, reason FROM audit_log") == [("ann@example.com", "the shop closes")]


def test_who_is_not_let_in_stays_out(site: Site, provider: Provider) -> None:
    """An address that is not on the list, one that the provider does not vouch for, and a cookie that somebody made up."""
    for email, verified in (("mallory@example.com", True), ("ann@example.com", False)):
        provider.verified = verified
        browser, answer = log_in(site, provider, email)
        assert answer.status_code == 403
        assert browser.get("/holdfast/").status_code == 302
        assert (
            browser.session.post(f"{site.url}/holdfast/limits/pause", data={"key": "k"}, timeout=20).status_code == 403
        )
    forged = Browser(site.url, requests.Session())
    forged.session.cookies.set("user", "ann@example.com")
    assert forged.get("/holdfast/").status_code == 302
    assert forged.get("/holdfast/metrics").status_code == 302
    assert forged.get("/metrics").status_code == 403


def test_under_oauth_prometheus_reads_with_its_token(site: Site, provider: Provider) -> None:
    """The token opens the two pages of numbers and nothing else; without it they need a login with a role."""
    bob, _ = log_in(site, provider, "bob@example.com")
    eve, _ = log_in(site, provider, "eve@example.com")
    for path, sign in (("/metrics", "flower_events_total"), ("/holdfast/metrics", "holdfast_runs")):
        scraped = requests.get(site.url + path, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20)
        assert (scraped.status_code, sign in scraped.text) == (200, True), path
        wrong = requests.get(
            site.url + path, headers={"Authorization": f"Bearer {TOKEN[:-1]}"}, allow_redirects=False, timeout=20
        )
        assert (wrong.status_code in (302, 401, 403), sign in wrong.text) == (True, False), path
        assert (bob.get(path).status_code, eve.get(path).status_code) == (200, 403), path
    for path in ("/holdfast/", "/holdfast/runs", "/holdfast/audit"):
        closed = requests.get(
            site.url + path, headers={"Authorization": f"Bearer {TOKEN}"}, allow_redirects=False, timeout=20
        )
        assert closed.status_code == 302, path


def test_flowers_own_numbers_need_a_login(machinery: None) -> None:
    """Under basic auth, with a prefix too; a balancer's health check is open and says nothing but OK."""
    for prefix in ("", "prefix"):
        with flower_site(url_prefix=prefix) as site:
            assert requests.get(site.url + "/metrics", timeout=20).status_code == 401
            assert requests.get(site.url + "/metrics", auth=("ada", "wrong"), timeout=20).status_code == 401
            assert "flower_" in site.browser("vic").get("/metrics").text
            assert site.browser("nobody").get("/metrics").status_code == 403
            assert requests.get(site.url + "/healthcheck", timeout=20).text == "OK"
    with flower_site(basic_auth=[]) as site:
        assert requests.get(site.url + "/metrics", timeout=20).status_code == 403


def test_a_token_that_can_be_guessed_is_refused() -> None:
    """Short ones say what to do; none is none."""
    with pytest.raises(UsageError, match="16 or more"):
        parse_token("short")
    assert (parse_token(""), parse_token(None), parse_token(TOKEN)) == (None, None, TOKEN)
