"""Deployments: from a URL or a client to the address and credentials of one server, private ones included."""
