"""Requests made from an introspection: good ones, and good ones with something wrong in them.

Everything is drawn from one seeded generator per command, so that the same seed gives the same
requests, and a command that is added leaves those of the others as they were.
"""

import json
import random


class Raw(str):
    """A token that goes into the text as it is: numbers that Python would write otherwise."""


def to_text(value):
    """JSON, with Raw tokens and with objects in the order of their members."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {to_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(to_text(v) for v in value) + "]"
    return json.dumps(value)


NUMBERS = [Raw(t) for t in (
    "0", "-0", "-1", "1", "512", "513", "65536", "1048576", "127", "128", "-129", "255", "256",
    "2147483647", "2147483648", "-2147483649", "4294967295", "4294967296", "9223372036854775807",
    "9223372036854775808", "18446744073709551615", "18446744073709551616", "-9223372036854775808",
    "-9223372036854775809", "1.0", "1.5", "-0.0", "1e3", "1E-3", "0.1e1", "123456789012345678901234")]

WRONG = [None, True, False, [], {}, [1], [[]], {"x": 1}, "", "x", "0", "true", "\u00fc", Raw("'q'"),
         *NUMBERS]

IDS = [None, True, 0, -7, "", "an id", [], {}, [1, {"a": None}], {"deep": {"er": [None, 1.5]}},
       Raw("18446744073709551615"), Raw("1e3"), "\u00fc\U0001f600"]

NODES = ("disk0", "file0", "raw0", "rawfile0", "null0", "ro0", "n1", "n2", "nope", "bad name", "")
# What a member may be given, by its name.
HINTS = {
    "node-name": NODES,
    "device": ("disk0", "nope", ""),
    "file": ("file0", "rawfile0", "n1", "nope", ""),
    "backing": ("ro0", "n1", "nope", ""),
    "snapshot-node-name": ("o1", "o2", "disk0", "bad name", ""),
    "snapshot-file": ("s1", "s2", "s3", "disk.qcow2", "nodir/s", "."),
    "filename": ("disk.qcow2", "free.raw", "free.qcow2", "missing", ".", "", "nodir/x"),
    "format": ("qcow2", "raw", "nope", ""),
    "id": ("e0", "e1", "e2", "t0", "t1", "nope", "0bad", "bad id", ""),
    "name": ("vda", "e0", "x" * 300, ""),
    "path": ("nbd1.sock", "nodir/s", "", "p" * 120),
    "host": ("127.0.0.1", "::1"),
    "port": ("0",),
    "str": ("9", "nope", ""),
    "iothread": ("t0", "nope"),
    "bitmap": ("b0",),
    "key-secret": ("nope",),
    "size": tuple(Raw(n) for n in ("0", "512", "513", "65536", "1048576", "33554432", "-1",
                                   "9223372036854775296", "9223372036854775807")),
}
# How likely an optional member at the top is given; others are at 0.2.
LIKELY = {"node-name": 0.8, "snapshot-node-name": 0.8, "device": 0.1}
SOME_TEXTS = ("x", "", "a b", "\u00fc")


class Generator:
    """Draws values of an introspection's types. Members that are Firn's alone are left out."""

    def __init__(self, schema, seed):
        self.types = {entry["name"]: entry for entry in schema}
        self.rand = random.Random(seed)

    def arguments(self, command):
        return self.value(self.types[command]["arg-type"], "arguments", 0)

    def value(self, type_name, member, depth):
        entry = self.types[type_name]
        return getattr(self, "make_" + entry["meta-type"])(entry, member, depth)

    def make_builtin(self, entry, member, _depth):
        rand = self.rand
        kind = entry["json-type"]
        if member in HINTS and kind in ("string", "int", "value"):
            chosen = rand.choice(HINTS[member])
            if isinstance(chosen, Raw) == (kind == "int"):
                return chosen
        if kind == "string":
            return rand.choice(SOME_TEXTS)
        if kind == "int":
            return rand.choice(NUMBERS[:11])
        if kind == "number":
            return rand.choice((1, 0.5))
        if kind == "boolean":
            # Linux has one name space of abstract sockets; here are two servers.
            # QEMU does nothing else while it waits for a character device's first client.
            return rand.random() < 0.5 and member not in ("abstract", "wait")
        return None if kind == "null" else rand.choice(WRONG)

    def make_enum(self, entry, _member, _depth):
        return self.rand.choice([m["name"] for m in entry["members"]]
                                if "members" in entry else entry["values"])

    def make_array(self, entry, member, depth):
        count = self.rand.choice((0, 1, 1, 2))
        return [self.value(entry["element-type"], member, depth + 1) for _ in range(count)]

    def make_alternate(self, entry, member, depth):
        branches = entry["members"]
        if depth > 3:
            plain = [b for b in branches
                     if self.types[b["type"]]["meta-type"] in ("builtin", "enum")]
            branches = plain or branches
        return self.value(self.rand.choice(branches)["type"], member, depth)

    def make_object(self, entry, _member, depth):
        out = {}
        for member in entry["members"]:
            if "firn" in member.get("features", ()):
                continue
            # Required members have no default; of the others a few are given.
            chance = (LIKELY.get(member["name"], 0.2) if depth == 0 else 0.2) / (1 + depth)
            if "default" not in member or self.rand.random() < chance:
                out[member["name"]] = self.value(member["type"], member["name"], depth + 1)
        if "tag" in entry and entry["tag"] in out:
            for variant in entry["variants"]:
                if variant["case"] == out[entry["tag"]]:
                    out.update(self.value(variant["type"], "", depth))
        return out


class Mutator:
    """Puts one thing wrong into a value."""

    def __init__(self, rand):
        self.rand = rand

    def places(self, value):
        """Every (container, key) below `value`."""
        found = []
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in list(items):
            found.append((value, key))
            if isinstance(inner, (dict, list)):
                found += self.places(inner)
        return found

    def objects(self, value):
        found = [value] if isinstance(value, dict) else []
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, (dict, list)):
                found += self.objects(inner)
        return found

    def mutate(self, arguments):
        """Changes `arguments` in place; gives the name of what was done."""
        kinds = ["extra", "extra"]
        places = self.places(arguments)
        if places:
            kinds += ["missing", "type", "type", "type", "number", "name", "order"]
        kind = self.rand.choice(kinds)
        if kind == "extra":
            self.rand.choice(self.objects(arguments))["bogus"] = self.rand.choice(WRONG)
            return kind
        container, key = self.rand.choice(places)
        if kind == "missing":
            if isinstance(container, dict):
                del container[key]
            else:
                container.clear()
        elif kind == "type":
            container[key] = self.rand.choice(WRONG)
        elif kind == "number":
            container[key] = self.rand.choice(NUMBERS)
        elif kind == "name":  # enumerations and tags too
            container[key] = self.rand.choice(("nope", "Qcow2", "qcow2", "unix", "x" * 200, "\u00e9"))
        elif kind == "order" and isinstance(container, dict):
            items = list(container.items())
            self.rand.shuffle(items)
            container.clear()
            container.update(items)
        return kind


class Requests:
    """An endless sequence of requests to `commands`, as text."""

    def __init__(self, schema, commands, seed, never_run=()):
        self.rand = random.Random(f"{seed} requests")
        self.commands = sorted(commands)
        self.never_run = never_run
        self.mutator = Mutator(self.rand)
        self.generators = {c: Generator(schema, f"{seed} {c}") for c in self.commands}

    def next(self, number):
        command = self.rand.choice(self.commands)
        # Half are good; of the bad ones some are doubly so.
        arguments = self.generators[command].arguments(command)
        wrongs = self.rand.choice((0, 0, 0, 1, 1, 1, 2))
        for _ in range(wrongs):
            self.mutator.mutate(arguments)
        if command in self.never_run:
            arguments["bogus"] = self.rand.choice(WRONG)
        request = {"execute": command}
        if arguments or self.rand.random() < 0.5:
            request["arguments"] = arguments
        request["id"] = self.rand.choice(IDS) if self.rand.random() < 0.2 else number
        if self.rand.random() < 0.03:
            self.spoil(request)
        return to_text(request)

    def spoil(self, request):
        """Puts something wrong into the message around the arguments."""
        kind = self.rand.randrange(5)
        if kind == 0:
            request["execute"] = self.rand.choice(("nope", "", "query-block\u00e9", "QUIT"))
        elif kind == 1:
            request["execute"] = self.rand.choice([w for w in WRONG if not isinstance(w, str)])
        elif kind == 2:
            request["arguments"] = self.rand.choice([w for w in WRONG if not isinstance(w, dict)])
        elif kind == 3:
            request["exec-oob"] = "query-block"
        else:
            del request["execute"]
