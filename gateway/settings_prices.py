"""Settings of prices: a file of one's own, and where newer ones are looked for."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gateway.settings_fields import Address, Count, Seconds, Section

PriceSource = Literal["openrouter", "novita", "genai-prices", "litellm"]


class RefreshSettings(Section):
    """Where `tidegate prices refresh` looks for prices."""

    sources: tuple[PriceSource, ...] = Field(
        ("openrouter", "novita", "genai-prices"),
        description="Which are asked; of two that know a price, the earlier of openrouter, novita,"
        " genai-prices and litellm counts.",
    )
    openrouter_url: Address = Field(
        "https://openrouter.ai/api/v1/models", description="OpenRouter's own list of models."
    )
    novita_url: Address = Field(
        "https://api.novita.ai/v3/openai/models", description="Novita's own list of models."
    )
    genai_prices_url: Address = Field(
        "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main/prices/new_data/v2/data.json",
        description="The file that genai-prices publishes.",
    )
    litellm_url: Address = Field(
        "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json",
        description="The price map that litellm publishes.",
    )
    timeout: Seconds = Field(30.0, description="Seconds for the whole answer of a source.")
    max_bytes: Count = Field(16_777_216, description="Size limit of the answer of a source.")


class PricesSettings(Section):
    """Prices beside those that come with the package."""

    file: Path | None = Field(
        None, description="A price file of your own; its rows count over all others."
    )
    refresh: RefreshSettings = RefreshSettings()
