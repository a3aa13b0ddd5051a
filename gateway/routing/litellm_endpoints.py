"""From settings to what the litellm worker is started with."""

from backends import KINDS, LitellmPlan, LitellmRow, Secret
from gateway.settings import Settings
from gateway.settings_upstream import EndpointSettings

_MARGIN = 5.0  # seconds by which the worker's own deadline is behind the gateway's
_REWRITTEN = 1_048_576  # bytes by which a request may grow on its way


def litellm_plan(settings: Settings) -> LitellmPlan | None:
    """What the worker is started with; None: no endpoint needs one."""
    rows = [row for row in settings.endpoints if row.kind == "litellm"]
    if not rows:
        return None
    own, upstream, quirks = settings.litellm, settings.upstream, KINDS["litellm"].quirks
    return LitellmPlan(
        endpoints={row.id: _row(row) for row in rows},
        fields=quirks.forwarded | {quirks.cap_field},
        python=None if own.python is None else str(own.python),
        environment={
            name: Secret(value.get_secret_value()) for name, value in own.environment.items()
        },
        timeout=settings.request.total_timeout + _MARGIN,
        max_body=settings.server.max_body_bytes + _REWRITTEN,
        proxy=None if upstream.proxy is None else Secret(upstream.proxy.get_secret_value()),
        no_proxy=",".join(upstream.no_proxy),
        ca_file=None if upstream.tls.ca_file is None else str(upstream.tls.ca_file),
    )


def _row(row: EndpointSettings) -> LitellmRow:
    switch = row.thinking_switch or "none"
    told = set() if switch == "none" else {switch, "reasoning_effort"}
    return LitellmRow(
        model=row.model,
        base_url=row.base_url,
        params=row.litellm.secrets(),
        allowed=tuple(sorted({*row.extra_fields} | told)),
    )
