"""Unit tests open no sockets, the event loop's own pair being a Unix one; examples have no deadline."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from pytest_socket import disable_socket, enable_socket

# How long an example takes says how busy the machine is; what must be fast has a test of its own.
settings.register_profile("undisturbed", deadline=None)
settings.load_profile("undisturbed")


@pytest.fixture(autouse=True)
def _no_sockets() -> Iterator[None]:
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()
