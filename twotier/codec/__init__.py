"""Values as bytes and back: the plain format, pickle behind a secret, and the reader of older payloads."""
