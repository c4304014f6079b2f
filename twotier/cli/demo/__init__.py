"""`twotier demo`: several processes, a server that dies half-way, and every read checked against the truth."""
