"""Commands to the server: one object for each request, one round trip each, for any executor."""
