"""What is booked for a request that its process never ended."""

from msgspec.structs import replace

from gateway.usage import lines
from gateway.usage.aborted import NO_STATUS, aborted_outcome
from gateway.values import Basis, Outcome, Result
from pricing import Money, Quantities, own_card
from tests.unit.gateway.usage.samples import CARD, NOW_MS, OTHER_CARD, opened, progress

CARDS = {CARD.id: CARD, OTHER_CARD.id: OTHER_CARD}
LATER = NOW_MS + 60_000
PROMPT = 100 * 600_000  # picos, at 0.60 a million


def test_what_was_delivered_is_charged_with_the_prompt() -> None:
    outcome = aborted_outcome(opened(), {1: progress(tokens=40)}, CARDS, LATER)
    assert outcome.result is Result.ABORTED
    assert outcome.error_code == "process_died"
    assert outcome.status == 200
    assert outcome.ttft_ms == 250
    assert (outcome.created_ms, outcome.closed_ms) == (NOW_MS, LATER)
    (attempt,) = outcome.attempts
    assert attempt.id == "gen-1-1"
    assert attempt.result is Result.ABORTED
    assert attempt.basis is Basis.ESTIMATED
    assert attempt.quantities == Quantities(fresh_input=100, output=40, requests=1)
    assert attempt.cost == attempt.charge == Money("USD", PROMPT + 40 * 2_500_000)
    assert attempt.duration_ms == 2000


def test_the_fee_of_a_search_that_the_journal_knows_of_is_not_forgotten() -> None:
    prices = {"input": "0.60", "output": "2.50", "cache_read": "0.15", "per_search": "0.005"}
    card = replace(own_card(provider="novita", model="m", prices=prices), id=CARD.id)
    noted = replace(progress(tokens=40), searches=2)
    read = lines.decode(lines.encode(noted))
    assert isinstance(read, lines.Progress)
    (attempt,) = aborted_outcome(opened(), {1: read}, {card.id: card}, LATER).attempts
    assert attempt.quantities.searches == 2
    assert attempt.cost == attempt.charge
    assert attempt.charge == Money("USD", PROMPT + 40 * 2_500_000 + 2 * 5_000_000_000)


def test_a_progress_line_from_before_there_were_searches_has_none() -> None:
    line = lines.encode(progress(tokens=40)).replace(b',"searches":0', b"")
    assert b"searches" not in line
    assert lines.decode(line) == progress(tokens=40)


def test_when_nothing_was_delivered_the_prompt_is_our_cost_and_nobodys_charge() -> None:
    (attempt,) = aborted_outcome(opened(), {1: progress(tokens=0)}, CARDS, LATER).attempts
    assert attempt.cost == Money("USD", PROMPT)
    assert attempt.charge == Money("USD", 0)


def test_without_a_progress_line_the_first_endpoint_is_presumed_to_have_been_asked() -> None:
    outcome = aborted_outcome(opened(), {}, CARDS, LATER)
    assert outcome.status == NO_STATUS
    (attempt,) = outcome.attempts
    assert (attempt.ordinal, attempt.endpoint_id) == (1, "novita/k2.6")
    assert attempt.started_ms == NOW_MS
    assert attempt.cost == Money("USD", PROMPT)
    assert attempt.charge == Money("USD", 0)


def test_each_attempt_is_booked_at_its_own_card_and_only_the_last_was_cut_off() -> None:
    lines = {2: progress(ordinal=2, tokens=10), 1: progress(ordinal=1, tokens=0)}
    first, second = aborted_outcome(opened(), lines, CARDS, LATER).attempts
    assert (first.result, second.result) == (Result.FAILED, Result.ABORTED)
    assert first.charge == Money("USD", 0)
    assert first.rate_card_id == CARD.id
    assert second.rate_card_id == OTHER_CARD.id
    # 0.95 and 4 a million, and 0.001 a request.
    assert second.charge == Money("USD", 100 * 950_000 + 10 * 4_000_000 + 10**9)


def test_a_request_without_a_plan_is_ended_without_attempts() -> None:
    assert aborted_outcome(opened(endpoints=()), {}, CARDS, LATER).attempts == ()


def test_a_missing_card_ends_the_request_all_the_same() -> None:
    (attempt,) = aborted_outcome(opened(), {1: progress()}, {}, LATER).attempts
    assert attempt.cost == attempt.charge == Money("USD", 0)
    assert attempt.quantities.output == 40


def test_whose_request_it_was_is_kept() -> None:
    line = opened(sandbox=True, streamed=False)
    outcome: Outcome = aborted_outcome(line, {}, CARDS, LATER)
    for field in (
        "request_id",
        "organisation_id",
        "team_id",
        "key_id",
        "api",
        "model_requested",
        "model",
        "streamed",
        "sandbox",
    ):
        assert getattr(outcome, field) == getattr(line, field)
