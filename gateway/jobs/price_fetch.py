"""Asking a source for its prices: bounded in time and size, and only for what is new."""

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from backends import BackendError, HttpClient
from backends.values import Deadlines, Origin
from gateway.settings_prices import PricesSettings, RefreshSettings
from gateway.store.prices import Seen
from pricing.sources import genai_prices, litellm_map, novita, openrouter
from pricing.sources.rows import Reading, Resolve

_OK, _NOT_MODIFIED = 200, 304
_CONNECT = 10.0  # seconds

Read = Callable[[bytes, dt.date, Resolve], Reading]
READERS: Mapping[str, Read] = {
    "openrouter": openrouter.read,
    "novita": novita.read,
    "genai-prices": genai_prices.read,
    "litellm": litellm_map.read,
}
LABELS: Mapping[str, str] = {
    "openrouter": openrouter.SOURCE,
    "novita": novita.SOURCE,
    "genai-prices": genai_prices.SOURCE,
    "litellm": litellm_map.SOURCE,
}


class Fetched(Struct, frozen=True):
    """What a source sent, and what to know it by."""

    body: bytes
    etag: str | None = None
    last_modified: str | None = None

    @property
    def sha256(self) -> str:
        """A hash of the body."""
        return hashlib.sha256(self.body).hexdigest()


class Failed(Exception):
    """A source could not be had; the message says why."""


def url_of(source: str, settings: RefreshSettings) -> str:
    """Where a source is."""
    url: str = getattr(settings, f"{source.replace('-', '_')}_url")
    return url


async def fetch(
    client: HttpClient, source: str, settings: RefreshSettings, seen: Seen | None
) -> Fetched | None:
    """What a source says now; None if that is what it said before.

    Args:
        client: what to ask with; its `max_body_bytes` bounds the answer.
        source: one of `READERS`.
        settings: where it is, and how long it may take.
        seen: what it said before, if that still counts.

    Raises:
        Failed: no answer, none in time, one too large, or one of another status than 200.
    """
    url = url_of(source, settings)
    headers = b"User-Agent: tidegate\r\nAccept: application/json\r\n"
    if seen is not None and seen.etag is not None:
        headers += b"If-None-Match: %b\r\n" % seen.etag.encode("latin-1")
    if seen is not None and seen.last_modified is not None:
        headers += b"If-Modified-Since: %b\r\n" % seen.last_modified.encode("latin-1")
    # An address that somebody chose may be a mirror within the house; the usual ones are not.
    usual = url == url_of(source, PricesSettings().refresh)
    try:
        response = await client.request(
            Origin.of(url, local=not usual),
            method=b"GET",
            target=(urlsplit(url).path or "/").encode(),
            headers=headers,
            body=(),
            deadlines=Deadlines(
                connect=min(_CONNECT, settings.timeout),
                first_byte=settings.timeout,
                idle=settings.timeout,
                total=settings.timeout,
            ),
            timeout=settings.timeout,
            max_connections=1,
            resend_safe=True,
        )
        try:
            body = await response.read_all()
        except BaseException:
            response.abort()
            raise
    except BackendError as error:
        raise Failed(f"{url}: {error}") from error
    if response.status == _NOT_MODIFIED and seen is not None:
        return None
    if response.status != _OK:
        raise Failed(f"{url}: HTTP status {response.status}")
    return Fetched(
        bytes(body), _header(response.header(b"etag")), _header(response.header(b"last-modified"))
    )


def _header(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
