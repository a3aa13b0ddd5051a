"""Each fault happens on a real socket as its name says, at every provider."""

import asyncio
import gzip

import pytest

from backends.sandbox import Fault, FaultName, SandboxServer
from tests.contract.sandbox.caller import Caller, Reply, chat, chat_body, chat_path, request


def pieces(reply: Reply) -> int:
    fields = ("content", "reasoning_content", "reasoning", "tool_calls")
    return sum(any(delta.get(field) for field in fields) for delta in reply.deltas)


@pytest.mark.parametrize(("how", "error"), [("rst", ConnectionResetError), ("fin", EOFError)])
@pytest.mark.parametrize("after", [-1, 0, 3, 8])
async def test_a_cut_comes_after_the_chosen_number_of_pieces(
    server: SandboxServer, how: str, error: type[Exception], after: int
) -> None:
    reply = await chat(server, f"[[fault=cut,after={after},how={how}]]", stream=True)
    assert reply.status == 200
    assert not reply.complete
    assert isinstance(reply.error, error)
    assert pieces(reply) == max(after, 0)
    assert bool(reply.deltas) == (after >= 0)


@pytest.mark.parametrize("name", ["cut", "cut_nonstream"])
async def test_a_whole_reply_is_cut_half_way(server: SandboxServer, name: str) -> None:
    reply = await chat(server, f"[[fault={name},how=fin]]")
    assert not reply.complete
    assert abs(2 * len(reply.body) - int(reply.headers["content-length"])) <= 1


async def test_a_refusal_is_a_reset_before_the_body_is_read(server: SandboxServer) -> None:
    server.faults.add(Fault(name=FaultName.REFUSE, count=1))
    caller = await Caller.connect(server)
    assert caller.transport is not None
    head = f"POST {chat_path(server)} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
    caller.transport.write(head.encode())  # and no body
    reply = await caller.whole()
    assert isinstance(reply.error, ConnectionResetError)
    assert reply.status == 0
    assert server.received.count == 0
    assert (await chat(server)).status == 200


async def test_a_closed_listener_refuses_and_comes_back_on_its_port(server: SandboxServer) -> None:
    idle = await Caller.connect(server)
    port = server.port
    server.stop_listening()
    with pytest.raises(ConnectionRefusedError):
        await Caller.connect(server)
    await idle.whole()
    assert idle.lost
    assert await server.start() == port
    assert (await chat(server)).status == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_a_stall_never_answers_until_the_caller_leaves(
    server: SandboxServer, *, stream: bool
) -> None:
    caller = await Caller.connect(server)
    caller.send("POST", chat_path(server), chat_body(server, "[[fault=stall]]", stream=stream))
    await server.received.wait()
    assert server.in_flight == 1
    with pytest.raises(TimeoutError):
        await caller.until(lambda reply: reply.status > 0, within=0.05)
    caller.leave()
    await server.cancelled.wait()
    assert server.in_flight == 0


async def test_a_stall_after_the_head_shows_the_head(server: SandboxServer) -> None:
    caller = await Caller.connect(server)
    tag = "[[fault=stall_after_head]]"
    caller.send("POST", chat_path(server), chat_body(server, tag, stream=True))
    reply = await caller.until(lambda reply: reply.status == 200)
    assert reply.body == b""
    await caller.gone()
    await server.cancelled.wait()


async def test_a_caller_who_leaves_in_the_middle_is_seen(server: SandboxServer) -> None:
    caller = await Caller.connect(server)
    tag = "[[n=10000,pace=5]]"
    caller.send("POST", chat_path(server), chat_body(server, tag, stream=True))
    await caller.until(lambda reply: b"content" in reply.body)
    assert (server.in_flight, server.cancelled.count) == (1, 0)
    caller.leave()
    await server.cancelled.wait()
    assert (server.in_flight, server.completed.count) == (0, 0)


@pytest.mark.parametrize("how", ["abort", "write_eof"])
async def test_a_caller_who_stops_reading_and_leaves_is_seen(
    server: SandboxServer, how: str
) -> None:
    caller = await Caller.connect(server)
    assert caller.transport is not None
    caller.transport.pause_reading()
    giant = "[[fault=oversized_line,size=30000000]]"
    caller.send("POST", chat_path(server), chat_body(server, giant, stream=True))
    await server.received.wait()
    getattr(caller.transport, how)()
    await server.cancelled.wait()
    caller.transport.abort()


