"""What a provider's refusal means, and what may be told of it: the replies in `failures/`."""

import re
import time
from email.utils import formatdate
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from backends import errors
from backends.errors import (
    BackendError,
    Blame,
    ContentRefused,
    ContextLengthExceeded,
    CredentialRefused,
    ModelUnavailable,
    NoHost,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
)
from backends.openai_compat.failure_bodies import public_text, retry_after, told
from backends.openai_compat.failure_rows import SHARED
from backends.openai_compat.failures import FailureRules, Row
from backends.openai_compat.reply import ChunkReader, read_whole
from backends.registry import KINDS
from backends.sse import EventReader
from backends.values import Event
from tests.unit.backends.openai_compat.failure_cases import CASES, FOLDER, NOW, Case

FAILURES = {name: kind.quirks.failures for name, kind in KINDS.items()}
REFUSALS = [case for case in CASES if case.status != 200]
INSIDE = [case for case in CASES if case.status == 200]

# Those that our own client finds, without a word of the provider. (That there was no connection, the worker
# of litellm tells as well.)
OURS = {"AddressRefused", "LineFull", "ConnectionLost", "UpstreamTimeout"} | {
    "BadToolCall",
    "EmptyReply",
}


def refused(case: Case) -> BackendError:
    return FAILURES[case.kind].refusal(case.status, case.body, case.header, NOW)


def broken(case: Case) -> BackendError:
    """The failure inside a reply of 200."""
    rules, events = FAILURES[case.kind], list[Event]()
    with pytest.raises(BackendError) as caught:  # noqa: PT012 - a stream has several events
        if not case.path.endswith(".sse"):
            read_whole(case.body, rules.event)
        reader = ChunkReader(rules.event)
        for payload in EventReader().feed(case.body):
            reader.read(payload, events)
    return caught.value


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.path)
def test_a_refusal_is_classified_and_says_how_long_to_wait(case: Case) -> None:
    error = refused(case)
    assert type(error) is case.error
    assert error.status == case.status
    assert error.retry_after == case.wait
    assert not error.in_work


@pytest.mark.parametrize("case", INSIDE, ids=lambda case: case.path)
def test_a_failure_inside_a_good_reply_is_classified(case: Case) -> None:
    assert type(broken(case)) is case.error


def test_every_reply_has_its_case_and_is_said_to_be_from_somewhere() -> None:
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.*")} - {"README.md"}
    assert files == {case.path for case in CASES}
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", readme, re.MULTILINE))
    assert listed.keys() == files
    assert all(source.strip() for source in listed.values())


def hit(case: Case) -> Row:
    rules, said = FAILURES[case.kind], told(case.body)
    if case.status != 200:
        return rules.match(case.status, said, inside=False)[0]
    rows: list[Row] = []

    class Noted(FailureRules):
        @override
        def match(self, *args: Any, **kwargs: Any) -> tuple[Row, str]:
            found = super().match(*args, **kwargs)
            rows.append(found[0])
            return found

    noted = Noted(rules.own, rules.shared)
    with pytest.raises(BackendError):  # noqa: PT012 - a stream has several events
        if not case.path.endswith(".sse"):
            read_whole(case.body, noted.event)
        reader = ChunkReader(noted.event)
        for payload in EventReader().feed(case.body):
            reader.read(payload, [])
    return rows[-1]


def test_every_row_has_a_reply_that_hits_just_it() -> None:
    rows = {id(row): row for rules in FAILURES.values() for row in (*rules.own, *rules.shared)}
    assert rows.keys() - {id(hit(case)) for case in CASES} == set()


def test_every_class_that_a_provider_can_state_occurs() -> None:
    def family(kind: type[BackendError]) -> set[type[BackendError]]:
        return {kind}.union(*(family(child) for child in kind.__subclasses__()))

    stated = {kind for kind in family(BackendError) if kind.__name__ not in OURS}
    assert {case.error for case in CASES} == stated - {BackendError}


def overlap(one: Row, other: Row) -> bool:
    """Whether a reply can hit both, neither of them asking for more."""
    if one.weight != other.weight:
        return False
    if None not in {one.inside, other.inside} and one.inside != other.inside:
        return False
    if None not in {one.page, other.page} and one.page != other.page:
        return False
    pairs = ((one.status, other.status), (one.words, other.words), (one.has, other.has))
    return all(not (a and b) or a & b for a, b in pairs)


