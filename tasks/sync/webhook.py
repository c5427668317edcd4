"""What a webhook says: that some records changed.  What they are now is read from the API, never taken from the webhook."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.sync.json_paths import value_at, values_at
from tasks.sync.signature import TOLERANCE_S, Scheme, verify

MAX_BODY_BYTES = 1024 * 1024


class BadWebhook(Exception):
    """The body is signed but is not what this connection's webhooks look like."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """``event_id``: the same for each delivery of one event; ``remote_ids``: the records that it is about, each once."""

    event_id: str
    remote_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Webhook:
    """One API's webhooks: how they are signed (``scheme``) and where their parts stand in the body (`tasks.sync.json_paths`).

    ``ids_at``       where the ids of the records stand: ``id``, ``data.object.id``, ``events.*.record_id``
    ``event_id_at``  where the event's id stands, if it has no header of its own; without either it is the body's digest
    """

    scheme: Scheme
    ids_at: str = "id"
    event_id_at: str | None = None
    tolerance_s: float = TOLERANCE_S

    def read(
        self, headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], received_at: float
    ) -> WebhookEvent:
        """The event, if one of ``secrets`` signed it; ``received_at`` in seconds since 1970, by the database's clock.

        Raises `tasks.sync.signature.BadSignature` before anything is made of the body, and `BadWebhook`.
        """
        if len(body) > MAX_BODY_BYTES:
            raise BadWebhook(f"the body has {len(body)} bytes, more than {MAX_BODY_BYTES}")
        verify(self.scheme, secrets, headers, body, received_at=received_at, tolerance_s=self.tolerance_s)
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadWebhook("the body is not JSON") from error
        ids = [
            item
            for item in values_at(content, self.ids_at)
            if isinstance(item, str | int) and not isinstance(item, bool) and item != ""
        ]
        if not ids:
            raise BadWebhook(f"no record's id stands at {self.ids_at!r} of the body")
        return WebhookEvent(self._event_id(headers, body, content), tuple(dict.fromkeys(map(str, ids))))

    def _event_id(self, headers: Mapping[str, str], body: bytes, content: object) -> str:
        if self.event_id_at is not None and (found := value_at(content, self.event_id_at)) is not None:
            return str(found)
        if self.scheme.id_header is not None:
            for name, value in headers.items():
                if name.lower() == self.scheme.id_header.lower() and value:
                    return value
        return hashlib.sha256(body).hexdigest()
