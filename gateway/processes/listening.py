"""The socket that one process listens on, or several."""

import socket

from gateway.errors import ConfigurationError
from gateway.settings import ServerSettings


def bind(server: ServerSettings) -> socket.socket:
    """The socket to listen on.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((server.host, server.port))
    except OSError as fault:
        listener.close()
        raise ConfigurationError(
            [
                (
                    f"server: cannot listen on {server.host} port {server.port}: {fault.strerror};"
                    " choose another with --port or 'server.port'"
                )
            ]
        ) from fault
    return listener
