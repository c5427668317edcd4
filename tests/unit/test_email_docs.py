"""docs/email.md says what the code says."""

from __future__ import annotations

import inspect

from tasks.email.arguments import campaign_arguments
from tasks.email.ledger import State
from tasks.email.providers import _OPTIONS
from tests.unit.test_docs_agree import DOCS, table_words

EMAIL = DOCS / "email.md"


def test_every_argument_of_a_campaign_is_documented() -> None:
    """Each one that `start_campaign` takes, and no other."""
    taken = {*inspect.signature(campaign_arguments).parameters, "idempotency_key"}
    assert table_words(EMAIL, after="## Arguments") == taken


def test_every_state_of_a_recipient_is_documented() -> None:
    """The ledger's words."""
    assert table_words(EMAIL, after="## The ledger") == {state.value for state in State}


def test_every_option_of_a_provider_is_documented() -> None:
    """What may stand behind the question mark of its URL."""
    assert table_words(EMAIL, after="## Providers") == set(_OPTIONS)
