"""Envelopes: bound to their key and namespace, signed where there is a secret, and None for all else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier.codec.envelope import ABSENCE, ENTRY, ENVELOPE_BYTES, VALUE, Envelope, Sealed

KEY, OP_ID = b"shop:gen:key", bytes(range(16))
PLAIN = Envelope((), "shop")
SIGNED = Envelope((b"new", b"old"), "shop")
BOTH = [pytest.param(PLAIN, id="plain"), pytest.param(SIGNED, id="signed")]


@pytest.mark.parametrize("envelope", BOTH)
@given(
    key=st.binary(max_size=100),
    op_id=st.binary(min_size=16, max_size=16),
    payload=st.binary(),
    flags=st.integers(0, 127),
)
def test_round_trip(envelope, key, op_id, payload, flags):
    """What was sealed is what is opened, under any key."""
    data = envelope.seal(key, op_id, payload, flags)
    assert envelope.open(key, data) == Sealed(op_id, flags, payload)
    assert len(data) <= len(payload) + ENVELOPE_BYTES
    assert not data[:1].isdigit()
    assert data[:1] != b"-"


@pytest.mark.parametrize("envelope", BOTH)
def test_another_key(envelope):
    """A value that stands under another key than it was made for isn't opened."""
    assert envelope.open(b"shop:gen:kez", envelope.seal(KEY, OP_ID, b"payload", 0)) is None


@pytest.mark.parametrize("envelope", BOTH)
@given(data=st.binary(max_size=80))
def test_foreign_bytes(envelope, data):
    """Bytes that nobody sealed aren't opened, and raise nothing."""
    assert envelope.open(KEY, data) is None


@pytest.mark.parametrize("envelope", BOTH)
def test_truncated(envelope):
    """Cut anywhere before the payload, it isn't opened; a signature covers the payload too."""
    data = envelope.seal(KEY, OP_ID, b"payload", 0)
    for size in range(len(data)):
        opened = envelope.open(KEY, data[:size])
        assert opened is None or (envelope is PLAIN and size >= len(data) - len(b"payload"))


def test_a_signature_covers_every_byte():
    """Any byte that was altered, anywhere, is seen."""
    data = SIGNED.seal(KEY, OP_ID, b"payload", 1)
    for at in range(len(data)):
        for flip in (1, 0x80, 0xFF):
            assert SIGNED.open(KEY, data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]) is None


def test_rotation():
    """The first secret signs, every one verifies, others don't."""
    old, new, other = (Envelope((secret,), "shop") for secret in (b"old", b"new", b"other"))
    assert SIGNED.open(KEY, old.seal(KEY, OP_ID, b"p", 0)) == Sealed(OP_ID, 0, b"p")
    assert SIGNED.open(KEY, new.seal(KEY, OP_ID, b"p", 0)) == Sealed(OP_ID, 0, b"p")
    assert new.open(KEY, SIGNED.seal(KEY, OP_ID, b"p", 0)) == Sealed(OP_ID, 0, b"p")
    assert old.open(KEY, SIGNED.seal(KEY, OP_ID, b"p", 0)) is None
    assert SIGNED.open(KEY, other.seal(KEY, OP_ID, b"p", 0)) is None


def test_signed_and_unsigned_do_not_mix():
    """Nothing unsigned passes where a signature is asked for, nothing signed where none can be checked."""
    assert SIGNED.open(KEY, PLAIN.seal(KEY, OP_ID, b"p", 0)) is None
    assert PLAIN.open(KEY, SIGNED.seal(KEY, OP_ID, b"p", 0)) is None


def test_a_signature_is_of_its_namespace():
    """A signed value doesn't pass in another namespace under the same secret, even under the same key."""
    assert Envelope((b"new",), "shoq").open(KEY, SIGNED.seal(KEY, OP_ID, b"p", 0)) is None


@given(one=st.tuples(st.binary(max_size=20), st.binary(max_size=20)))
def test_key_and_payload_do_not_run_together(one):
    """Bytes can't move from the key to the payload under one signature."""
    key, payload = one
    data = SIGNED.seal(key + payload[:1], OP_ID, payload[1:], 0)
    if payload:
        assert SIGNED.open(key, data) is None


PLACES = {
    VALUE: ("shop:gen:{}", "shop:gen{{1a2}}:{}"),
    ABSENCE: ("shop:gen!{}", "shop:gen{{1a2}}!{}"),
    ENTRY: ("shop:wb\0{}", "shop:wb{{1a2}}\0{}"),
}


def test_a_signature_is_of_its_kind():
    """What was signed as one kind is nothing of another, even in the same place."""
    for kind, forms in PLACES.items():
        for form in forms:
            place = form.format("user:{7}:!\0").encode()
            data = SIGNED.seal(place, OP_ID, b"p", 0, kind)
            assert [each for each in PLACES if SIGNED.open(place, data, each) is not None] == [kind]


@given(
    one=st.tuples(st.from_regex(r"[a-z0-9_-]{0,6}", fullmatch=True), st.text(":!{}ab", max_size=8)),
    other=st.tuples(st.from_regex(r"[a-z0-9_-]{0,6}", fullmatch=True), st.text(":!{}ab", max_size=8)),
    signs=st.tuples(st.sampled_from([VALUE, ABSENCE, ENTRY]), st.sampled_from([VALUE, ABSENCE, ENTRY])),
)
def test_what_is_signed_of_a_place_can_be_taken_apart(one, other, signs):
    """Two places have the same signed fields only if kind, generation and key are all equal."""
    bound = [
        SIGNED._bound(b"shop:" + generation.encode() + kind.sign + key.encode(), kind)
        for kind, (generation, key) in zip(signs, (one, other), strict=True)
    ]
    assert (bound[0] == bound[1]) == ((signs[0], *one) == (signs[1], *other))


def test_secrets_stay_inside():
    """An envelope shows no secret."""
    assert "hunter2" not in repr(Envelope((b"hunter2",), "shop"))
