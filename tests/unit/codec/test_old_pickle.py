"""The reader of old payloads: honest ones are read, and hostile ones run nothing, alter nothing, and claim nothing.

Each hostile payload is tried as it is. Those that would do harm prove it: `harm` is what they call.
"""

import collections
import contextlib
import copyreg
import decimal
import enum
import fractions
import functools
import io
import operator
import os
import pickle
import resource
import struct
import sys

import pytest
from fuzzing import Findings, check_old, run_on_small_stack
from hostile import OLD_HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from old_payloads import OLD, OLD_NAMES
from twin_codecs import plain_codec
from user_types import TYPES

from twotier.codec.old_builders import OLD_BUILDERS
from twotier.codec.old_pickle import OldPickleReader
from twotier.errors import SerializationError

harmed = []


def harm(*args):
    harmed.append(args)
    return "harmed"


class Colour(enum.Enum):
    RED = 1


class Reduces:
    """Pickles into whatever call it is given."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


class Stateful:
    def __setstate__(self, state):
        harm(state)


CODEC = OldPickleReader()
WITH_ENUM = OldPickleReader([Colour])


@pytest.fixture(autouse=True)
def nothing_happens():
    """No test may have run anything, altered an enum's member, or left a mark on a builder."""
    harmed.clear()
    before = vars(Colour.RED).copy()
    yield
    assert harmed == []
    assert vars(Colour.RED) == before


def refuse(payload, codec=CODEC):
    """Check that `payload` raises SerializationError and nothing else."""
    with pytest.raises(SerializationError):
        codec.decode(payload)


def rename(module, name):
    """Pickle a global by name, as protocol 4 and later do."""
    return b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93"


BUILDER = "twotier.remote.rebuild"