@pytest.mark.parametrize("kind", FAILURES)
def test_no_reply_hits_two_rows_of_one_table(kind: str) -> None:
    rules = FAILURES[kind]
    for rows in (rules.own, rules.shared):
        doubtful = [
            (one, other)
            for one, other in combinations(rows, 2)
            if overlap(one, other)
            and not (one.says and other.says and set(one.says).isdisjoint(other.says))
        ]
        assert doubtful == []


def test_every_kind_of_endpoint_has_its_rules() -> None:
    assert KINDS.keys() <= FAILURES.keys()
    for name, kind in KINDS.items():
        assert kind.quirks.failures is FAILURES[name]


def test_every_row_says_where_it_is_known_from_and_when() -> None:
    for rules in FAILURES.values():
        for row in (*rules.own, *rules.shared[:-1]):
            assert re.search(r"20[0-9]{2}", row.source), row


def test_the_last_row_fits_whatever_comes() -> None:
    assert SHARED[-1].weight == 0
    assert all(row.weight > 0 for row in SHARED[:-1])


def test_text_is_read_only_in_a_providers_own_rows() -> None:
    assert not any(row.says for row in SHARED)
    assert {kind for kind, rules in FAILURES.items() if any(row.says for row in rules.own)} == {
        "moonshot",
        "moonshot_cn",
        "novita",
        "openai_compat",
        "openrouter",
        "vllm",
    }


@given(
    st.sampled_from(sorted(FAILURES)),
    st.integers(300, 599),
    st.binary(max_size=60) | st.text('{}[]":,\\ue0aerrocdtypm1', max_size=60).map(str.encode),
)
def test_any_status_and_any_bytes_are_some_failure(kind: str, status: int, body: bytes) -> None:
    error = FAILURES[kind].refusal(status, body, lambda _: body[:20], NOW)
    assert error.status == status
    assert error.public
    assert error.retry_after is None or 0 <= error.retry_after <= 86_400
    assert FAILURES[kind].event(body).public


NAMES = st.from_regex(
    "error|message|type|code|reason|param|metadata|availability|detail|error_type|raw|headers"
    "|X-RateLimit-Reset|retry_after|provider_name",
    fullmatch=True,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=12,
)


@given(st.sampled_from(sorted(FAILURES)), JSON)
def test_any_json_is_some_failure(kind: str, body: Any) -> None:
    raw = msgspec.json.encode(body)
    error = FAILURES[kind].refusal(429, raw, None, NOW)
    assert error.retry_after is None or 0 <= error.retry_after <= 86_400
    assert FAILURES[kind].event(raw).public


ACCOUNT = "Your account org-5a4d6b0c9e1f<ak-f4k3k3yf4k3k3y>"
SECRET = "sk-0123456789abcdefghij"


@given(
    st.sampled_from(sorted(FAILURES)),
    st.sampled_from([400, 401, 402, 403, 404, 413, 422, 429, 500, 503]),
    st.text(max_size=40),
    st.sampled_from(["message", "type", "code", "param"]),
)
def test_a_secret_never_gets_into_what_the_caller_reads(
    kind: str, status: int, around: str, place: str
) -> None:
    said = {"message": "m", "type": "invalid_request_error", place: f"{around} {SECRET} {around}"}
    nested = {"message": "x", "metadata": {"raw": msgspec.json.encode({"error": said}).decode()}}
    for inner in (said, nested):
        body = msgspec.json.encode({"error": inner})
        assert SECRET not in FAILURES[kind].refusal(status, body).public
        assert SECRET not in FAILURES[kind].event(body).public


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 65_536,
        b'{"error":' * 7_000,
        b'{"error":{"message":"' + b"a." * 32_000 + b'"}}',
        b'{"error":{"message":"' + b"try again after 1" * 3_800 + b'"}}',
        b'{"error":{"message":"' + b"max_model_le" * 5_400 + b'","type":"BadRequestError"}}',
        b'{"error":{"message":"m","code":' + b"9" * 60_000 + b"}}",
        b'{"error":{"message":"m","availability":{"retry_after":' + b"9" * 400 + b"}}}",
        b'{"error":{"message":"m","metadata":{"raw":"' + b"[" * 60_000 + b'"}}}',
        b'{"error":{"message":"m","metadata":{"headers":{' + b'"a":1,' * 10_000 + b'"b":2}}}}',
        b"<" * 65_536,
        b" " * 65_536,
        b"\xff" * 65_536,
    ],
    ids=lambda body: str(body[:24]),
)
@pytest.mark.parametrize("kind", ["moonshot", "openrouter", "vllm"])
def test_no_body_takes_long_to_be_understood(kind: str, body: bytes) -> None:
    started = time.process_time()
    FAILURES[kind].refusal(400, body, lambda _: None, NOW)
    FAILURES[kind].event(body)
    assert time.process_time() - started < 0.1, "50 ms each"


