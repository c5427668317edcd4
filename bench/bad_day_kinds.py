"""The kinds of the bad day: as shipped, but with leases and retries that fit into minutes."""

from __future__ import annotations

from dataclasses import replace

from tasks.email.kind import CAMPAIGN
from tasks.imports.kind import IMPORT
from tasks.kinds import Backoff
from tests.kinds import KEYED

LEASE_S = 3
DAY_IMPORT = replace(
    IMPORT,
    name="day_import",
    start_name="",
    lease_s=LEASE_S,
    backoff=Backoff(max_attempts=2, base_s=0.1, cap_s=0.2),
    max_crashes=20,
)
DAY_CAMPAIGN = replace(CAMPAIGN, name="day_campaign", start_name="start_day_campaign", lease_s=LEASE_S, max_crashes=20)
CLOSED_SHOPS = replace(KEYED, name="shop_reports", start_name="start_shop_reports")
"""Jobs whose payload says that they fail: a shop that was closed has no report."""
ALL = ",".join(f"{__name__}:{kind}" for kind in ("DAY_IMPORT", "DAY_CAMPAIGN", "CLOSED_SHOPS"))
