"""One file for each provider: all that is known of it, and nothing else. `backends.registry` lists them."""