def test_only_a_fault_of_the_request_keeps_the_next_endpoint_from_being_tried() -> None:
    for case in REFUSALS:
        error = refused(case)
        assert error.try_next == (case.error not in {RequestRefused, ContentRefused})
        callers = issubclass(case.error, RequestRefused | ContentRefused | ContextLengthExceeded)
        assert (error.blame is Blame.CALLER) == callers
        if callers:
            assert error.sets_aside == "nothing"


def test_what_holds_for_an_account_sets_all_of_its_endpoints_aside() -> None:
    wide = {kind for kind in vars(errors).values() if getattr(kind, "sets_aside", "") == "account"}
    assert {kind.__name__ for kind in wide} == {
        "AccountRateLimited",
        "CredentialRefused",
        "QuotaExhausted",
    }
    assert all(kind.blame is Blame.ACCOUNT for kind in wide)


def test_another_key_is_worth_trying_only_where_it_is_the_key_that_is_at_fault() -> None:
    keyed = {kind for kind in vars(errors).values() if getattr(kind, "next_key", False)}
    assert {kind.__name__ for kind in keyed} == {"AccessRefused", "CredentialRefused"}
    assert not RateLimited.next_key, "keys of one account are no capacity"
    assert not QuotaExhausted.next_key
    assert CredentialRefused.try_next


def body_of(kind: str, message: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": kind}})


@pytest.mark.parametrize(
    ("kind", "path", "text"),
    [
        (
            "moonshot",
            "400-fixed-temperature",
            "invalid temperature: only 1 is allowed for this model",
        ),
        (
            "openrouter",
            "400-host",
            "Model 'moonshotai/kimi-k2.6' supports at most 1 image per prompt.",
        ),
        ("moonshot", "400-input-too-long", "Input token length too long"),
    ],
)
def test_the_caller_reads_why_its_request_is_at_fault(kind: str, path: str, text: str) -> None:
    body = (FOLDER / kind / f"{path}.json").read_bytes()
    assert FAILURES[kind].refusal(400, body).public == text


def test_a_proxys_page_is_never_quoted() -> None:
    page = b"<html><title>413 at 10.0.0.7</title></html>"
    error = FAILURES["openai_compat"].refusal(413, page)
    assert (type(error), error.public) == (RequestRefused, RequestRefused.public_default)


def test_what_a_filter_quotes_of_the_prompt_is_not_repeated() -> None:
    body = (FOLDER / "openrouter/403-moderation.json").read_bytes()
    assert FAILURES["openrouter"].refusal(403, body).public == ContentRefused.public_default


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "invalid_authentication_error"),
        (403, "permission_denied_error"),
        (404, "resource_not_found_error"),
        (429, "rate_limit_reached_error"),
        (429, "exceeded_current_quota_error"),
        (500, "server_error"),
    ],
)
def test_what_concerns_our_account_or_the_provider_is_not_quoted_at_all(
    status: int, kind: str
) -> None:
    message = f"{ACCOUNT} is suspended, see host-17"
    error = FAILURES["moonshot"].refusal(status, body_of(kind, message))
    assert error.public == type(error).public_default
    assert message in str(error)


def test_a_body_that_was_cut_off_still_tells_by_its_text() -> None:
    body = body_of("BadRequestError", "Parameter 'cache_salt' is not supported")[:-4]
    assert FAILURES["vllm"].refusal(400, body).native_code == "cache_salt_refused"


@pytest.mark.parametrize(
    ("words", "native"),
    [
        ({"type": "invalid_request_error", "code": "content_filter"}, "content_filter"),
        ({"type": "insufficient_quota", "code": "unheard_of"}, "insufficient_quota"),
        ({"type": "one", "code": "two"}, "two"),
        ({"type": "x" * 65, "code": 400}, None),
        ({"type": "line\nbreak"}, None),
    ],
)
def test_the_word_for_the_log_is_the_one_that_decided(
    words: dict[str, Any], native: str | None
) -> None:
    body = msgspec.json.encode({"error": {"message": "m", **words}})
    assert FAILURES["openai_compat"].refusal(400, body).native_code == native


