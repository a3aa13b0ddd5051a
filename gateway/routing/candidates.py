"""Which endpoints could serve a model."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from gateway.routing.access import View, permitted, view
from gateway.routing.plan import UsualPlan
from gateway.values import Access, Candidate
from gateway.wire.modes import base_of
from pricing import Catalogue

_MOST_VIEWS = 8192


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
        self._views: dict[tuple[int, str, int], tuple[Access, View]] = {}
        self._by_account: dict[str, list[str]] = {}
        for found in self._by_model.values():
            for candidate in found:
                endpoint = candidate.endpoint
                self._by_account.setdefault(endpoint.account, []).append(endpoint.id)

    @property
    def models(self) -> Mapping[str, tuple[Candidate, ...]]:
        """Canonical model to its candidates, cheapest first."""
        return self._by_model

    def resolve(self, name: str) -> str | None:
        """The canonical model that a caller's name means, if it is served here.

        The suffixes `:thinking` and `:instant` are no part of a model but say how it shall think.
        """
        known = self._named(name)
        if known is None and (base := base_of(name)) != name:
            known = self._named(base)
        return known

    def _named(self, name: str) -> str | None:
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

    def view(self, access: Access, model: str, max_attempts: int) -> View:
        """A canonical model that is served here, as a caller's levels have it.

        Remembered by the identity of `access`, which the keys of a team share.
        """
        key = (id(access), model, max_attempts)
        known = self._views.get(key)
        if known is not None and known[0] is access:
            return known[1]
        found = view(access, model, self._by_model[model], self.resolve, max_attempts)
        if len(self._views) >= _MOST_VIEWS:
            self._views.clear()
        self._views[key] = (access, found)  # keeps `access` alive, so that its id stays its own
        return found

    def permitted(self, access: Access) -> frozenset[str]:
        """The canonical models that a caller's levels let it use at all."""
        return permitted(access, self._by_model, self.resolve)

    def all(self) -> Iterable[Candidate]:
        """Every candidate of every model."""
        return chain.from_iterable(self._by_model.values())

    def endpoints_of(self, account: str) -> Sequence[str]:
        """The ids of the endpoints of an account at a provider; none if there is no such account."""
        return self._by_account.get(account, ())

    def candidates(self, model: str) -> tuple[Candidate, ...]:
        """The candidates of a canonical model; none if it is not served."""
        return self._by_model.get(model, ())


def _order(candidate: Candidate) -> tuple[bool, int, str]:
    card = candidate.card
    price = 0 if card is None else 3 * card.input + card.output
    return card is None, price, candidate.endpoint.id
