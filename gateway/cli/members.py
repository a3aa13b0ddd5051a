"""`tidegate members`: people and service accounts, and their roles."""

from typing import TYPE_CHECKING

import click

from gateway.cli.administration import data_option, json_option, show, utc, with_office

if TYPE_CHECKING:
    from gateway.accounts.office import Office
    from gateway.accounts.opening import Installation
    from gateway.accounts.roles import Actor
    from gateway.accounts.rows import Member

_ROLES = click.Choice(["owner", "admin", "member", "viewer", "billing"])
_TEAM_ROLES = click.Choice(["admin", "member", "viewer", "billing"])
_organisation = click.option("--organisation", help="Id or name; the first one unless it is given.")


@click.group()
def members() -> None:
    """Members: the people and service accounts of an organisation."""


@members.command("add")
@click.argument("name")
@click.option("--email", help="Of a person; without it NAME is a service account.")
@click.option("--role", type=_ROLES, default="member", show_default=True)
@_organisation
@data_option
def add(
    *, name: str, email: str | None, role: str, organisation: str | None, data: "Installation"
) -> None:
    """Take NAME into an organisation and print the member's id."""
    from gateway.accounts import members as accounts

    member = with_office(
        data,
        lambda office, actor: accounts.create(
            office,
            actor,
            name=name,
            role=role,
            kind="service" if email is None else "person",
            email=email,
            organisation=organisation,
        ),
    )
    click.echo(member.id)


@members.command("list")
@_organisation
@json_option
@data_option
def list_members(*, organisation: str | None, data: "Installation", as_json: bool) -> None:
    """List the members, oldest first, with their roles in single teams."""
    from gateway.accounts import members as accounts

    found = with_office(
        data, lambda office, actor: accounts.list_all(office, actor, organisation=organisation)
    )
    rows = [
        {
            "id": member.id,
            "name": member.name,
            "email": member.email,
            "kind": member.kind,
            "role": member.role,
            "teams": ", ".join(f"{one.team_name} ({one.role})" for one in member.teams) or None,
            "created": utc(member.created_ms),
            "disabled": utc(member.disabled_ms),
        }
        for member in found
    ]
    show(rows, as_json=as_json, empty="no members; `tidegate members add NAME --email ADDRESS`")


@members.command("set")
@click.argument("member")
@click.option("--role", type=_ROLES, help="The role in the organisation.")
@click.option("--name", help="Another name.")
@click.option("--email", help="Another email address.")
@data_option
def set_member(
    *, member: str, role: str | None, name: str | None, email: str | None, data: "Installation"
) -> None:
    """Change MEMBER, by id or email."""
    if role is None and name is None and email is None:
        raise click.UsageError("say what to change: --role, --name or --email")
    from gateway.accounts import members as accounts

    async def work(office: "Office", actor: "Actor") -> "Member":
        return await accounts.update(office, actor, member, role=role, name=name, email=email)

    _tell(with_office(data, work))


@members.command("disable")
@click.argument("member")
@data_option
def disable(member: str, data: "Installation") -> None:
    """End the rights of MEMBER, by id or email, and refuse its keys."""
    from gateway.accounts import members as accounts

    _tell(with_office(data, lambda office, actor: accounts.disable(office, actor, member)))


@members.command("enable")
@click.argument("member")
@data_option
def enable(member: str, data: "Installation") -> None:
    """Give MEMBER, by id or email, back what it had."""
    from gateway.accounts import members as accounts

    _tell(with_office(data, lambda office, actor: accounts.enable(office, actor, member)))


@members.command("join")
@click.argument("member")
@click.argument("team")
@click.option("--role", type=_TEAM_ROLES, default="member", show_default=True)
@data_option
def join(member: str, team: str, role: str, data: "Installation") -> None:
    """Give MEMBER (id or email) a role in TEAM (id or name)."""
    from gateway.accounts import memberships

    made = with_office(
        data, lambda office, actor: memberships.put(office, actor, team, member, role)
    )
    click.echo(f"{made.member_name} is {made.role} in {made.team_name}", err=True)


@members.command("leave")
@click.argument("member")
@click.argument("team")
@data_option
def leave(member: str, team: str, data: "Installation") -> None:
    """Take MEMBER (id or email) out of TEAM (id or name); its keys stay the team's."""
    from gateway.accounts import memberships

    with_office(data, lambda office, actor: memberships.remove(office, actor, team, member))
    click.echo("removed", err=True)


def _tell(member: "Member") -> None:
    state = "" if member.disabled_ms is None else ", disabled"
    click.echo(f"{member.name} ({member.id}): {member.role}{state}", err=True)