@pytest.mark.parametrize(
    ("code", "error"), [("privacy_restricted", NoHost), ("model_deprecated", ModelUnavailable)]
)
@pytest.mark.parametrize(
    "message", ["No endpoints found for moonshotai/kimi-k3", "No endpoints found that support it"]
)
def test_why_openrouter_has_no_host_is_told_by_its_code_before_its_text(
    code: str, error: type[BackendError], message: str
) -> None:
    told = {"message": message, "availability": {"code": code}}
    found = FAILURES["openrouter"].refusal(404, msgspec.json.encode({"error": told}))
    assert type(found) is error


def test_what_openrouter_breaks_off_itself_is_not_billed_and_what_others_do_may_be() -> None:
    fault = b'{"code":502,"message":"x"}'
    assert not FAILURES["openrouter"].event(fault).in_work
    assert FAILURES["openai_compat"].event(fault).in_work
    assert not FAILURES["openai_compat"].event(b'{"code":429,"message":"x"}').in_work


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({b"retry-after-ms": b"250", b"retry-after": b"9"}, 0.25),
        ({b"retry-after-ms": b"x", b"retry-after": b"9"}, 9.0),
        ({b"retry-after-ms": b"-1"}, 0.0),
        ({b"retry-after-ms": b"1e12"}, 86_400.0),
        ({b"x-ratelimit-reset": b"1795348806000"}, 6.0),
        ({b"x-ratelimit-reset": b"1"}, 0.0),
        ({b"x-ratelimit-reset": b"99999999999999999"}, 86_400.0),
        ({b"x-ratelimit-reset": b"soon"}, None),
        ({b"retry-after": b"3", b"x-ratelimit-reset": b"1795348806000"}, 3.0),
        ({}, None),
    ],
)
def test_the_wait_is_what_the_most_exact_header_says(
    headers: dict[bytes, bytes], seconds: float | None
) -> None:
    assert FAILURES["openrouter"].refusal(429, b"{}", headers.get, NOW).retry_after == seconds


@pytest.mark.parametrize(
    ("message", "public"),
    [
        (f"{ACCOUNT} is over it", "Your account …<…> is over it"),
        ("key sk-abcdefghijkl and sk_abcdefghijkl are", "key … and … are"),
        ("proj-a1b2c3d4 / org_a1b2c3d4 / user-a1b2c3d4", "… / … / …"),
        ("uid 5f1c2d5f1c2d5f1c2d5f1c2d.", "uid …."),
        ("write to jane.doe+x@example.org now", "write to … now"),
        ("see https://x.ai/a?key=1 or http://10.0.0.1:80/b", "see … or …"),
        ("two\nlines\x00and\ta \u202etab", "two lines and a  tab"),
        ("max_tokens must be 1, got 2. (parameter=max_tokens, value=2)",) * 2,
        ("tool_choice 'required' is incompatible with thinking enabled",) * 2,
        ("model token limit: 262144 (requested: 269030)",) * 2,
        ("task-oriented, risk-averse disk-shaped",) * 2,
        ("", None),
        ("   ", None),
    ],
)
def test_what_could_be_private_is_taken_out(message: str, public: str | None) -> None:
    assert public_text(message) == public


def test_public_text_is_short() -> None:
    assert len(public_text("x " * 1000) or "") == 400


def test_a_secret_at_the_edge_of_the_text_is_not_cut_open() -> None:
    for padding in range(330, 420):
        shown = public_text("x" * padding + " sk-0123456789abcdefghij " + "y" * 3000) or ""
        assert "sk-0" not in shown


@pytest.mark.parametrize("unit", ["a.", "a-", "sk-", "a@", "http:", "f"])
def test_a_huge_message_is_scrubbed_in_no_time(unit: str) -> None:
    started = time.process_time()
    public_text(unit * 1_000_000)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (b"3", 3.0),
        (b" 0.5 ", 0.5),
        (b"0", 0.0),
        (b"-4", 0.0),
        (b"1e9", 86_400.0),
        (b"inf", 86_400.0),
        (b"nan", 0.0),
        (formatdate(NOW + 90, usegmt=True).encode(), 90.0),
        (formatdate(NOW - 90, usegmt=True).encode(), 0.0),
        (b"Wed, 21 Oct 9998 07:28:00 GMT", 86_400.0),
        (b"99999999999999999999 Jan 2020 00:00:00 GMT", None),
        (b"soon", None),
        (b"", None),
        (b"\xff\xfe", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(
    value: bytes | None, seconds: float | None
) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.binary(max_size=40) | st.text("0123456789 +-:,JanGMT", max_size=40).map(str.encode))
def test_no_retry_after_is_too_odd_to_be_read(value: bytes) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= 86_400
