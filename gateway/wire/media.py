"""What a prompt holds besides text: which kinds of media, and whether by value or by reference.

Only message content is looked at, and only where a look costs little against what it decides: first a
search that finds out that there are no content parts at all, which is so in nearly every large prompt;
only where there may be some is anything taken apart. Nothing is ever fetched.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Raw, Struct

IMAGE, VIDEO, AUDIO, FILE = "image", "video", "audio", "file"
DATA, REMOTE, UPLOADED = "data", "remote", "uploaded"


class Media(Struct, frozen=True):
    """The media of a prompt.

    Attributes:
        kinds: of `image`, `video`, `audio` and `file`.
        sources: how they are given: `data` (the bytes themselves), `remote` (a public URL) or `uploaded`
            (Moonshot's `ms://` ids).
    """

    kinds: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()


NO_MEDIA = Media()

# Content parts by the member that holds them, as OpenAI's, Moonshot's and vLLM's dialects name it. vLLM
# takes a part without a `type` by the same names (its chat_utils.py, version 0.32, read 2026-11-22).
_KINDS: Mapping[str, str] = {
    "image_url": IMAGE,
    "video_url": VIDEO,
    "input_audio": AUDIO,
    "audio_url": AUDIO,
    "file": FILE,
    "file_url": FILE,
}
# Lists of objects that hold no content parts, by their keys as they mostly stand in a body.
_OTHER_LISTS = (b'"messages"', b'"tools"', b'"tool_calls"')
_SPACE = b" \t\n\r"
_PARTS = re.compile(rb"\[[ \t\n\r]*\{")
_SMALL = 16_384  # bytes of a body that one expression goes through in no time
_NEAR = 64  # bytes before a list in which its key is looked for
_SPARSE = 4096  # bytes to a bracket: where there are more brackets, one expression is faster
_SCHEME = 48  # bytes of a URL that show its scheme, also if all of it is escaped

_ROWS = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_OBJECT = msgspec.json.Decoder(dict[str, Raw]).decode
_TEXT = msgspec.json.Decoder(str).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def may_have_parts(body: bytes | bytearray) -> bool:
    """Whether any value in a request could be a list of content parts. Sees too much, never too little.

    A message whose content is a string, however long, costs a search for brackets.

    Args:
        body: a JSON object, with the list of messages in it.
    """
    if len(body) < _SMALL:
        if len(_PARTS.findall(body)) <= 1:
            return False  # the messages are the only list of objects
    elif body.find(b"[", body.find(b"[") + 1) < 0:
        return False  # the messages are the only list
    for start in _lists(body):
        before = body[max(0, start - _NEAR) : start].rstrip(_SPACE)
        if not before:
            return True  # the key is out of sight behind white space
        if before[-1:] != b":":
            continue  # in a string, or in a list: what has a key comes after a colon
        key = before[:-1].rstrip(_SPACE)
        # A quotation mark after a backslash is within a string, and `content` ends in no backslash.
        ends = key[-1:] == b'"' and key[-2:-1] != b"\\"
        if (ends or not key) and not key.endswith(_OTHER_LISTS):
            return True
    return False


def _lists(body: bytes | bytearray) -> Iterator[int]:
    """Where a list begins whose first item is an object; some that are none come too, none is missed."""
    find, place, seen = body.find, 0, 0
    while (place := find(b"[", place)) >= 0:
        if seen * _SPARSE > place + _SPARSE * 16:
            yield from (found.start() for found in _PARTS.finditer(body, place))
            return
        seen += 1
        following = body[place + 1 : place + 2]
        if following == b"{" or (
            following in {b" ", b"\t", b"\n", b"\r"} and _PARTS.match(body, place)
        ):
            yield place
        place += 1


def media_of(messages: Raw) -> Media:
    """The media of a request's messages. What cannot be read is for the provider to refuse.

    Args:
        messages: the JSON of the field of that name.
    """
    kinds: set[str] = set()
    sources: set[str] = set()
    try:
        rows = _ROWS(messages)
    except _UNREADABLE:
        return NO_MEDIA
    for row in rows:
        content = row.get("content")
        if content is None or bytes(memoryview(content)[:1]) != b"[":
            continue
        try:
            parts = _ROWS(content)
        except _UNREADABLE:
            continue
        for part in parts:
            for name in part.keys() & _KINDS.keys():
                kinds.add(_KINDS[name])
                source = _source(part[name])
                if source is not None:
                    sources.add(source)
    return Media(frozenset(kinds), frozenset(sources)) if kinds else NO_MEDIA


def _source(value: Raw) -> str | None:
    """How the media of a part are given: its member is a URL, or an object that has one."""
    if bytes(memoryview(value)[:1]) == b"{":
        try:
            members = _OBJECT(value)
        except _UNREADABLE:
            return None
        if "url" not in members:
            return DATA if members.keys() & {"data", "file_data"} else None
        value = members["url"]
    return source_of(memoryview(value)[1:-1])


def source_of(url: bytes | memoryview) -> str | None:
    """How media are given by a URL; None if it is of no scheme that is known here.

    Args:
        url: a JSON string without its quotation marks.
    """
    head = bytes(memoryview(url)[:_SCHEME])
    if b"\\" in head:
        try:
            head = _TEXT(b'"%b"' % bytes(url))[:_SCHEME].encode()
        except _UNREADABLE:
            return None
    head = head.lstrip(_SPACE).lower()
    if head.startswith((b"http://", b"https://")):
        return REMOTE
    if head.startswith(b"ms://"):
        return UPLOADED
    return DATA if head.startswith(b"data:") else None
