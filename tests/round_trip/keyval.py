"""Values as key=value text, where that can say them."""

import sys

from random_schema import INTEGERS


class Unsayable(Exception):
    """There is no key=value text for this value."""


def pairs(random, wanted, value, key):
    """`wanted`'s value as a list of (key, text)."""
    kind = wanted.kind
    if kind == "alternate":
        for branch in wanted.members:
            inner = branch.type.kind
            if (inner in ("str", "enum") and isinstance(value, str)) or \
                    (inner == "array" and isinstance(value, list)) or \
                    (inner == "object" and isinstance(value, dict)):
                return pairs(random, branch.type, value, key)
        raise Unsayable
    if kind in ("any", "null"):
        raise Unsayable
    if kind == "array":
        if not value:
            raise Unsayable
        return [pair for index, element in enumerate(value)
                for pair in pairs(random, wanted.element, element, f"{key}.{index}")]
    if kind == "object":
        if not value and key:
            raise Unsayable
        members = {member.name: member for member in wanted.effective(value)}
        return [pair for name, content in value.items()
                for pair in pairs(random, members[name].type, content,
                                  f"{key}.{name}" if key else name)]
    if isinstance(value, float) and 0 < abs(value) < sys.float_info.min:
        raise Unsayable  # the C library reports those as out of range, and QEMU refuses them
    return [(key, scalar(random, kind, value))]


def scalar(random, kind, value):
    if kind == "bool":
        return random.choice(["on", "yes", "true", "y"] if value else ["off", "no", "false", "n"])
    if kind in INTEGERS:
        if value >= 0 and random.random() < 0.3:
            return hex(value)
        if kind == "size" and value < 2**53 and value % 1024 == 0 and random.random() < 0.8:
            return f"{value // 1024}k"
        return str(value)
    return repr(value) if kind == "number" else value


def text_of(random, wanted, value):
    """The text; raises Unsayable."""
    found = pairs(random, wanted, value, "")
    return ",".join(f"{key}={text.replace(',', ',,')}" for key, text in found)