async def test_an_empty_reply_ends_cleanly_without_a_piece(server: SandboxServer) -> None:
    reply = await chat(server, "[[fault=empty]]", stream=True)
    assert reply.complete
    assert pieces(reply) == 0
    assert reply.data[-1] == b"[DONE]"
    whole = await chat(server, "[[fault=empty]]")
    assert not whole.json["choices"][0]["message"]["content"]
    assert whole.json["usage"]["completion_tokens"] == 0


@pytest.mark.parametrize("after", [0, 2])
async def test_an_error_event_stands_inside_a_good_status(
    server: SandboxServer, after: int
) -> None:
    reply = await chat(server, f"[[fault=error_event,after={after}]]", stream=True)
    assert (reply.status, reply.complete) == (200, True)
    assert pieces(reply) == after
    assert reply.chunks[-1]["error"]["message"]
    whole = await chat(server, "[[fault=error_event]]")
    assert whole.status == 200
    assert set(whole.json) <= {"error", "user_id"}


async def test_a_billed_error_states_the_tokens_of_what_was_sent(server: SandboxServer) -> None:
    reply = await chat(server, "[[fault=billed_error,after=2]]", stream=True)
    last = reply.chunks[-1]
    assert last["error"]["message"]
    assert last["usage"]["completion_tokens"] == pieces(reply) == 2
    whole = await chat(server, "[[fault=billed_error]]")
    assert whole.json["error"]["message"]
    assert whole.json["usage"]["completion_tokens"] == 0
    assert whole.json["usage"]["prompt_tokens"] > 0


async def test_a_malformed_event_is_no_json(server: SandboxServer) -> None:
    good = await chat(server, stream=True)
    reply = await chat(server, "[[fault=malformed_event,after=1]]", stream=True)
    assert len(reply.data) == len(good.data) + 1
    with pytest.raises(ValueError, match="truncated"):
        assert reply.chunks
    with pytest.raises(ValueError, match="truncated"):
        assert (await chat(server, "[[fault=malformed_event]]")).json


async def test_a_stream_without_its_end_mark_is_complete_http(server: SandboxServer) -> None:
    reply = await chat(server, "[[fault=no_done]]", stream=True)
    assert reply.complete
    assert b"[DONE]" not in reply.body
    assert reply.text().endswith("characters.")


