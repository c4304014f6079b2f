"""Values as bytes and back: the format of plain data, pickle behind a secret, and what older releases wrote."""
