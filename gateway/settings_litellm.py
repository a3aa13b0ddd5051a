"""The settings of the litellm worker, and of endpoints that it serves. Part of `gateway.settings`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from backends import Secret
from gateway.settings_fields import Section

# What litellm takes beside the fields of its table, where a host does: litellm hands them on as they are.
# Its own parameters must never be among them, for a caller's field could then set an address.
EXTRA_FIELDS = frozenset({"top_k", "top_a", "min_p", "repetition_penalty", "verbosity"})

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class LitellmParamSettings(Section):
    """What litellm must know of an endpoint beside its model, address and key, by litellm's own names.

    What all endpoints of a provider share can be in `litellm.environment` instead.
    """

    api_version: str | None = Field(None, description="Azure: the version of its API.")
    organization: str | None = Field(None, description="OpenAI: the organisation that pays.")
    tenant_id: str | None = Field(None, description="Azure: of a service principal.")
    client_id: str | None = Field(None, description="Azure: of a service principal.")
    client_secret: SecretStr | None = Field(None, description="Azure: of a service principal.")
    azure_ad_token: SecretStr | None = Field(None, description="Azure: in place of `api_key`.")
    aws_region_name: str | None = Field(None, description="Bedrock: the region.")
    aws_access_key_id: SecretStr | None = Field(None, description="Bedrock: a key.")
    aws_secret_access_key: SecretStr | None = Field(None, description="Bedrock: its secret.")
    aws_session_token: SecretStr | None = Field(None, description="Bedrock: of a temporary key.")
    aws_role_name: str | None = Field(None, description="Bedrock: the role to take on.")
    aws_session_name: str | None = Field(None, description="Bedrock: the name to do so by.")
    aws_web_identity_token: SecretStr | None = Field(
        None, description="Bedrock: what to take it on with, where there is no key."
    )
    aws_external_id: SecretStr | None = Field(None, description="Bedrock: asked for by the role.")
    aws_bedrock_runtime_endpoint: str | None = Field(
        None, description="Bedrock: its address, such as a private one."
    )
    vertex_project: str | None = Field(None, description="Vertex: the project.")
    vertex_location: str | None = Field(None, description="Vertex: the location.")
    vertex_credentials: SecretStr | None = Field(
        None, description="Vertex: a service account's file, or the JSON that is in it."
    )
    project_id: str | None = Field(None, description="watsonx: the project.")
    space_id: str | None = Field(None, description="watsonx: the deployment space.")

    def secrets(self) -> Mapping[str, Secret]:
        """Those that are set."""
        values = {name: getattr(self, name) for name in sorted(self.model_fields_set)}
        return {
            name: Secret(value.get_secret_value() if isinstance(value, SecretStr) else value)
            for name, value in values.items()
            if value is not None
        }


class LitellmSettings(Section):
    """The worker that serves endpoints of kind `litellm`. It runs if there are any.

    `upstream.proxy`, `upstream.no_proxy` and `upstream.tls.ca_file` count for it too.
    """

    python: Path | None = Field(
        None,
        description="An interpreter that has litellm; the gateway's own unless set.",
    )
    environment: Mapping[Variable, SecretStr] = Field(
        {},
        description="Variables that the worker has, such as `AWS_ACCESS_KEY_ID: ${AWS_ACCESS_KEY_ID}`."
        " Of the gateway's own it has none.",
    )
