import pytest

from gateway.auth.header import bearer_token, why_malformed
from gateway.auth.keys import new_key
from gateway.errors import Unauthenticated


@pytest.mark.parametrize("header", [b"Bearer abc", b"bearer abc", b"BEARER  abc ", b" Bearer abc"])
def test_the_token_follows_the_scheme_in_any_case(header: bytes) -> None:
    assert bearer_token(header) == b"abc"


@pytest.mark.parametrize("header", [None, b"", b"  ", b"Bearer", b"Bearer "])
def test_no_key_is_told_how_to_send_one(header: bytes | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        bearer_token(header)
    assert caught.value.code == "missing_api_key"
    assert caught.value.status == 401
    assert "`Authorization: Bearer sk-tg-…`" in caught.value.message


def test_a_key_without_its_scheme_is_told_so() -> None:
    with pytest.raises(Unauthenticated, match="word `Bearer` is missing") as caught:
        bearer_token(new_key().encode())
    assert caught.value.code == "invalid_api_key"


def test_another_scheme_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="not of the form") as caught:
        bearer_token(b"Basic dXNlcjpwYXNz")
    assert caught.value.code == "invalid_api_key"
    assert "dXNl" not in caught.value.message


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (b"sk-or-v1-0123456789abcdef", "an OpenRouter key"),
        (b"sk-ant-api03-0123456789abcdef", "an Anthropic key"),
        (b"sk-proj-0123456789abcdef", "an OpenAI key"),
        (b"sk-0123456789abcdef0123456789abcdef", "an OpenAI or Moonshot key"),
        (b"sk_0123456789abcdef", "a Novita key"),
        (b"$TIDEGATE_API_KEY", "placeholder"),
        (b"<your key>", "placeholder"),
        ("sk-tg-…".encode(), "placeholder"),
        (b'"sk-tg-0123456789abcdef"', "quotation marks"),
        (b"sk-tg-0123456789abcdef", "was cut: it has 22 characters where 52 are expected"),
        (b"sk-tg-" + b"0" * 60, "has something added"),
        (b"sk-tg-" + b"0" * 46, "mistyped: its checksum"),
        (b"hunter2-0123456789abcdef", "not an API key of this gateway"),
        (b"", "empty"),
    ],
)
def test_a_malformed_key_is_told_what_is_wrong_with_it(token: bytes, told: str) -> None:
    message = why_malformed(token)
    assert told in message
    assert "0123456789abcdef" not in message
    assert "hunter2" not in message