EXPLOITS = {
    "os.system": Reduces(os.system, ("true",)),
    "os.getpid": Reduces(os.getpid, ()),
    "eval": Reduces(eval, ("harm()",)),
    "exec": Reduces(exec, ("harm()",)),
    "import": Reduces(__import__, ("os",)),
    "getattr": Reduces(getattr, ("", "join")),
    "partial": Reduces(functools.partial, (harm, 1)),
    "partial state": functools.partial(harm, 1),
    "methodcaller": Reduces(operator.methodcaller("upper"), ("x",)),
    "attrgetter": operator.attrgetter("__class__.__mro__"),
    "map": Reduces(map, (harm, [1])),
    "type": Reduces(type, ("T", (), {})),
    "object": Reduces(object, ()),
    "bytes bomb": Reduces(bytes, (10**12,)),
    "bytearray bomb": Reduces(bytearray, (10**12,)),
    "list of range": Reduces(list, (range(10**6),)),
    "deque of range": Reduces(collections.deque, (range(10**6),)),
    "open": Reduces(io.open, ("/etc/passwd",)),
    "stateful": Stateful(),
    "our own": Reduces(harm, ()),
    "copyreg": Reduces(copyreg._reconstructor, (Stateful, object, None)),
    "enum functional": Reduces(enum.Enum, ("X", "a b")),
    "raw Decimal": Reduces(decimal.Decimal, ("1",)),
    "raw Fraction": Reduces(fractions.Fraction, ("1e99",)),
    "builtin set": Reduces(set, ([1],)),
    "Stateful class": Stateful,
    "sys": Reduces(sys.exit, ()),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", EXPLOITS)
def test_known_exploits(name, protocol):
    """Calls, classes, partials, operators, bombs: refused in every protocol, and as part of a plain value too."""
    for value in (EXPLOITS[name], [EXPLOITS[name]], {"k": (1, EXPLOITS[name])}):
        if isinstance(EXPLOITS[name], Stateful) and protocol < 2:
            continue  # copyreg's oldest form holds no state
        payload = pickle.dumps(value, protocol)
        refuse(payload)
        if protocol in (2, 3, 4):
            refuse(b"\x80\x05" + payload[2:])


NAMES = [
    *(("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "getattr"), ("__main__", "x")),
    *((BUILDER, "Builder"), (BUILDER, "BUILDERS"), (BUILDER, "date.__class__"), (BUILDER, "__builtins__")),
    *(
        (BUILDER, "date._make"),
        (BUILDER, "dt"),
        (BUILDER, "_date"),
        (BUILDER, "FACTORIES"),
        ("twotier.remote", "rebuild"),
    ),
    *(("datetime", "datetime"), ("decimal", "Decimal"), ("collections", "OrderedDict"), ("uuid", "UUID")),
    *(("twotier.remote", "rebuild"), ("", "")),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("codec", [CODEC, WITH_ENUM], ids=["plain", "enum"])
def test_names_that_do_not_resolve(name, codec):
    """Only builders can be named, exactly; not their module's other contents, and nothing behind a dot."""
    refuse(b"\x80\x05" + rename(*name) + b".", codec)
    refuse(b"\x80\x05" + rename(*name) + b")R.", codec)


def test_old_opcodes_that_name_or_call():
    """GLOBAL, INST, OBJ, NEWOBJ, NEWOBJ_EX are refused even for builders."""
    for payload in (
        b"\x80\x05c" + BUILDER.encode() + b"\ndate\n)R.",
        b"\x80\x05(i" + BUILDER.encode() + b"\ndate\n.",
        b"\x80\x05(" + rename(BUILDER, "date") + b"o.",
        b"\x80\x05" + rename(BUILDER, "date") + b")\x81.",
        b"\x80\x05" + rename(BUILDER, "date") + b")}\x92.",
        b"cos\nsystem\n(S'true'\ntR.",
    ):
        refuse(payload)


def red():
    """Return the opcodes that make the enum's member."""
    name = f"{Colour.__module__}:{Colour.__qualname__}".encode()
    return rename(BUILDER, "member") + b"\x8c" + bytes([len(name)]) + name + b"K\x01\x86R"


@pytest.mark.parametrize("expression", OLD)
def test_what_the_codec_before_wrote_is_read(expression):
    """Each old payload gives its value, which the plain codec takes."""
    value = OldPickleReader(TYPES).decode(OLD[expression])
    expected = eval(expression, OLD_NAMES)
    assert repr(value) == repr(expected)
    again = plain_codec("compiled", TYPES).encode(value)
    assert again == plain_codec("compiled", TYPES).encode(expected)


def test_cycles_and_sharing_of_old_payloads():
    """What held itself, or was held twice, does so."""
    cycle = CODEC.decode(b"\x80\x05]\x94h\x00a.")
    assert cycle[0] is cycle
    for container in ("ordered", "default"):
        make = rename(BUILDER, container) + (b")R" if container == "ordered" else b"\x8c\x04None\x85R")
        cycle = CODEC.decode(b"\x80\x05" + make + b"\x94(K\x01h\x00u.")
        assert cycle[1] is cycle
    one, other = CODEC.decode(b"\x80\x05]\x94h\x00\x86.")
    assert one is other


@pytest.mark.parametrize(
    "wrap", [b"%s.", b"(%st.", b"](%se.", b"}(K\x01%su.", b"%s\x85.", b"(%s\x91.", b"\x8f(%s\x90."]
)
@pytest.mark.parametrize("reference", [False, True], ids=["itself", "from the memo"])
def test_a_builder_is_no_value(wrap, reference):
    """A payload can't hand out a builder: neither alone, nor in a container."""
    named = rename(BUILDER, "date")
    body = wrap % (b"h\x00" if reference else named)
    refuse(b"\x80\x05" + (named + b"\x940" if reference else b"") + body)


def test_build_is_refused_wherever_it_aims():
    """State can't be set: not of a builder, nor of a rebuilt value, nor of an enum's member, which all would share."""
    member = b"\x80\x05" + red()
    state = b"}\x8c\x07_value_\x8c\x03bad\x73b."
    refuse(member + state, WITH_ENUM)
    slots = b"N}\x8c\x05_make\x8c\x03bads\x86b."
    refuse(b"\x80\x05" + rename(BUILDER, "date") + slots)
    assert WITH_ENUM.decode(member + b".") is Colour.RED


def test_state_setter_reaches_instances_of_allowed_types_only():
    """The builder that sets state refuses enums, plain values and builders."""
    for target in (b"\x8c\x01x", rename(BUILDER, "date"), b"]"):
        payload = b"\x80\x05" + rename(BUILDER, "state") + target + b"}\x8c\x01a\x8c\x01bs\x86R."
        refuse(payload)
        refuse(payload, WITH_ENUM)
    refuse(b"\x80\x05" + rename(BUILDER, "state") + red() + b"}\x8c\x07_value_K\x07s\x86R.", WITH_ENUM)
    late = b"\x94" + rename(BUILDER, "state") + b"h\x00}\x8c\x07_value_K\x07s\x86R0."
    refuse(b"\x80\x05" + red() + late, WITH_ENUM)


def test_enums_are_not_made():
    """An enum's class is never called as one that makes instances, nor another class as an enum."""
    name = f"{Colour.__module__}:{Colour.__qualname__}"
    text = b"\x8c" + bytes([len(name)]) + name.encode()
    refuse(b"\x80\x05" + rename(BUILDER, "instance") + text + b")\x86R.", WITH_ENUM)
    refuse(b"\x80\x05" + rename(BUILDER, "member") + b"\x8c\x03int" + b"K\x01\x86R.", WITH_ENUM)


def test_extension_codes():
    """EXT opcodes are refused, also those whose object copyreg has cached, which never ask for a name."""
    copyreg.add_extension(harm.__module__, "harm", 0x1234)
    try:
        assert pickle.loads(b"\x80\x02\x83\x34\x12.") is harm
        assert copyreg._extension_cache
        for payload in (b"\x83\x34\x12", b"\x82\x34", b"\x84\x34\x12\x00\x00"):
            refuse(b"\x80\x05" + payload + b".")
            refuse(b"\x80\x05" + payload + b")R.")
    finally:
        copyreg.remove_extension(harm.__module__, "harm", 0x1234)
        copyreg.clear_extension_cache()


@pytest.mark.parametrize("payload", [b"Psome id\n.", b"\x8c\x02idQ.", b"\x97.", b"\x97\x98.", b"]2\x30."])
def test_persistent_ids_buffers_and_duplicates(payload):
    """Persistent ids, out-of-band buffers and DUP aren't ours."""
    refuse(b"\x80\x05" + payload)


@pytest.mark.parametrize(
    "payload",
    [
        *(b"X\xff\xff\xff\x7fx", b"\x8d" + b"\xff" * 7 + b"\x7fx", b"B\xff\xff\xff\x7fx", b"\x8e" + b"\xff" * 8),
        *(b"\x8e" + struct.pack("<Q", 1 << 40), b"\x96" + struct.pack("<Q", 1 << 40), b"\x8b\xff\xff\xff\x7f"),
        *(b"\x95" + struct.pack("<Q", 1 << 60) + b"N.", b"\x95" + struct.pack("<Q", 1 << 40) + b"N."),
        *(b"Nr\xff\xff\xff\x7f.", b"Np2147483647\n.", b"Nq\xff.", b"j\xff\xff\xff\xff.", b"h\x00.", b"\x94."),
        *(b"\x8b\xff\xff\xff\xff.", b"\x8b\x00\x00\x00\x80.", b"(((((1.", b"0.", b"a.", b"s.", b"t."),
        *(b"\x87.", b"\x93.", b"R."),
        *(b"]K\x01\x8e" + b"\x00" * 8, b"", b".", b"N", b"N..", b"NN.", b"\xff.", b"\x80\x06N.", b"\x80\x05N."),
    ],
)  # fmt: skip
def test_claims_and_malformed_payloads(payload):
    """Lengths and memo places that aren't there, underflows and rubbish are refused, without the memory they claim."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refuse(b"\x80\x05" + payload)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_only_protocol_5_is_read():
    """Other protocols aren't ours."""
    for protocol in range(5):
        refuse(pickle.dumps([1], protocol))


@pytest.mark.parametrize(
    "call",
    [
        ("deque_", b"K\x05\x85"), ("deque_", b"]\x85"), ("counter", b"]\x85"), ("ordered", b"]\x85"),
        ("decimal_", b"K\x05\x85"), ("decimal_", b"\x8c\x04what\x85"), ("complex_", b"\x8c\x011K\x01\x86"),
        ("zone", b"\x8c\x0b/etc/passwd\x85"), ("zone", b"\x8c\x09../../etc\x85"), ("zone", b"\x8c\x03x/.\x85"),
        ("path", b"\x8c\x08__init__\x8c\x01x\x86"), ("address", b"\x8c\x0bIPv4AddressK\x01\x86"),
        ("default", b"\x8c\x04eval\x85"),
        ("date", b"\x85"), ("date", b"K\x01K\x63K\x01\x87"), ("date", b"\x88\x88\x88\x87"), ("timezone", b"K\x01\x85"),
        ("datetime", b"C\x0a0123456789\x85"), ("uuid", b"J\xff\xff\xff\xff\x85"), ("range_", b"K\x01K\x02K\x00\x87"),
        ("fraction", b"K\x01K\x00\x86"), ("fraction", b"\x8c\x091e9999999K\x01\x86"), ("instance", b"\x8c\x01x)\x86"),
    ],
)  # fmt: skip
def test_builders_check_their_arguments(call):
    """A builder given what isn't its own kind of data refuses it."""
    name, arguments = call
    if call == ("deque_", b"K\x05\x85"):
        assert CODEC.decode(b"\x80\x05" + rename(BUILDER, name) + arguments + b"R.").maxlen == 5
        return
    refuse(b"\x80\x05" + rename(BUILDER, name) + arguments + b"R.")


def test_fractions_that_take_long():
    """A fraction whose reduction would take minutes is refused at once."""
    big = (1 << 8_000_000).to_bytes(1_000_001, "little")
    number = b"\x8b" + struct.pack("<i", len(big)) + big
    refuse(b"\x80\x05" + rename(BUILDER, "fraction") + number + number + b"\x86R.")


@pytest.mark.parametrize("make", range(len(OLD_HOSTILE)))
@pytest.mark.parametrize("size", [30, 3000])
def test_amplifiers(make, size):
    """What is built to take more than its bytes account for stays in the budgets, also on a small stack."""
    payload = OLD_HOSTILE[make](size)
    findings = Findings()
    run_on_small_stack(check_old, findings, payload, memory=True)
    assert findings.tries == 1
    assert not findings.failures


PIECES = st.sampled_from(
    [bytes([byte]) for byte in b"N\x88\x89)]}(tesua01.\x85\x86\x87\x8f\x90\x91\x94\x93R"]
    + [b"K\x01", b"h\x00", b"h\x01", b"\x8c\x01x", b"C\x01x", b"\x8a\x01\x01"]
    + [b"G" + bytes(8), b"\x96\x01" + bytes(7) + b"x"]
    + [rename(BUILDER, name) for name in OLD_BUILDERS]
)  # fmt: skip


@given(pieces=st.lists(PIECES, max_size=30))
@settings(max_examples=500, deadline=None)
def test_opcodes_in_any_order(pieces):
    """Opcodes that are let through give a value or a SerializationError, whatever their order."""
    for codec in (CODEC, WITH_ENUM):
        with contextlib.suppress(SerializationError):
            codec.decode(b"\x80\x05" + b"".join(pieces) + b".")


@given(data=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes(data):
    """Any bytes give a value or a SerializationError."""
    with contextlib.suppress(SerializationError):
        CODEC.decode(b"\x80\x05" + data)
