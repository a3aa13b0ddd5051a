"""From a refusal of an OpenAI-style provider to what it means, by rows of data.

A row names what a refusal must show, and the class that it then is. Of the rows that fit, the one that
asks for most counts: text before structure before the provider's word before the status; then the word
that says most; then a row of the provider's own before one of all.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw, Struct

from backends.errors import (
    BackendError,
    BadReply,
    ContextLengthExceeded,
    ProviderTimeout,
    ProviderUnavailable,
    RequestRefused,
    UpstreamFault,
)
from backends.openai_compat.failure_bodies import (
    UNREADABLE,
    Told,
    bounded,
    milliseconds,
    public_text,
    retry_after,
    told,
)

__all__ = ["UNREADABLE", "FailureRules", "Header", "Row", "row"]

Header = Callable[[bytes], bytes | None]

# Of these a caller reads the provider's reason: they speak of its own request.
_OF_THE_REQUEST = (RequestRefused, ContextLengthExceeded)
# Told inside a reply of 200, these come after work had begun.
_IN_WORK = (UpstreamFault, ProviderUnavailable, ProviderTimeout, BadReply)
_MAX_SEARCHED = 2_000
_MAX_TOLD = 200
_NO_WORD = 99  # behind every word that a body can have


class Row(Struct, frozen=True, kw_only=True):
    """One failure of a provider. What is empty or None is not asked for.

    Attributes:
        error: what it means.
        status: HTTP statuses; inside a reply of 200, the status that the error names.
        words: the provider's type, code or reason: one of these.
        has: members of the body, as in `Told.members`: one of these.
        lacks: a member of the body that must not be there, since it says more than the text does.
        says: pieces of its message, in lower case: one of these. Only where nothing else tells.
        page: whether it is a page for people and no JSON.
        inside: whether it is told inside a reply of 200.
        source: where this is known from, and when that was.
        native: the word for logs, where the provider has none.
        hint: what the operator is told to do.
    """

    error: type[BackendError]
    source: str
    status: frozenset[int] = frozenset()
    words: frozenset[str] = frozenset()
    has: frozenset[str] = frozenset()
    lacks: str = ""
    says: tuple[str, ...] = ()
    page: bool | None = None
    inside: bool | None = None
    native: str = ""
    hint: str = ""

    @property
    def weight(self) -> int:
        """How much the row asks for."""
        asked = (self.says, self.has, self.words, self.status, self.page is not None)
        return sum(bool(part) << place for place, part in enumerate(reversed(asked)))


def row(
    error: type[BackendError],
    source: str,
    *words: str,
    status: Iterable[int] = (),
    has: Iterable[str] = (),
    lacks: str = "",
    says: tuple[str, ...] = (),
    page: bool | None = None,
    inside: bool | None = None,
    native: str = "",
    hint: str = "",
) -> Row:
    """A row, of plain sequences."""
    return Row(
        error=error,
        source=source,
        status=frozenset(status),
        words=frozenset(words),
        has=frozenset(has),
        lacks=lacks,
        says=says,
        page=page,
        inside=inside,
        native=native,
        hint=hint,
    )


class FailureRules:
    """How one kind of endpoint fails.

    Attributes:
        own: the rows of this kind.
        shared: those that hold for every kind.
    """

    def __init__(
        self,
        own: Sequence[Row],
        shared: Sequence[Row],
        *,
        wait_text: str | None = None,
        reset_header: bytes | None = None,
        bills_failures: bool = True,
    ) -> None:
        """Put rows together.

        Args:
            own: the rows of this kind.
            shared: those of all kinds; the last of them fits everything.
            wait_text: a pattern whose one group is the seconds to wait in a message.
            reset_header: the header that says in milliseconds since 1970 when a limit is open again.
            bills_failures: whether an answer that the provider breaks off itself may be billed.
        """
        self.own = tuple(own)
        self.shared = tuple(shared)
        weighed = [(row.weight, True, row) for row in own]
        weighed += [(row.weight, False, row) for row in shared]
        self._weighed = sorted(weighed, key=lambda entry: entry[0], reverse=True)
        self._wait_text = None if wait_text is None else re.compile(wait_text)
        self._reset_header = reset_header
        self._bills_failures = bills_failures

    def refusal(
        self, status: int, body: bytes, header: Header | None = None, now: float = 0.0
    ) -> BackendError:
        """What an HTTP status other than 200 means.

        Args:
            status: the upstream's HTTP status.
            body: the start of the reply's body.
            header: looks a header of the reply up, by its name in lower case.
            now: epoch seconds.
        """
        said = told(body)
        row, word = self.match(status, said, inside=False)
        return self._error(row, word, said, status, self._wait(said, header, now))

    def event(self, error: bytes | Raw) -> BackendError:
        """What an `error` member inside a 200 reply means, or a whole document that is an error."""
        said = told(b'{"error":' + bytes(error) + b"}")
        if not said.words:
            flat = told(error)
            if not (flat.page or said.message):
                said = flat
        row, word = self.match(said.status, said, inside=True)
        found = self._error(row, word, said, said.status, self._wait(said, None, 0.0))
        found.in_work = self._bills_failures and isinstance(found, _IN_WORK)
        return found

    def match(self, status: int | None, said: Told, *, inside: bool) -> tuple[Row, str]:
        """The row that a failure hits, and the word by which it did, if by one."""
        text = said.message[:_MAX_SEARCHED].lower()
        best: tuple[int, int, bool] | None = None
        found, by = self.shared[-1], ""
        for weight, own, row in self._weighed:
            if best is not None and weight < best[0]:
                break
            if row.inside not in {None, inside} or row.page not in {None, said.page}:
                continue
            if row.status and status not in row.status:
                continue
            if (row.has and row.has.isdisjoint(said.members)) or row.lacks in said.members:
                continue
            if row.says and not any(piece in text for piece in row.says):
                continue
            place, word = _NO_WORD, ""
            if row.words:
                place, word = _first(said.words, row.words)
                if not word:
                    continue
            rank = (weight, -place, own)
            if best is None or rank > best:
                best, found, by = rank, row, word
        return found, by

    def _error(
        self, row: Row, word: str, said: Told, status: int | None, wait: float | None
    ) -> BackendError:
        native = row.native or word or (said.words[0] if said.words else None)
        where = "error inside a reply" if status is None else f"HTTP {status}"
        public = public_text(said.message) if issubclass(row.error, _OF_THE_REQUEST) else None
        return row.error(
            row.hint or f"{where} {native or ''}: {said.message[:_MAX_TOLD]}",
            status=status,
            public=None if said.page else public,
            retry_after=wait,
            native_code=native,
        )

    def _wait(self, said: Told, header: Header | None, now: float) -> float | None:
        """Seconds to wait: from the header that is most exact, or from what the body says."""
        if header is not None:
            wait = milliseconds(header(b"retry-after-ms"))
            if wait is None:
                wait = retry_after(header(b"retry-after"), now)
            if wait is not None:
                return bounded(wait)
        if said.wait is not None:
            return said.wait
        if self._wait_text is not None:
            found = self._wait_text.search(said.message[:_MAX_SEARCHED])
            if found is not None:
                return bounded(float(found[1]))
        return self._until_reset(said, header, now)

    def _until_reset(self, said: Told, header: Header | None, now: float) -> float | None:
        if self._reset_header is None or not now:
            return None
        at = milliseconds(said.reset)
        if at is None and header is not None:
            at = milliseconds(header(self._reset_header))
        return None if at is None else bounded(at - now)


def _first(said: Sequence[str], known: frozenset[str]) -> tuple[int, str]:
    for place, word in enumerate(said):
        if word in known:
            return place, word
    return _NO_WORD, ""
