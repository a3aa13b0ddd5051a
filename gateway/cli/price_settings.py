"""Checks of the prices in settings: those of endpoints of one's own, each fault with its line."""

from typing import TYPE_CHECKING

from gateway.settings_upstream import PriceSettings

if TYPE_CHECKING:
    from pricing import Catalogue, Listing
    from pricing.faults import Fault, Report
    from pricing.plausible import Plausible
    from pricing.sources.document import Node

_DIGITS = 12  # of a number of tokens
_TRUE = {"true", "yes", "on"}  # as YAML 1.1 has it


def check_settings(
    data: bytes, name: str, catalogue: "Catalogue", plausible: "Plausible"
) -> "tuple[Fault, ...]":
    """The faults of `endpoints[].price`; what else is in the file is not looked at.

    Args:
        data: the settings file.
        name: what it is called in messages.
        catalogue: which models are known.
        plausible: what prices are judged by.
    """
    from pricing.faults import Report
    from pricing.sources.document import NotADocument, document

    report = Report(name)
    try:
        root = document(data)
    except NotADocument as error:
        report.add(error.line, "", str(error), "correct it there or before that line")
        return report.faults
    if root.kind not in {"mapping", "null"}:
        report.add(root.line, "", "is not a settings file", "see docs/reference/settings.md")
    endpoints = root.fields.get("endpoints")
    if endpoints is not None and endpoints.kind not in {"list", "null"}:
        report.add(endpoints.line, "endpoints", "is not a list", "begin each endpoint with `- `")
    for at, node in enumerate(endpoints.items if endpoints is not None else ()):
        _endpoint(f"endpoints[{at}]", node, catalogue, plausible, report)
    return report.faults


def own_listings(
    data: bytes, catalogue: "Catalogue"
) -> "tuple[tuple[tuple[str, Listing], ...], int]":
    """The endpoints of a settings file with prices of their own, as rows of a catalogue.

    Returns:
        The endpoint's name for its model, and its row, of each endpoint whose price can be read; and
        how many others there are, because of faults or of values from the environment.
    """
    from pricing import Listing, PriceDataError, own_card
    from pricing.sources.document import NotADocument, document

    try:
        endpoints = document(data).fields.get("endpoints")
    except NotADocument:
        return (), 1
    found: list[tuple[str, Listing]] = []
    nodes = endpoints.items if endpoints is not None else ()
    for node in nodes:
        texts = {name: value.text for name, value in node.fields.items()}
        price = node.fields.get("price")
        model = texts.get("serves") or catalogue.resolve(texts.get("model", ""))
        if price is None or model is None or not texts.get("provider"):
            continue
        prices = {
            name: value.text if value.kind == "text" else "" for name, value in price.fields.items()
        }
        currency = prices.pop("currency", "USD")
        try:
            # As the gateway makes it, so that the ledger has the same id.
            card = own_card(
                provider=texts["provider"], model=model, prices=prices, currency=currency
            )
        except PriceDataError:
            continue
        listing = Listing(
            card=card,
            context_length=_tokens(texts.get("context_length")),
            max_output=_tokens(texts.get("max_output")),
        )
        found.append((texts.get("model", model), listing))
    return tuple(found), len(nodes) - len(found)


def _tokens(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < _DIGITS else None


def _endpoint(
    where: str, node: "Node", catalogue: "Catalogue", plausible: "Plausible", report: "Report"
) -> None:
    from pricing.faults import near
    from pricing.price_checks import Row, check_currency, check_prices

    if node.kind != "mapping":
        report.add(node.line, where, "is not an endpoint", "write it as a mapping of settings")
        return
    texts = {name: value.text for name, value in node.fields.items()}
    provider, model = texts.get("provider", ""), texts.get("model", "")
    subject = (texts.get("id") or f"{provider}/{model}")[:160]
    price = node.fields.get("price")
    if price is None or price.kind != "mapping":
        line = node.line if price is None else price.line
        wrong = "is missing" if price is None else "is not a section of prices"
        advice = (
            'write price: {input: "…", output: "…"}, per million tokens; nothing is free by default'
        )
        report.add(line, f"{where}.price", wrong, advice, subject=subject)
        return
    slug = _served(where, node, catalogue, report, subject)
    for name, line in price.repeated:
        report.add(
            line, f"{where}.price.{name}", "is there more than once", "keep one", subject=subject
        )
    variables = []
    for name, value in price.fields.items():
        place = f"{where}.price.{name}"
        if name not in PriceSettings.model_fields:
            advice = near(name, PriceSettings.model_fields)
            advice = advice or f"there are {', '.join(PriceSettings.model_fields)}"
            report.add(value.line, place, "is no such setting", advice, subject=subject)
        elif "${" in value.text:
            variables.append(name)
            report.add(
                value.line,
                place,
                "comes from the environment and was not checked",
                subject=subject,
                severity="warning",
            )
    currency: str | None = "USD"
    if "currency" in price.fields:
        currency = None
        if "currency" not in variables:
            at = price.fields["currency"]
            currency = check_currency(at, f"{where}.price.currency", subject, report)
        if currency is not None and not plausible.knows(currency):
            report.add(
                price.fields["currency"].line,
                f"{where}.price.currency",
                f"too few prices are known in {currency}",
                "whether those here are plausible was not checked",
                subject=subject,
                severity="warning",
            )
    local = _local(texts)
    row = Row(
        where=f"{where}.price",
        subject=subject,
        model=slug,
        currency=currency,
        own=local or provider not in {card.provider for card in catalogue.cards},
        zero=None if local else "warning",
        zero_advice="requests to it will count against no budget; if that is not meant, write what"
        " it costs",
    )
    required = [name for name in ("input", "output") if name not in variables]
    check_prices(_without(price, variables), row, plausible, report, required)


def _without(node: "Node", names: list[str]) -> "Node":
    from msgspec.structs import replace

    fields = {name: value for name, value in node.fields.items() if name not in names}
    return replace(node, fields=fields)


def _local(texts: dict[str, str]) -> bool:
    """Whether an endpoint is the operator's own hardware, as `EndpointSettings.is_local` has it."""
    if "local" in texts:
        return texts["local"].lower() in _TRUE
    return texts.get("sandbox", "").lower() in _TRUE or texts.get("kind") == "vllm"


def _served(
    where: str, node: "Node", catalogue: "Catalogue", report: "Report", subject: str
) -> str:
    """The model that an endpoint serves, for its usual prices; tells of one that nobody knows."""
    from pricing.faults import near

    serves, model = node.fields.get("serves"), node.fields.get("model")
    known = {facts.slug for facts in catalogue.models()}
    if serves is None:
        slug = None if model is None else catalogue.resolve(model.text)
        if slug is None and model is not None and "${" not in model.text:
            report.add(
                model.line,
                f"{where}.model",
                f"{model.text[:60]!r} is no name of a known model",
                "say with `serves` which model it is" + _behind(near(model.text, known)),
                subject=subject,
            )
        return slug or ""
    if serves.text in known or "${" in serves.text:
        return serves.text
    meant = catalogue.resolve(serves.text)
    report.add(
        serves.line,
        f"{where}.serves",
        f"{serves.text[:60]!r} is not the canonical name of a known model",
        (f"write {meant}" if meant else "a model of your own is judged by the prices of all others")
        + ("" if meant else _behind(near(serves.text, known))),
        subject=subject,
        severity="warning",
    )
    return meant or serves.text


def _behind(hint: str) -> str:
    return f"; {hint}" if hint else ""
