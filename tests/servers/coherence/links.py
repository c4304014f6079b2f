"""The server's view of links."""


def link_ids(client):
    """Return the ids of the clients of the server that are subscribed."""
    return [each["id"] for each in client.client_list() if each["sub"] != "0"]
