"""The litellm worker: a small server, in a process of its own, that has litellm speak to providers.

`main` is its program. It needs the standard library, litellm, and aiohttp, which litellm itself needs;
nothing of Tidegate's, so that it can run under another interpreter. It speaks OpenAI's chat wire to one
client, the gateway that started it, which names an endpoint and sends fields of a fixed list: addresses,
credentials in the environment and all else that litellm can be told are in the line that it was started
with.

litellm's own services are off: retries, fallbacks, callbacks, telemetry, logs, its downloads of prices and
of what a message refers to, its reading of `.env`, its estimates of usage. What it writes to stdout and
stderr is thrown away once it is loaded, for it can be content; what the worker itself has to say goes to
the gateway as lines of JSON, which never hold any.

Facts about litellm are of 1.106.2, read and measured 2026-11-22.
"""
