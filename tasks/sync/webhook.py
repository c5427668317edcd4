"""What a webhook says: that some records changed.  What they are now is read from the API, never taken from the webhook."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tasks.sync.json_paths import value_at, values_at
from tasks.sync.signature import TOLERANCE_S, Scheme, verify

MAX_BODY_BYTES = 1024 * 1024
MAX_ID_CHARS = 191
"""As wide as the tables keep a record's id."""


class BadWebhook(Exception):
    """The body is signed but is not what this connection's webhooks look like."""


class OtherTopic(BadWebhook):
    """The delivery is about something that this kind of record does not ask for."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """``event_id``: the same for each delivery of one event, None where nothing tells two events apart;
    ``remote_ids``: the records that it is about, each once.
    """

    event_id: str | None
    remote_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Webhook:
    """One API's webhooks: how they are signed (``scheme``) and where their parts stand in the body (`tasks.sync.json_paths`).

    ``ids_at``       where the ids of the records stand: ``id``, ``data.object.id``, ``events.*.record_id``
    ``event_id_at``  where the event's id stands, if it has no header of its own
    ``topics``       the topics that this kind of record asks for (``product.*``), where one address gets those of several kinds;
                     ``topic_header`` or ``topic_at``: where a delivery says its topic

    Without an id of its own an event is known by its body and the time that was signed with it.  Without such a time it is not
    known again: two edits of one record may have the same body, and a reading too many is better than one too few.
    """

    scheme: Scheme
    ids_at: str = "id"
    event_id_at: str | None = None
    tolerance_s: float = TOLERANCE_S
    topics: tuple[str, ...] = ()
    topic_header: str | None = None
    topic_at: str | None = None

    def __post_init__(self) -> None:
        if bool(self.topics) != bool(self.topic_header or self.topic_at):
            raise ValueError(
                "Webhook: topics= and where a delivery says its topic (topic_header=, topic_at=) go together"
            )

    def read(
        self, headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], received_at: float
    ) -> WebhookEvent:
        """The event, if one of ``secrets`` signed it; ``received_at`` in seconds since 1970, by the database's clock.

        Raises `tasks.sync.signature.BadSignature` before anything is made of the body, and `BadWebhook`; `OtherTopic` of a
        delivery for others.
        """
        if len(body) > MAX_BODY_BYTES:
            raise BadWebhook(f"the body has {len(body)} bytes, more than {MAX_BODY_BYTES}")
        signed_at = verify(self.scheme, secrets, headers, body, received_at=received_at, tolerance_s=self.tolerance_s)
        # By the header first: a provider's test delivery may have no body to speak of.
        if self.topic_header is not None:
            self._check_topic(_header(headers, self.topic_header))
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadWebhook("the body is not JSON") from error
        if self.topic_at is not None:
            self._check_topic(value_at(content, self.topic_at))
        ids = [str(item) for item in values_at(content, self.ids_at) if _is_id(item)]
        if not ids:
            raise BadWebhook(f"no record's id stands at {self.ids_at!r} of the body")
        return WebhookEvent(self._event_id(headers, body, content, signed_at), tuple(dict.fromkeys(ids)))

    def _check_topic(self, topic: object) -> None:
        if not any(fnmatchcase(str(topic), wanted) for wanted in self.topics):
            raise OtherTopic(f"topic {str(topic)[:100]!r} is none of {', '.join(self.topics)}")

    def _event_id(self, headers: Mapping[str, str], body: bytes, content: object, signed_at: str | None) -> str | None:
        if self.event_id_at is not None and (found := value_at(content, self.event_id_at)) is not None:
            return str(found)
        if self.scheme.id_header is not None and (named := _header(headers, self.scheme.id_header)):
            return named
        if signed_at is not None:
            return hashlib.sha256(f"{signed_at}.".encode() + body).hexdigest()
        return None


def _is_id(item: object) -> bool:
    """A number or a text that the tables can hold; half of a surrogate pair is legal in JSON and in nothing else."""
    if isinstance(item, bool) or not isinstance(item, str | int):
        return False
    return 0 < len(str(item)) <= MAX_ID_CHARS and not any("\ud800" <= letter <= "\udfff" for letter in str(item))


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return next((value for given, value in headers.items() if given.lower() == name.lower()), None)
