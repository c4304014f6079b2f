"""Tags: the index of local entries by tag, the versions of tags, and the writes that check them."""
