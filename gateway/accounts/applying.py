"""Bringing an installation to what a file declares: first the steps, then all of them or none.

    declared, what is there → steps → done, in one transaction

A step says what it changes, from what to what. Nothing is ever deleted: with `prune`, what the file does
not name is disabled (teams, members, keys), of the kinds that it names any of.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from gateway.accounts import budgets, keys, members, memberships, organisations, teams
from gateway.accounts.declared import (
    Declared,
    DeclaredBudget,
    DeclaredKey,
    DeclaredMember,
    DeclaredOrganisation,
    DeclaredTeam,
    moment,
    told_moment,
)
from gateway.accounts.office import Office
from gateway.accounts.privacy import Change
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Key, Member, Organisation, Team
from gateway.accounts.steps import (
    Step,
    changed_settings,
    demanded,
    plain,
    told_budget,
    told_privacy,
)
from gateway.errors import InvalidRequest
from gateway.policies.levels import NO_SETTINGS, LevelSettings, parse


class Applied(Struct, frozen=True):
    """What was done, or would be; `secrets` are the new keys in plain text, by path."""

    steps: tuple[Step, ...]
    secrets: Mapping[str, str]


class _Rehearsal(Exception):
    """It undoes what was only tried."""


async def apply(
    office: Office, actor: Actor, declared: Declared, *, dry_run: bool = False, prune: bool = False
) -> Applied:
    """Bring the installation to what is declared; with `dry_run` only see what that takes.

    A dry run does everything and then undoes it: what it reports would have been accepted.

    Raises:
        GatewayError: a step is refused; then nothing has happened.
    """
    done = Applied((), {})
    with contextlib.suppress(_Rehearsal):
        async with office.together(actor) as together:
            applying = _Applying(together, actor, prune=prune)
            for organisation in declared.organisations:
                await applying.organisation(organisation)
            done = Applied(tuple(applying.steps), {} if dry_run else applying.secrets)
            _undo(dry_run)
    return done


def _undo(rehearsal: bool) -> None:  # noqa: FBT001 - it says what it is
    if rehearsal:
        raise _Rehearsal


class _Applying:
    """Does what a declaration asks for, one level after the other, and notes each step."""

    def __init__(self, office: Office, actor: Actor, *, prune: bool) -> None:
        self.steps: list[Step] = []
        self.secrets: dict[str, str] = {}
        self._office = office
        self._actor = actor
        self._prune = prune

    async def organisation(self, wanted: DeclaredOrganisation) -> None:
        office, actor, path = self._office, self._actor, wanted.name
        there = await organisations.list_all(office, actor)
        found = next((row for row in there if row.name == wanted.name), None)
        if found is None:
            found = await organisations.create(office, actor, wanted.name)
            self.steps.append(Step("create", "organisation", path, {}, {"name": wanted.name}))
        change, settings = (
            demanded(wanted, found),
            changed_settings(wanted.settings, found.settings),
        )
        if change is not None or settings is not None:
            self._note("organisation", path, found, change, settings)
            await organisations.update(office, actor, found.id, privacy=change, settings=settings)
        await self._budget("organisation", found.id, path, wanted.budget)
        for member in wanted.members:
            await self._member(member, found.id, path)
        for team in wanted.teams:
            await self._team(team, found.id, path)
        if self._prune:
            await self._prune_organisation(wanted, found.id, path)

    async def _member(self, wanted: DeclaredMember, organisation: str, within: str) -> None:
        office, actor = self._office, self._actor
        path = f"{within}/{wanted.known_as}"
        found = await self._known(organisation, wanted.known_as)
        if found is None:
            settings = NO_SETTINGS if wanted.settings is UNSET else parse(wanted.settings)
            name = wanted.name or wanted.known_as
            found = await members.create(
                office,
                actor,
                name=name,
                role=wanted.role,
                kind="person" if wanted.email else "service",
                email=wanted.email,
                organisation=organisation,
                settings=settings,
            )
            after = {"name": name, "role": wanted.role, **plain(settings)}
            self.steps.append(Step("create", "member", path, {}, after))
        changes: dict[str, Any] = {}
        before: dict[str, Any] = {}
        if wanted.name is not None and wanted.name != found.name:
            changes["name"], before["name"] = wanted.name, found.name
        if wanted.role != found.role:
            changes["role"], before["role"] = wanted.role, found.role
        told = dict(changes)
        if (settings := changed_settings(wanted.settings, found.settings)) is not None:  # type: ignore[assignment] # None: as it is
            changes["settings"] = settings
            before |= plain(found.settings)
            told |= plain(settings)
        disabled = found.disabled_ms is not None
        if wanted.disabled is not UNSET and wanted.disabled != disabled:
            changes["disabled"] = told["disabled"] = wanted.disabled
            before["disabled"] = disabled
        if changes:
            self.steps.append(Step("update", "member", path, before, told))
            await members.update(office, actor, found.id, **changes)
        await self._budget("member", found.id, path, wanted.budget)

    async def _team(self, wanted: DeclaredTeam, organisation: str, within: str) -> None:
        office, actor, path = self._office, self._actor, f"{within}/{wanted.name}"
        there = await teams.list_all(office, actor, organisation=organisation)
        found = next((team for team in there if team.name == wanted.name), None)
        if found is None:
            found = await teams.create(office, actor, wanted.name, organisation=organisation)
            self.steps.append(Step("create", "team", path, {}, {"name": wanted.name}))
        change, settings = (
            demanded(wanted, found),
            changed_settings(wanted.settings, found.settings),
        )
        was = found.disabled_ms is not None
        disabled = None if wanted.disabled in {UNSET, was} else bool(wanted.disabled)
        if change is not None or settings is not None or disabled is not None:
            self._note("team", path, found, change, settings, disabled=disabled)
            await teams.update(
                office, actor, found.id, privacy=change, settings=settings, disabled=disabled
            )
        await self._budget("team", found.id, path, wanted.budget)
        if isinstance(wanted.members, dict):
            await self._memberships(wanted.members, found, organisation, path)
        for key in wanted.keys:
            await self._key(key, found, organisation, path)
        if self._prune:
            await self._prune_keys(wanted, found, path)

    async def _memberships(
        self, wanted: Mapping[str, str], team: Team, organisation: str, path: str
    ) -> None:
        office, actor = self._office, self._actor
        there = {}
        for row in await members.list_all(office, actor, team=team.id):
            role = next(one.role for one in row.teams if one.team_id == team.id)
            there[row.id] = (row.email or row.name, role)
        named: dict[str, str] = {}
        before, after = {}, {}
        for name, role in wanted.items():
            member = await self._required(organisation, name, f"{path}: members")
            named[member.id] = role
            old = there.get(member.id)
            if old is None or old[1] != role:
                after[name] = role
                if old is not None:
                    before[name] = old[1]
        gone = {ref: known for ref, known in there.items() if ref not in named}
        before |= dict(gone.values())
        if before or after:
            self.steps.append(Step("update", "team", path, {"members": before}, {"members": after}))
        for ref in gone:
            await memberships.remove(office, actor, team.id, ref)
        for ref, role in named.items():
            await memberships.put(office, actor, team.id, ref, role)

    async def _key(self, wanted: DeclaredKey, team: Team, organisation: str, within: str) -> None:
        office, actor, path = self._office, self._actor, f"{within}/{wanted.name}"
        there = [
            key
            for key in await keys.list_all(office, actor, team=team.id)
            if key.name == wanted.name
        ]
        active = [key for key in there if key.disabled_ms is None] or there
        if len(active) > 1:
            raise InvalidRequest(
                f"{path}: the team has several keys of this name; rename or disable all but one",
                code="key_ambiguous",
                param="name",
            )
        expires = moment(wanted.expires) if isinstance(wanted.expires, str) else wanted.expires
        found = active[0] if active else None
        if found is None:
            member = None
            if wanted.member is not UNSET:
                member = (await self._required(organisation, wanted.member, f"{path}: member")).id
            found, secret = await keys.create(
                office,
                actor,
                team=team.id,
                name=wanted.name,
                expires_ms=None if expires is UNSET else expires,
                member=member,
            )
            self.secrets[path] = secret
            said = {"name": wanted.name, "member": wanted.member, "expires": wanted.expires}
            given = {field: value for field, value in said.items() if value is not UNSET}
            self.steps.append(Step("create", "key", path, {}, given))
        elif wanted.member is not UNSET:
            member = (await self._required(organisation, wanted.member, f"{path}: member")).id
            if member != found.member_id:
                raise InvalidRequest(
                    f"{path}: the key is not {wanted.member!r}'s, and a key stays whose it is: give"
                    " another name, for another key",
                    code="key_of_another",
                    param="member",
                )
        change, settings = (
            demanded(wanted, found),
            changed_settings(wanted.settings, found.settings),
        )
        was = found.disabled_ms is not None
        disabled = None if wanted.disabled in {UNSET, was} else bool(wanted.disabled)
        more: dict[str, Any] = {}
        if expires is not UNSET and expires != found.expires_ms:
            more["expires_ms"] = expires
        if change is not None or settings is not None or disabled is not None or more:
            self._note(
                "key",
                path,
                found,
                change,
                settings,
                disabled=disabled,
                expires=wanted.expires if more else UNSET,
            )
            await keys.update(
                office,
                actor,
                found.id,
                privacy=change,
                settings=settings,
                disabled=disabled,
                **more,
            )
        await self._budget("key", found.id, path, wanted.budget)

    async def _budget(
        self,
        scope: budgets.Scope,
        owner: str,
        path: str,
        wanted: DeclaredBudget | UnsetType | None,
    ) -> None:
        if wanted is UNSET:
            return
        office, actor = self._office, self._actor
        found = await budgets.get_budget(office, actor, scope, owner)
        before = None if found is None else told_budget(found)
        if wanted is None:
            if found is not None:
                self.steps.append(Step("update", scope, path, {"budget": before}, {"budget": None}))
                await budgets.remove(office, actor, scope, owner)
            return
        limit = budgets.limit(str(wanted.amount), wanted.period, wanted.currency)
        made = await budgets.set_budget(
            office, actor, scope, owner, limit, on_state_loss=wanted.on_state_loss
        )
        if (after := told_budget(made)) != before:
            self.steps.append(Step("update", scope, path, {"budget": before}, {"budget": after}))

    async def _known(self, organisation: str, name: str) -> Member | None:
        """A member by email, or a service account by name."""
        rows = await members.list_all(self._office, self._actor, organisation=organisation)
        wanted = name.lower()
        found = [row for row in rows if row.email == wanted]
        found = found or [row for row in rows if row.kind == "service" and row.name == name]
        return found[0] if found else None

    async def _required(self, organisation: str, name: str, where: str) -> Member:
        found = await self._known(organisation, name)
        if found is None:
            raise InvalidRequest(
                f"{where}: nobody in the organisation is known as {name!r}: put a member or service"
                " account of that email or name into its 'members'",
                code="member_not_found",
                param="members",
            )
        return found

    async def _prune_organisation(
        self, wanted: DeclaredOrganisation, organisation: str, path: str
    ) -> None:
        office, actor = self._office, self._actor
        known = {member.known_as.lower() for member in wanted.members}
        if wanted.members:
            for row in await members.list_all(office, actor, organisation=organisation):
                name = row.email or row.name
                if row.disabled_ms is None and name.lower() not in known:
                    self._gone("member", f"{path}/{name}")
                    await members.disable(office, actor, row.id)
        named = {team.name for team in wanted.teams}
        if wanted.teams:
            for team in await teams.list_all(office, actor, organisation=organisation):
                if team.disabled_ms is None and team.name not in named:
                    self._gone("team", f"{path}/{team.name}")
                    await teams.disable(office, actor, team.id)

    async def _prune_keys(self, wanted: DeclaredTeam, team: Team, path: str) -> None:
        named = {key.name for key in wanted.keys}
        if not named:
            return
        for key in await keys.list_all(self._office, self._actor, team=team.id):
            if key.disabled_ms is None and key.name not in named:
                self._gone("key", f"{path}/{key.name}")
                await keys.disable(self._office, self._actor, key.id)

    def _gone(self, kind: str, path: str) -> None:
        self.steps.append(Step("disable", kind, path, {"disabled": False}, {"disabled": True}))

    def _note(
        self,
        kind: str,
        path: str,
        found: Organisation | Team | Key,
        change: Change | None,
        settings: LevelSettings | None,
        *,
        disabled: bool | None = None,
        expires: str | UnsetType | None = UNSET,
    ) -> None:
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        if change is not None:
            for name in change.differing(found.privacy):
                field = "data_collection" if name == "no_training" else name
                old, new = getattr(found.privacy, name), getattr(change, name)
                before[field], after[field] = told_privacy(name, old), told_privacy(name, new)
        if settings is not None:
            before |= plain(found.settings)
            after |= plain(settings)
        if disabled is not None:
            before["disabled"], after["disabled"] = not disabled, disabled
        if expires is not UNSET:
            ends = getattr(found, "expires_ms", None)
            before["expires"], after["expires"] = ends and told_moment(ends), expires
        same = {name for name, value in before.items() if after.get(name, UNSET) == value}
        self.steps.append(
            Step(
                "update",
                kind,
                path,
                {name: value for name, value in before.items() if name not in same},
                {name: value for name, value in after.items() if name not in same},
            )
        )
