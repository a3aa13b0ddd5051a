"""The JSON of OpenAI-style replies: what of it is read, and what is made of the rest."""

import re

import msgspec
from msgspec import Raw, Struct

from backends.values import Usage

_ABSENT = Raw(b"")  # a default, as `Raw | None` would take nothing but null
NOTHING = (b"", b"null")
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
# Escapes of one half of a pair of surrogates, without the other; what stands before them in the
# pattern is not one.
_HALVES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


class _PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    created_cache_tokens: int | None = None  # vLLM with --enable-prompt-tokens-details


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None  # Moonshot
    cost: Raw = _ABSENT  # OpenRouter
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class Choice(Struct):
    """One choice of a chunk (`delta`) or of a whole reply (`message`)."""

    index: int = 0
    delta: dict[str, Raw] | None = None
    message: dict[str, Raw] | None = None
    finish_reason: str | None = None
    logprobs: Raw = _ABSENT
    usage: _Usage | None = None  # Moonshot puts it here as well


class Fault(Struct):
    """The members by which an error is known, whatever else is wrong with the document."""

    error: Raw = _ABSENT
    object: Raw = _ABSENT
    message: Raw = _ABSENT
    detail: Raw = _ABSENT
    choices: Raw = _ABSENT
    usage: Raw = _ABSENT


class Chunk(Struct):
    """A chunk of a stream, or a whole reply."""

    id: str | None = None
    choices: list[Choice] | None = None
    usage: _Usage | None = None
    error: Raw = _ABSENT


decode_chunk = msgspec.json.Decoder(Chunk).decode
_decode_fault = msgspec.json.Decoder(Fault).decode


def fault_in(document: bytes) -> Raw | None:
    """The error that a document is, or holds; None if it is none.

    The forms met in replies of status 200: `{"error": {…}}` and `{"error": "…"}`; flat, as vLLM had it
    before 0.10.1 (`{"object": "error", "message": …, "code": …}`, its change of 2025-08); and, where
    there is neither a choice nor usage, a bare `message` or `detail`.

    Raises:
        UNREADABLE: it is not a JSON object.
    """
    found = _decode_fault(document)
    if bytes(found.error) not in NOTHING:
        return found.error
    if bytes(found.object) == b'"error"':
        return Raw(document)
    told = bytes(found.message) not in NOTHING or bytes(found.detail) not in NOTHING
    answers = bytes(found.choices) not in NOTHING or bytes(found.usage) not in NOTHING
    return Raw(document) if told and not answers else None


def mended(document: bytes) -> bytes:
    r"""`document` with each lone half of a surrogate pair (`\ud83c`) as U+FFFD.

    Such escapes are the debris of an emoji that was cut in two. JSON's grammar has them, but most
    readers, ours and many a caller's, refuse all that is around them.
    """

    def whole(match: re.Match[bytes]) -> bytes:
        return rb"\ufffd" if match["half"] else match[0]

    return _HALVES.sub(whole, document)


def on_one_line(document: bytes) -> bytes:
    """Valid JSON without ends of lines: raw parts of it go into events, where a line end ends more."""
    return document.translate(_ONE_LINE)


def usage_of(found: _Usage) -> Usage | None:
    """The counts, if both totals are there."""
    prompt, completion = found.prompt_tokens, found.completion_tokens
    if prompt is None or completion is None:
        return None
    details = found.prompt_tokens_details or _PromptDetails()
    reasoning = found.completion_tokens_details or _CompletionDetails()
    cost = bytes(found.cost).decode("ascii", "replace").strip('"')
    cached = found.cached_tokens or details.cached_tokens or 0
    written = details.cache_write_tokens or 0
    if details.created_cache_tokens:
        # A by-product that vLLM counts in blocks: never let it void what is known of the rest.
        written = max(0, min(details.created_cache_tokens, prompt - cached))
    return Usage(
        prompt=prompt,
        completion=completion,
        cached=cached,
        cache_write=written,
        reasoning=reasoning.reasoning_tokens or 0,
        reported_cost=cost if _NUMBER.fullmatch(cost) else None,
    )
