"""Which endpoints could serve a model."""

from collections.abc import Iterable, Mapping

from gateway.routing.plan import UsualPlan
from gateway.values import Candidate
from pricing import Catalogue


class Book:
    """All candidates, by canonical model; what it answers never changes."""

    def __init__(self, catalogue: Catalogue, candidates: Iterable[Candidate]) -> None:
        """Within a model the cheapest come first: three prompt tokens weigh as one of output."""
        self._catalogue = catalogue
        by_model: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            by_model.setdefault(candidate.model, []).append(candidate)
        self._by_model = {
            model: tuple(sorted(found, key=_order)) for model, found in sorted(by_model.items())
        }
        self._usual: dict[tuple[str, int], UsualPlan] = {}

    @property
    def models(self) -> Mapping[str, tuple[Candidate, ...]]:
        """Canonical model to its candidates, cheapest first."""
        return self._by_model

    def resolve(self, name: str) -> str | None:
        """The canonical model that a caller's name means, if it is served here."""
        if name in self._by_model:
            return name
        known = self._catalogue.resolve(name)
        return known if known in self._by_model else None

    def usual(self, model: str, max_attempts: int) -> UsualPlan:
        """The plan of a canonical model that is served here, for calls that ask nothing special."""
        key = (model, max_attempts)
        usual = self._usual.get(key)
        if usual is None:
            usual = self._usual[key] = UsualPlan(
                model, self._by_model[model], max_attempts=max_attempts
            )
        return usual

    def candidates(self, model: str) -> tuple[Candidate, ...]:
        """The candidates of a canonical model; none if it is not served."""
        return self._by_model.get(model, ())


def _order(candidate: Candidate) -> tuple[bool, int, str]:
    card = candidate.card
    price = 0 if card is None else 3 * card.input + card.output
    return card is None, price, candidate.endpoint.id
