"""Flows: generators that yield the commands whose results they need, and the two drivers that run them."""
