"""The plain codec on each of its implementations."""

from twotier._speedups import PlainFormat
from twotier.codec._fallback import PlainFormat as PythonFormat
from twotier.codec.allow_list import AllowedTypes
from twotier.codec.codecs import PlainCodec

FORMATS = {"compiled": PlainFormat, "python": PythonFormat}


def plain_codec(implementation, allow=(), most=1 << 30):
    """Return a codec on the implementation of this name."""
    codec = PlainCodec(allow, most)
    codec._format = FORMATS[implementation](AllowedTypes(allow), most)
    return codec


CODECS = {name: plain_codec(name) for name in FORMATS}
