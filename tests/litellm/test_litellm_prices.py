"""Our quote beside litellm's `completion_cost`, for every row that both know."""

import json
import subprocess
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import pytest

from pricing import Quantities
from pricing.money import PER_MILLION_DECIMALS
from tests.unit.pricing.comparison import FIELDS, MIXED, Compared, listed, rows

_ASK = Path(__file__).with_name("ask_costs.py")
# litellm divides by a million, multiplies and adds in floats.
_NOISE = Decimal("1e-12")
_CALLS = (*FIELDS.values(), MIXED)
# Where it calls a host otherwise than we do.
_PREFIXES = {
    "azure": ("azure_ai/",),
    "bedrock": ("", "bedrock/", "bedrock_mantle/"),
    "fireworks": ("fireworks_ai/",),
    "together": ("together_ai/",),
    "vertex": ("vertex_ai/",),
    "vercel-ai-gateway": ("vercel_ai_gateway/",),
    "github-copilot": (),  # to price that, it logs in at GitHub
}


def newest() -> list[Compared]:
    """Of each model at a host the row that held last: litellm has no dates."""
    by_model: dict[tuple[str, str], Compared] = {}
    for row in rows():
        key = row.card.provider, row.card.provider_model_id
        if key not in by_model or by_model[key].day <= row.day:
            by_model[key] = row
    return list(by_model.values())


def names(row: Compared, known: Iterable[str]) -> list[str]:
    """What litellm may call it; it spells some names with capitals."""
    card = row.card
    prefixes = _PREFIXES.get(card.provider, (f"{card.provider}/",))
    wanted = {f"{prefix}{card.provider_model_id}".lower() for prefix in prefixes}
    return [name for name in known if name.lower() in wanted]


@pytest.fixture(scope="module")
def costs(litellm_python: Path) -> dict[str, list[Decimal]]:
    """What each call costs by litellm, in USD, by its name for the model."""
    (folder,) = (litellm_python.parents[1] / "lib").glob("python3*/site-packages/litellm")
    priced = json.loads((folder / "model_prices_and_context_window_backup.json").read_bytes())
    known = [name for name, row in priced.items() if row.get("input_cost_per_token")]
    asked = sorted({name for row in newest() for name in names(row, known)})
    calls = [
        (call.fresh_input, call.cache_read, call.cache_write_5m, call.output) for call in _CALLS
    ]
    run = subprocess.run(
        [litellm_python, _ASK],
        input=json.dumps([(name, calls) for name in asked]),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": "/usr/bin:/bin"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.splitlines()[-1])
    return {
        name: [Decimal(text) for text in texts]
        for name, texts in zip(asked, found, strict=True)
        if texts is not None
    }


def near(left: Decimal, right: Decimal) -> bool:
    """Whether two amounts are the same but for what floats lose."""
    return abs(left - right) <= _NOISE * max(left, right)


def compared(costs: dict[str, list[Decimal]]) -> Iterable[tuple[Compared, Quantities, Decimal]]:
    for row in newest():
        for name in names(row, costs):
            for call, cost in zip(_CALLS, costs[name], strict=True):
                yield row, call, cost


def test_every_difference_is_listed_with_its_reason_and_every_listed_one_is_there(
    costs: dict[str, list[Decimal]],
) -> None:
    known, found, count = listed("litellm"), set(), 0
    fields = {call: field for field, call in FIELDS.items()}
    for row, call, cost in compared(costs):
        if call is not MIXED:
            count += 1
            if not near(cost, row.ours(call)):
                found.add(row.differs(fields[call], round(cost, PER_MILLION_DECIMALS)))

    assert found - known.keys() == set()
    assert known.keys() - found == set()
    assert count > 300


def test_a_call_that_mixes_all_kinds_costs_what_its_parts_cost(
    costs: dict[str, list[Decimal]],
) -> None:
    differing = {
        (row.card.id) for row, call, cost in compared(costs) if not near(cost, row.ours(call))
    } - {
        row.card.id
        for row, call, cost in compared(costs)
        if call is not MIXED and not near(cost, row.ours(call))
    }

    assert differing == set()