@pytest.mark.parametrize("fault", ["slow,delay=1", "trickle,size=5"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_slow_reply_is_a_good_one(
    server: SandboxServer, fault: str, *, stream: bool
) -> None:
    reply = await chat(server, f"[[fault={fault}]]", stream=stream)
    assert reply.complete
    text = reply.text() if stream else reply.json["choices"][0]["message"]["content"]
    assert text.endswith("characters.")


async def test_an_oversized_line_is_valid_and_as_long_as_asked(server: SandboxServer) -> None:
    reply = await chat(server, "[[fault=oversized_line,size=300000,n=0]]", stream=True)
    assert max(len(one) for one in reply.data) > 300_000
    assert len(reply.text()) == 300_000


@pytest.mark.parametrize(
    ("fault", "status"), [("html502", 502), ("html504", 504), ("login_page", 200)]
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_page_of_html_stands_where_an_answer_should(
    server: SandboxServer, fault: str, status: int, *, stream: bool
) -> None:
    reply = await chat(server, f"[[fault={fault}]]", stream=stream)
    assert (reply.status, reply.headers["content-type"]) == (status, "text/html")
    assert reply.body.startswith(b"<html>")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_can_stand_in_place_of_the_answer(
    server: SandboxServer, *, stream: bool
) -> None:
    reply = await chat(server, "[[fault=whole_error]]", stream=stream)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.json["error"]["message"]


async def test_only_comments_may_come(server: SandboxServer) -> None:
    reply = await chat(server, "[[fault=comments_only]]", stream=True)
    assert (reply.status, reply.complete, reply.data) == (200, True, [])
    assert reply.body.count(b"\n\n") == 3
    whole = await chat(server, "[[fault=comments_only]]")
    assert (whole.status, whole.complete, whole.body) == (200, True, b"")


async def test_the_first_token_can_be_late_behind_its_head(server: SandboxServer) -> None:
    tag = "[[fault=slow_first,delay=60]]"
    for stream in (True, False):
        caller = await Caller.connect(server)
        caller.send("POST", chat_path(server), chat_body(server, tag, stream=stream))
        reply = await caller.until(lambda reply: reply.status == 200)
        assert b"content" not in reply.body
        text = (await caller.whole()).body
        assert b"content" in text
        await caller.gone()


async def test_lines_can_end_in_crlf(server: SandboxServer) -> None:
    good = await chat(server, "[[n=2,think=0]]", stream=True)
    reply = await chat(server, "[[fault=crlf,n=2,think=0]]", stream=True)
    assert reply.complete
    assert b"\n" not in reply.body.replace(b"\r\n", b"")
    assert reply.body.count(b"\r\n") == good.body.count(b"\n")
    assert (await chat(server, "[[fault=crlf]]")).json["choices"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_body_can_be_compressed(server: SandboxServer, *, stream: bool) -> None:
    reply = await chat(server, "[[fault=gzip]]", stream=stream)
    assert reply.headers["content-encoding"] == "gzip"
    text = gzip.decompress(reply.body)
    assert b"characters." in text or b'"characters' in text
    assert text.endswith(b"data: [DONE]\n\n") == stream


async def test_the_end_mark_can_come_twice(server: SandboxServer) -> None:
    reply = await chat(server, "[[fault=double_done]]", stream=True)
    assert reply.data[-2:] == [b"[DONE]", b"[DONE]"]


async def test_an_unheard_of_finish_reason_is_the_hosts_own(server: SandboxServer) -> None:
    for stream in (True, False):
        reply = await chat(server, "[[fault=unknown_finish]]", stream=stream)
        assert b"ran_out_of_luck" in reply.body


async def test_a_reply_can_lack_usage(server: SandboxServer) -> None:
    asked = {"include_usage": True}
    reply = await chat(server, "[[fault=no_usage]]", stream=True, stream_options=asked)
    assert b'"usage"' not in reply.body
    assert b'"usage"' not in (await chat(server, "[[fault=no_usage]]")).body


async def test_a_fault_given_to_the_constructor_strikes() -> None:
    fault = Fault(name=FaultName.ERROR500, count=1, status=502)
    async with SandboxServer(faults=[fault]) as server:
        assert (await chat(server)).status == 502
        assert (await chat(server)).status == 200


async def test_a_fault_for_another_provider_does_not_strike(server: SandboxServer) -> None:
    tags = "[[fault=error500,at=elsewhere]] [[fault=error404,at=nowhere]]"
    assert (await chat(server, tags)).status == 200


async def test_a_misspelt_tag_is_told_to_the_caller(server: SandboxServer) -> None:
    reply = await chat(server, "[[fault=eror500]]")
    assert reply.status == 400
    assert b"eror500" in reply.body


async def test_a_server_that_closes_breaks_off_what_is_under_way(server: SandboxServer) -> None:
    caller = await Caller.connect(server)
    caller.send("POST", chat_path(server), chat_body(server, "[[fault=stall]]"))
    await server.received.wait()
    await server.aclose()
    reply = await caller.whole()
    assert isinstance(reply.error, ConnectionResetError)
    assert server.cancelled.count == 0
    await server.aclose()


async def test_control_paths_switch_faults_and_close_the_listener(server: SandboxServer) -> None:
    path = "/__sandbox/faults"
    fault = {"fault": "error503", "count": None}
    shown = await request(server, "POST", path, fault, key=None)
    assert shown.json == {"faults": [{"fault": "error503"}]}
    assert (await chat(server)).status == 503
    assert (await request(server, "DELETE", path, key=None)).json == {"faults": []}
    assert (await chat(server)).status == 200
    assert (await request(server, "POST", path, {"fault": "eror"}, key=None)).status == 400
    closure = {"closed_for_s": 0.05}
    assert (await request(server, "POST", "/__sandbox/listener", closure)).status == 200
    with pytest.raises(ConnectionRefusedError):
        await Caller.connect(server)
    async with asyncio.timeout(5):
        await server.listening()
    assert (await chat(server)).status == 200
