"""The settings of what an endpoint does with data. Part of `gateway.settings`."""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from gateway.settings_fields import Section


class EvidenceSettings(Section):
    """What a host does with what it is sent, and what says so.

    Any fact needs `source` and `date`; what is not stated counts as "trains" and "retains".
    """

    trains: bool | None = Field(None, description="Whether it may train on prompts or answers.")
    retains: bool | None = Field(
        None,
        description="Whether it keeps them beyond the request. Caching prompts in memory is not that.",
    )
    retention_days: Annotated[int, Field(ge=1)] | None = Field(
        None, description="For how many days it keeps them, if it does."
    )
    region: str | None = Field(None, description="Where they are processed.")
    source: str | None = Field(
        None, min_length=1, description="What says so: a document, an agreement, your own hardware."
    )
    date: dt.date | None = Field(None, description="When that was read or signed: `2026-11-22`.")
    valid_until: dt.date | None = Field(
        None, description="The last day (UTC) on which it counts; for ever unless set."
    )

    @property
    def states_facts(self) -> bool:
        """Whether it says anything of what happens to data."""
        return self.trains is not None or self.retains is not None

    @model_validator(mode="after")
    def _evident(self) -> "EvidenceSettings":
        if not self.states_facts:
            if self.model_fields_set - {"hosts"}:
                raise ValueError("states no fact: add 'trains' and 'retains', true or false")
            return self
        if self.source is None or not self.source.strip() or self.date is None:
            raise ValueError(
                "a fact needs evidence: add 'source' (a document, an agreement, your own hardware)"
                " and 'date' (when that was read, such as 2026-11-22)"
            )
        if self.retention_days is not None and not self.retains:
            raise ValueError("'retention_days' goes with 'retains: true' only")
        if self.valid_until is not None and self.valid_until < self.date:
            raise ValueError("'valid_until' is before 'date'")
        return self


class DataPolicySettings(EvidenceSettings):
    """What an endpoint, with your credential there, does with what it is sent.

    Replaces what is known of the provider's published terms as a whole. Any fact needs `source` and
    `date`; what is not stated counts as "trains" and "retains".
    """

    hosts: Mapping[str, EvidenceSettings] = Field(
        {}, description="Aggregators only: the same of each host that `only` names."
    )
