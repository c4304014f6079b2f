"""Flows: generators that yield what they wait for, and the two drivers that run them."""
