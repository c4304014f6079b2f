"""Commands: what is asked of the server, one value a request, each one trip for any executor."""
