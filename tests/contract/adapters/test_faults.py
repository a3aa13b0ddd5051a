"""Every failure of a provider is told as what it is, after whatever came before it."""

import pytest

from backends.errors import (
    AccessRefused,
    AccountRateLimited,
    BackendError,
    BadReply,
    ConnectFailed,
    ConnectionLost,
    ContentRefused,
    ContextLengthExceeded,
    CredentialRefused,
    ModelUnavailable,
    Overloaded,
    ParameterUnsupported,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    UpstreamFault,
    UpstreamTimeout,
)
from backends.sandbox import Fault, FaultName
from tests.contract.adapters.upstream import HOW, KINDS, TELLING, Ended, Upstream

WORDY = ("moonshot", "openrouter")  # have a word for nearly everything

# fault -> what it is everywhere, and at the kinds whose wire says it in another way
REFUSALS: list[tuple[str, type[BackendError], dict[str, type[BackendError]]]] = [
    # what Moonshot refuses so is sampling that is fixed there
    ("error400", RequestRefused, {"moonshot": ParameterUnsupported}),
    ("error400_filter", RequestRefused, dict.fromkeys((*WORDY, "vercel"), ContentRefused)),
    ("error400_context", ContextLengthExceeded, {}),
    ("error401", CredentialRefused, {}),
    ("error402", QuotaExhausted, {}),
    ("error403", AccessRefused, {}),
    # a 403 with a word for it; OpenRouter's for a key at its limit is that of any other
    ("error403_quota", AccessRefused, {"moonshot": QuotaExhausted, "novita": QuotaExhausted}),
    # nobody but Moonshot and OpenRouter has a word for it that is known
    ("error403_moderation", AccessRefused, dict.fromkeys((*WORDY, "vercel"), ContentRefused)),
    ("error404", ModelUnavailable, {}),
    # their limits are the account's, those of others a model's
    ("error429_rate", RateLimited, dict.fromkeys(WORDY, AccountRateLimited)),
    # Novita is known to have no word for it; vLLM says 503
    ("error429_overloaded", RateLimited, dict.fromkeys((*WORDY, "vercel", "vllm"), Overloaded)),
    ("error429_quota", QuotaExhausted, {"vllm": RateLimited, "openai_compat": AccessRefused}),
    ("error500", UpstreamFault, {}),
    (
        "error503",
        Overloaded,
        {"moonshot": ProviderUnavailable, "novita": ProviderUnavailable, "vercel": UpstreamFault},
    ),
    ("html502", ProviderUnavailable, {}),
    ("html504", ProviderTimeout, {}),
]


# what an error inside a reply is, where its wire has a word for it
IN_WORK: dict[str, type[BackendError]] = {"openrouter": ProviderUnavailable}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("upstream", TELLING, indirect=True)
@pytest.mark.parametrize(("fault", "kind", "exceptions"), REFUSALS)
async def test_a_refusal_is_told_before_any_answer(
    upstream: Upstream,
    how: str,
    fault: str,
    kind: type[BackendError],
    exceptions: dict[str, type[BackendError]],
) -> None:
    with pytest.raises(BackendError) as caught:
        await upstream.open(f"[[fault={fault}]]", how)
    assert type(caught.value) is exceptions.get(upstream.kind, kind)
    assert caught.value.status is not None
    assert caught.value.status >= 400
    assert "org-" not in caught.value.public


def test_the_table_holds_every_refusal_of_the_sandbox() -> None:
    known = {name for name in FaultName if name.startswith(("error", "html"))} - {"error_event"}
    assert {fault for fault, _, _ in REFUSALS} == known
    assert all(exceptions.keys() <= set(KINDS) for _, _, exceptions in REFUSALS)


async def test_a_wrong_key_is_our_fault(upstream: Upstream) -> None:
    upstream.key = "sk-wrong"
    with pytest.raises(CredentialRefused) as caught:
        await upstream.open()
    assert "sk-wrong" not in str(caught.value)


async def test_retry_after_is_passed_on(upstream: Upstream) -> None:
    with pytest.raises(RateLimited) as caught:
        await upstream.open("[[fault=error429_rate,retry_after=17]]")
    assert caught.value.retry_after == 17.0


async def test_no_listener_is_no_connection(upstream: Upstream) -> None:
    upstream.server.stop_listening()
    with pytest.raises(ConnectFailed):
        await upstream.open()


@pytest.mark.parametrize("how", HOW)
async def test_a_reset_before_the_answer_is_a_lost_connection(upstream: Upstream, how: str) -> None:
    upstream.server.faults.add(Fault(name=FaultName.REFUSE, count=1))
    with pytest.raises(ConnectionLost):
        await upstream.open("Hi", how)
    assert (await upstream.ask("Hi", how)).error is None


@pytest.mark.parametrize("how", HOW)
async def test_silence_before_the_head_ends_at_the_first_byte_deadline(
    upstream: Upstream, how: str
) -> None:
    hurried = upstream.hurried(first_byte=0.05)
    with pytest.raises(UpstreamTimeout) as caught:
        await hurried.open("[[fault=stall]]", how)
    assert (caught.value.phase, caught.value.seconds) == ("first_byte", 0.05)
    await upstream.server.cancelled.wait()


