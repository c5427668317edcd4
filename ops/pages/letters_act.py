"""Replay or discard letters: one, a selection, or all that match, after a dry run that says how many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ops.errors import UsageError
from ops.pages.confirm import ConfirmPage
from ops.pages.handler import asked
from ops.pages.letters import FILTERS, filter_of
from ops.pages.operations import Operation, discard_all, operations, replay_all
from ops.pages.run_act import parse_rate
from runstate import letters, pages
from runstate.letters import Filter

PATIENCE_S = 3.0
"""An operation that takes longer gets a page of its own, which shows how far it is."""
MOST_SELECTED = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """What a form means: letters by number, or all dead ones that match ``filters``."""

    ids: tuple[int, ...]
    filters: dict[str, str]
    all: bool

    def which(self) -> Filter:
        """The filter; dead letters only."""
        chosen = filter_of(self.filters)
        return Filter(
            ids=self.ids,
            run_id=chosen.run_id,
            kind=chosen.kind,
            error_class=chosen.error_class,
            fingerprint=chosen.fingerprint,
        )


class LettersActionPage(ConfirmPage):
    """Replay or discard."""

    tab = "letters"

    async def get(self, action: str) -> None:
        self.need(action)
        selection = _selection(self.get_query_arguments("id"), self.query("all"), {f: self.query(f) for f in FILTERS})
        self._check_all(action, selection)
        await self._form(action, selection, "")

    async def post(self, action: str) -> None:
        self.need(action)
        selection = _selection(self.get_body_arguments("id"), self.field("all"), {f: self.field(f) for f in FILTERS})
        self._check_all(action, selection)
        over_newer = self.field("over_newer") == "1"
        if over_newer:
            self.need("replay --over-newer")
        try:
            actor = self.actor()
            per_s = parse_rate(self.field("per_second"))
            await self._as_many_as_seen(selection)
        except UsageError as error:
            self.set_status(400)
            await self._form(action, selection, str(error))
            return
        which = selection.which()
        work: Callable[[Operation], None] = (
            (lambda op: replay_all(op, which, actor, per_s=per_s, over_newer=over_newer))
            if action == "replay"
            else (lambda op: discard_all(op, which, actor))
        )
        operation = operations().begin(action, self.user, actor.reason, work)
        await operations().wait(operation, PATIENCE_S)
        self.redirect(self.link("operation", operation.id), status=303)

    def _check_all(self, action: str, selection: Selection) -> None:
        if selection.all and action == "discard":
            self.need("discard --all")

    async def _as_many_as_seen(self, selection: Selection) -> None:
        """More than the operator was told is not what was confirmed."""
        seen = self.field("expected")
        now = await self._count(selection)
        if not seen.isdecimal() or now > int(seen):
            raise UsageError(
                f"Meanwhile it is {now} letters, not {seen or '?'}: look at the numbers again, then confirm"
            )

    async def _count(self, selection: Selection) -> int:
        return await self.off_loop(asked(lambda c: letters.count(c, selection.which())))

    async def _form(self, action: str, selection: Selection, error: str) -> None:
        spread = await self.off_loop(asked(lambda c: pages.letters_by_run(c, selection.which())))
        self.page(
            "letters_act.html",
            action=action,
            selection=selection,
            count=spread.letters,
            runs=spread.runs,
            largest=spread.most,
            error=error,
            reason=self.field("reason"),
            per_second=self.field("per_second"),
        )


def _selection(ids: list[str], every: str, filters: dict[str, str]) -> Selection:
    numbers = tuple(sorted({int(given) for given in ids if given.isdecimal()}))
    if bool(numbers) == (every == "1"):
        raise UsageError("Select letters, or take all that match the filters")
    if len(numbers) > MOST_SELECTED:
        raise UsageError(f"At most {MOST_SELECTED} letters by number: narrow the filters down and take all that match")
    return Selection(numbers, {} if numbers else filters, every == "1")
