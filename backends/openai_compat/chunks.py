"""The JSON of OpenAI-style replies: what of it is read, and what is made of the rest."""

import re
from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct

from backends.errors import BackendError, UpstreamFault
from backends.openai_compat.failure_bodies import UNREADABLE
from backends.openai_compat.reasoning import DETAILS, read_details
from backends.values import Finish, Piece, Usage

_ABSENT = Raw(b"")  # a default, as `Raw | None` would take nothing but null
NOTHING = (b"", b"null")
_LEAST = len('{"":0}')  # bytes of an object that says anything
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
# What a provider calls an answer, and the end of one, goes into journal, ledger and logs: nothing but a
# word of visible ASCII does, so that neither can be flooded, or filled with what a model wrote.
_IDENTITY = re.compile(r"[!-~]{1,128}")
_REASON = re.compile(r"[!-~]{1,64}")
UNFIT = "unreadable"  # in the place of anything else
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
# Escapes of one half of a pair of surrogates, without the other; what stands before them in the
# pattern is not one.
_HALVES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)

# The role is always the assistant's; the other is Vercel's own account of how it routed the request, and
# what that cost it (recordings of 2026-03-12, read 2026-11-22).
_UNTOLD = frozenset({"role", "provider_metadata"})
_EMPTY = frozenset({b"null", b'""', b"[]"})
_LONGEST_EMPTY = max(map(len, _EMPTY))
_MEANINGFUL = frozenset({"content", "reasoning", "reasoning_content", "tool_calls", "refusal"})

_FINISH = {
    "stop": "stop",
    "eos": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    "abort": "error",  # vLLM, when it is shut down in the middle of an answer
}

ClassifyEvent = Callable[[Raw], BackendError]


class _PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None  # the litellm worker's
    created_cache_tokens: int | None = None  # vLLM with --enable-prompt-tokens-details


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None


_NO_PROMPT_DETAILS = _PromptDetails()
_NO_COMPLETION_DETAILS = _CompletionDetails()


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
    usage: Raw = _ABSENT  # Moonshot puts it here as well
    error: Raw = _ABSENT  # OpenRouter says here what ended an answer that was not streamed


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
    usage: Raw = _ABSENT
    error: Raw = _ABSENT
    x_groq: Raw = _ABSENT  # Groq's last chunk holds its usage there


class _Groq(Struct):
    usage: Raw = _ABSENT


decode_chunk = msgspec.json.Decoder(Chunk).decode
_decode_fault = msgspec.json.Decoder(Fault).decode
_decode_usage = msgspec.json.Decoder(_Usage).decode
_decode_groq = msgspec.json.Decoder(_Groq).decode


def identity_of(identity: str | None) -> str | None:
    """The provider's id of an answer, or `UNFIT` in its place; None if it has none."""
    if not identity:
        return None
    return identity if _IDENTITY.fullmatch(identity) else UNFIT


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


def usage_in(chunk: Chunk) -> Usage | None:
    """The usage that stands beside the choices: OpenAI's place, or Groq's (its API reference)."""
    usage = usage_of(chunk.usage)
    if usage is None and len(chunk.x_groq) > _LEAST:
        try:
            usage = usage_of(_decode_groq(chunk.x_groq).usage)
        except UNREADABLE:
            return None
    return usage


def stated_in(chunk: Chunk) -> Usage | None:
    """The usage of a chunk or whole reply, wherever it stands."""
    in_choices = [usage_of(choice.usage) for choice in chunk.choices or ()]
    return usage_in(chunk) or next(filter(None, in_choices), None)


def usage_of(raw: Raw) -> Usage | None:
    """The counts, if both totals are there. Usage that cannot be read voids nothing but itself."""
    if len(raw) < _LEAST:
        return None
    try:
        found = _decode_usage(raw)
    except UNREADABLE:
        return None
    prompt, completion = found.prompt_tokens, found.completion_tokens
    if prompt is None or completion is None:
        return None
    details = found.prompt_tokens_details or _NO_PROMPT_DETAILS
    reasoning = found.completion_tokens_details or _NO_COMPLETION_DETAILS
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
        cache_write_1h=details.cache_write_1h_tokens or 0,
        reasoning=reasoning.reasoning_tokens or 0,
        reported_cost=_cost_in(found.cost) if len(found.cost) else None,
    )


def _cost_in(raw: Raw) -> str | None:
    cost = bytes(raw).decode("ascii", "replace").strip('"')
    return cost if _NUMBER.fullmatch(cost) else None


def readable(document: bytes) -> tuple[Chunk, bytes]:
    """A chunk, and the document that its raw parts come from: `document`, or what was made of it.

    Raises:
        UNREADABLE: it is no chunk.
    """
    try:
        str(document, "utf-8")  # msgspec takes raw values as they are
    except UnicodeDecodeError:  # as the standard of event streams has it: never lose the rest
        document = document.decode("utf-8", "replace").encode()
    try:
        chunk = decode_chunk(document)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        document = mended(document)
        chunk = decode_chunk(document)
    if b"\n" in document or b"\r" in document:
        document = on_one_line(document)
        chunk = decode_chunk(document)
    return chunk, document


def piece_of(index: int, delta: dict[str, Raw], scores: Raw) -> Piece | None:
    """A delta with empty members left out and reasoning under one name; None if nothing is left."""
    kept: dict[str, Raw] = {}
    meaningful = False
    for name, raw in delta.items():
        # Lengths first: no long text is copied and hashed to see that it is not one of these.
        if name in _UNTOLD or (len(raw) <= _LONGEST_EMPTY and bytes(raw) in _EMPTY):
            continue
        if name in _MEANINGFUL:
            meaningful = True
            if name == "reasoning_content":
                kept.setdefault("reasoning", raw)
                continue
        kept[name] = raw
    if DETAILS in kept:
        meaningful = _tell_details(kept) or meaningful
    logprobs = None if bytes(scores) in NOTHING else scores
    if not kept and logprobs is None:
        return None
    return Piece(index, kept, meaningful, logprobs)


def _tell_details(kept: dict[str, Raw]) -> bool:
    """Leave out details that only repeat the text; give their text where nothing else does.

    Returns:
        Whether they gave it.
    """
    told = kept.get("reasoning")
    details = read_details(kept[DETAILS])
    if details.plain and (told is None or details.text is None or told == details.text):
        del kept[DETAILS]
    if told is not None or details.text is None:
        return False
    kept["reasoning"] = details.text
    return True


def finish_of(choice: Choice, native: str, classify: ClassifyEvent) -> Finish:
    """The end of a choice.

    Raises:
        BackendError: it is not one that the model came to. OpenRouter says why in the choice.
    """
    reason = _FINISH.get(native)
    if reason is None:
        reason, native = "stop", native if _REASON.fullmatch(native) else UNFIT
    if reason == "error":
        if bytes(choice.error) not in NOTHING:
            raise classify(choice.error)
        raise UpstreamFault(
            f"the provider ended the answer with finish_reason {native!r}",
            public="the provider broke the answer off",
            native_code=native,
        )
    return Finish(choice.index, reason, native)