async def test_silence_between_pieces_ends_at_the_idle_deadline(upstream: Upstream) -> None:
    ended = await upstream.hurried(idle=0.05).ask("[[fault=stall_after_head,after=4,think=0]]")
    assert isinstance(ended.error, UpstreamTimeout)
    assert ended.error.phase == "idle"
    assert ended.answer.content == "This is Tidegate's sandbox"
    await upstream.server.cancelled.wait()


async def test_silence_in_a_whole_reply_ends_at_the_idle_deadline(upstream: Upstream) -> None:
    with pytest.raises(UpstreamTimeout) as caught:
        await upstream.hurried(idle=0.05).open("[[fault=stall_after_head]]", "whole")
    assert caught.value.phase == "idle"
    await upstream.server.cancelled.wait()


async def test_the_total_time_ends_an_answer_that_goes_on(upstream: Upstream) -> None:
    ended = await upstream.ask("[[n=10000,pace=5,think=0]]", timeout=0.8)
    assert isinstance(ended.error, UpstreamTimeout)
    assert ended.error.phase == "total"
    assert ended.answer.content
    await upstream.server.cancelled.wait()


@pytest.mark.parametrize("how", ["stream", "collected"])
@pytest.mark.parametrize("death", ["rst", "fin"])
async def test_a_cut_comes_after_what_was_sent(upstream: Upstream, how: str, death: str) -> None:
    ended = await upstream.ask(f"[[fault=cut,after=3,how={death},think=0]]", how)
    assert isinstance(ended.error, ConnectionLost | BadReply)
    assert ended.answer.content == "This is Tidegate's"
    assert ended.answer.finish == []
    await still_failed(ended)


@pytest.mark.parametrize("death", ["rst", "fin"])
async def test_half_of_a_whole_reply_is_none(upstream: Upstream, death: str) -> None:
    with pytest.raises((ConnectionLost, BadReply)):
        await upstream.open(f"[[fault=cut,how={death}]]", "whole")


async def test_an_error_inside_a_stream_comes_after_what_was_sent(upstream: Upstream) -> None:
    ended = await upstream.ask("[[fault=error_event,after=2,think=0]]")
    assert type(ended.error) is IN_WORK.get(upstream.kind, UpstreamFault)
    assert ended.error.native_code
    assert ended.answer.content == "This is"
    await still_failed(ended)


async def test_an_error_before_any_piece_is_told(upstream: Upstream) -> None:
    ended = await upstream.ask("[[fault=error_event,after=-1]]")
    assert type(ended.error) is IN_WORK.get(upstream.kind, UpstreamFault)
    assert ended.events == []


async def test_an_error_inside_a_whole_reply_is_told(upstream: Upstream) -> None:
    with pytest.raises(IN_WORK.get(upstream.kind, UpstreamFault)):
        await upstream.open("[[fault=error_event]]", "whole")


@pytest.mark.parametrize("how", HOW)
async def test_what_an_error_says_that_it_cost_is_known(upstream: Upstream, how: str) -> None:
    after = -1 if how == "whole" else 2
    ended = await upstream.ask(f"[[fault=billed_error,after={after},think=0]]", how)
    assert type(ended.error) is IN_WORK.get(upstream.kind, UpstreamFault)
    assert ended.answer.usage is not None
    assert ended.answer.usage.prompt > 0
    assert ended.answer.usage.completion == max(after, 0)


async def test_a_malformed_event_is_skipped_and_counted(upstream: Upstream) -> None:
    tag = "[[fault=malformed_event,after=3]]"
    ended = await upstream.ask(tag)
    assert ended.error is None
    assert ended.reply.malformed == 1
    assert ended.answer == (await upstream.ask("x" * len(tag))).answer


async def test_a_malformed_whole_reply_is_bad(upstream: Upstream) -> None:
    with pytest.raises(BadReply):
        await upstream.open("[[fault=malformed_event]]", "whole")


async def test_an_end_without_its_mark_is_bad_after_all_that_came(upstream: Upstream) -> None:
    tag = "[[fault=no_done]]"
    ended = await upstream.ask(tag)
    assert isinstance(ended.error, BadReply)
    assert ended.answer == (await upstream.ask("x" * len(tag))).answer
    await still_failed(ended)


async def test_a_giant_event_is_refused_and_its_connection_closed(upstream: Upstream) -> None:
    ended = await upstream.ask("[[fault=oversized_line,size=12000000,think=0,after=2]]")
    assert isinstance(ended.error, BadReply)
    assert ended.answer.content == "This is"
    await still_failed(ended)
    await upstream.server.cancelled.wait()


async def still_failed(ended: Ended) -> None:
    """Who reads on after a failure is told of it again."""
    assert ended.error is not None
    with pytest.raises(type(ended.error)):
        await ended.reply.next()
