"""Random schemas with all that the language has, and random values of their types: the same for the
same seed. What is made here knows nothing of qapic, so that the two can be held to each other.

    schema = RandomSchema(seed)
    schema.text       the schema file
    schema.defines    symbols for -D
    schema.targets    what can be decoded: types, commands, events
"""

import random

INTEGERS = {
    "int": (-2**63, 2**63 - 1), "int8": (-2**7, 2**7 - 1), "int16": (-2**15, 2**15 - 1),
    "int32": (-2**31, 2**31 - 1), "int64": (-2**63, 2**63 - 1), "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1), "uint32": (0, 2**32 - 1), "uint64": (0, 2**64 - 1),
    "size": (0, 2**64 - 1)}
SCALARS = ["str", "bool", "number"] + list(INTEGERS)

# Keywords of C++, macros, and whatever else a name may look like.
ODD_NAMES = [
    "class", "default", "int", "bool", "static-cast", "co-await", "unix", "linux", "errno", "stdin",
    "this", "new", "delete", "not", "and", "true", "register", "template", "operator", "typename",
    "auto", "union", "struct", "enum", "value", "out", "reader", "decoder", "name", "type", "data",
    "std", "variant", "optional", "string", "vector", "encode", "decode", "to-string", "assert",
    "x-1", "x1", "a-b", "ab", "z", "id", "features", "handlers", "arguments", "args", "result",
    "__org.example_member", "__com.example-it_x-y", "max", "min", "time", "signal", "index", "char"]
ODD_VALUES = [
    "on", "off", "none", "auto", "default", "class", "x-1", "x1", "0", "1", "2d", "3d-x", "int",
    "null", "true", "false", "__org.example_value", "a-b", "ab", "long-value-with-many-words"]
# Types of src/api, and names that generated code makes by itself.
ODD_TYPES = ["Decoder", "JsonValue", "Boxed", "AnyValue", "InputMode", "CommandEntry",
             "CommandHandlers", "ObjectReader", "JsonObject", "SchemaCommands", "Task", "Result",
             "String", "Vector", "Value"]
SYMBOLS = ["HAVE_A", "HAVE_B", "HAVE_C", "HAVE_D"]
STRINGS = ["", " ", "a", "plain text", "quote\" back\\slash / 'apostrophe'", "tab\tline\nend\r",
           "\u00e9\u00df\u0416\u4e2d", "\U0001f600\U0010fffd", "\u0001\u001f\u007f", "a,b=c,,d",
           "\ufffd\u2028", "x" * 300]


class Type:
    """A type as the other side has to see it: what `if` leaves out is not there."""

    def __init__(self, kind, name):
        self.kind = kind  # a built-in's name, or enum, array, object, alternate
        self.name = name
        self.values = []    # enum
        self.written = []   # enum: its values, and those that `if` leaves out
        self.element = None
        self.members = []   # object: the base's first; alternate: its branches
        self.tag = None     # object: the tag's name
        self.branches = {}  # object: by the tag's value
        self.conditional = False  # object: some member has an `if`

    def effective(self, value):
        """The members of an object that has these contents."""
        members = list(self.members)
        if self.tag is not None and self.tag in value:
            branch = self.branches.get(value[self.tag])
            if branch:
                members += branch.effective(value)
        return members

    def all_names(self):
        names = {member.name for member in self.members}
        for branch in self.branches.values():
            names |= branch.all_names()
        return names


class Member:
    def __init__(self, name, member_type, optional):
        self.name = name
        self.type = member_type
        self.optional = optional


class Target:
    """Something to decode: `kind` is type, command or event."""

    def __init__(self, kind, name, target_type):
        self.kind = kind
        self.name = name
        self.type = target_type


def quote(text):
    return "'" + text + "'"


def array_of(element):
    out = Type("array", "[" + element.name + "]")
    out.element = element
    return out


class RandomSchema:
    def __init__(self, seed, size=24):
        self.random = random.Random(seed)
        self.defines = [s for s in SYMBOLS if self.random.random() < 0.5]
        self.builtins = {name: Type(name, name) for name in SCALARS + ["any", "null"]}
        self.done = []      # named types that are whole: others may hold them by value
        self.planned = []   # (kind, name) of all named types, in order
        self.types = {}
        self.lines = []
        self.targets = []
        self.used_names = set()
        self.counter = 0
        self.returning = []
        self._plan(size)
        for kind, name in self.planned:
            getattr(self, "_" + kind)(self.types[name])
        self._commands()
        self._events()
        self.text = self._pragma() + "\n".join(self.lines) + "\n"

    # ---- Pieces ----

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, items):
        return self.random.choice(items)

    def fresh_name(self):
        """A member's name that no other member in the schema has."""
        while True:
            self.counter += 1
            name = self.pick(ODD_NAMES) if self.chance(0.5) else f"m{self.counter}"
            mangled = name.replace("-", "_").replace(".", "_")
            if mangled in self.used_names:
                name = f"{self.pick(ODD_NAMES)}-{self.counter}"
                mangled = name.replace("-", "_").replace(".", "_")
            if mangled not in self.used_names:
                self.used_names.add(mangled)
                return name

    def condition(self, depth=0):
        """An `if`: its text, and whether it holds."""
        kind = self.random.randrange(4 if depth < 2 else 1)
        if kind == 0:
            symbol = self.pick(SYMBOLS)
            return quote(symbol), symbol in self.defines
        if kind == 1:
            text, holds = self.condition(depth + 1)
            return "{ 'not': " + text + " }", not holds
        parts = [self.condition(depth + 1) for _ in range(self.random.randint(1, 3))]
        word, holds = ("all", all) if kind == 2 else ("any", any)
        return ("{ " + quote(word) + ": [ " + ", ".join(text for text, _ in parts) + " ] }",
                holds([h for _, h in parts]))

    def features(self, of_type=False):
        """A type can't be deprecated or unstable; whatever uses it can."""
        if not self.chance(0.2):
            return ""
        names = ["fast", "x-odd-1", "__org.example_f"] + \
            ([] if of_type else ["deprecated", "unstable"])
        texts = []
        for name in self.random.sample(names, self.random.randint(1, 3)):
            if self.chance(0.3):
                texts.append("{ 'name': " + quote(name) + ", 'if': " + self.condition()[0] + " }")
            else:
                texts.append(quote(name))
        return ", 'features': [ " + ", ".join(texts) + " ]"

    def value_type(self, optional):
        """A member's type, and how it is written. What has to be there is made of whole types only,
        so that every value ends."""
        choice = self.random.random()
        if choice < 0.45 or not self.done:
            found = self.builtins[self.pick(SCALARS)]
        elif choice < 0.5:
            found = self.builtins[self.pick(["any", "null"])]
        elif choice < 0.75 or not optional:
            found = self.pick(self.done)
        else:
            found = self.types[self.pick(self.planned)[1]]
        if self.chance(0.25):
            return array_of(found), "[ " + quote(found.name) + " ]"
        return found, quote(found.name)

    def members(self, owner, count, conditions=True):
        """Adds members to `owner`; returns their text."""
        texts = []
        for _ in range(count):
            name = self.fresh_name()
            optional = self.chance(0.5)
            member_type, text = self.value_type(optional)
            there = True
            if self.chance(0.25):
                extra = self.features()
                if conditions and self.chance(0.5):
                    condition, there = self.condition()
                    extra += ", 'if': " + condition
                    owner.conditional = True
                text = "{ 'type': " + text + extra + " }"
            texts.append(quote(("*" if optional else "") + name) + ": " + text)
            if there:
                owner.members.append(Member(name, member_type, optional))
        return "{ " + ",\n            ".join(texts) + " }"

    def define(self, text, doc=None):
        if doc:
            self.lines.append(doc)
        self.lines.append("{ " + text + " }\n")

    # ---- Types ----

    def _plan(self, size):
        kinds = ["enum", "struct", "struct", "union", "alternate"]
        odd = self.random.sample(ODD_TYPES, 4)
        for number in range(size):
            kind = ["enum", "struct"][number] if number < 2 else self.pick(kinds)
            name = odd.pop() if number > 1 and odd and self.chance(0.3) else \
                f"{kind.capitalize()}{number}"
            self.planned.append((kind, name))
            self.types[name] = Type("enum" if kind == "enum" else
                                    "alternate" if kind == "alternate" else "object", name)

    def _finish(self, made):
        self.done.append(made)
        self.targets.append(Target("type", made.name, made))

    def _enum(self, made):
        texts = []
        documented = self.chance(0.5)  # then features would have to be, too
        names = self.random.sample(ODD_VALUES, self.random.randint(1, 6))
        names += [f"v{n}" for n in range(self.random.randint(0, 40) if self.chance(0.2) else 1)]
        made.written = names
        for number, name in enumerate(names):
            there = True
            if number and self.chance(0.3):
                extra = "" if documented else self.features()
                if not extra or self.chance(0.6):
                    condition, there = self.condition()
                    extra += ", 'if': " + condition
                texts.append("{ 'name': " + quote(name) + extra + " }")
            else:
                texts.append(quote(name))
            if there:
                made.values.append(name)
        prefix = ", 'prefix': 'ODD_PREFIX'" if self.chance(0.3) else ""
        doc = None
        if documented:  # a backslash at the end must not eat the next line of C++
            doc = f"##\n# @{made.name}:\n#\n# Some text with a backslash\\\n#\n"
            doc += "".join(f"# @{name}: the value {name}\\\n#\n" for name in names) + "##"
        self.define(f"'enum': {quote(made.name)}{prefix},\n  'data': [ " + ", ".join(texts) + " ]" +
                    ("" if documented else self.features(True)), doc)
        self._finish(made)

    def _struct(self, made):
        base = ""
        structs = [t for t in self.done if t.kind == "object" and t.tag is None]
        if structs and self.chance(0.4):
            parent = self.pick(structs)
            made.members += parent.members
            made.conditional = parent.conditional
            base = f"\n  'base': {quote(parent.name)},"
        text = self.members(made, self.random.randint(0, 6))
        self.define(f"'struct': {quote(made.name)},{base}\n  'data': {text}" + self.features(True))
        self._finish(made)

    def _union(self, made):
        tag_type = self.pick([t for t in self.done if t.kind == "enum"])
        made.tag = self.fresh_name()
        holder = Type("object", made.name + "Base")
        holder.members.append(Member(made.tag, tag_type, False))
        text = self.members(holder, self.random.randint(0, 2))
        text = "{ " + quote(made.tag) + ": " + quote(tag_type.name) + \
            (",\n            " + text[2:] if len(text) > 4 else " }")
        made.members += holder.members
        if self.chance(0.4):
            self.define(f"'struct': {quote(holder.name)},\n  'data': {text}")
            text = quote(holder.name)
        names = {member.name for member in made.members}
        texts = []
        for value in tag_type.values:
            objects = [t for t in self.done if t.kind == "object" and not t.all_names() & names]
            if not objects or not self.chance(0.7):
                continue
            branch = self.pick(objects)
            if self.chance(0.2):
                condition, there = self.condition()
                texts.append(f"{quote(value)}: {{ 'type': {quote(branch.name)}, 'if': {condition} }}")
            else:
                there = True
                texts.append(f"{quote(value)}: {quote(branch.name)}")
            if there:
                made.branches[value] = branch
        if not texts:  # a union needs a branch
            empty = f"{made.name}Empty"
            self.define(f"'struct': {quote(empty)}, 'data': {{}}")
            texts.append(f"{quote(tag_type.values[0])}: {quote(empty)}")
        self.define(f"'union': {quote(made.name)},\n  'base': {text},\n"
                    f"  'discriminator': {quote(made.tag)},\n"
                    "  'data': { " + ",\n            ".join(texts) + " }" + self.features(True))
        self._finish(made)

    def _alternate(self, made):
        candidates = []
        objects = [t for t in self.done if t.kind == "object"]
        if objects:
            candidates.append(self.pick(objects))
        arrays = [t for t in self.done if t.kind != "alternate"] + [self.builtins["str"]]
        candidates.append(array_of(self.pick(arrays)))
        candidates.append(self.builtins["null"])
        enums = [t for t in self.done if t.kind == "enum"]
        if self.chance(0.5):
            candidates.append(self.builtins["str"])  # which looks like numbers and switches
        else:
            values = []
            if self.chance(0.7):
                found = self.pick(enums)
                candidates.append(found)
                values = found.written
            if not any(v in ("on", "off") for v in values):
                candidates.append(self.builtins["bool"])
            if not any(v[0] in "-+.0123456789" for v in values):
                candidates.append(self.builtins[self.pick(list(INTEGERS) + ["number"])])
        count = self.random.randint(1, len(candidates))
        texts = []
        for branch in self.random.sample(candidates, count):
            name = self.fresh_name()
            made.members.append(Member(name, branch, False))
            text = "[ " + quote(branch.element.name) + " ]" if branch.kind == "array" else \
                quote(branch.name)
            texts.append(f"{quote(name)}: {text}")
        self.define(f"'alternate': {quote(made.name)},\n  'data': {{ " + ", ".join(texts) + " }" +
                    self.features(True))
        self._finish(made)

    # ---- Commands and events ----

    def _data(self, name):
        """Arguments or an event's data: a type, its text, and whether `boxed` is needed."""
        objects = [t for t in self.done if t.kind == "object"]
        if self.chance(0.4):
            made = Type("object", name)
            return made, self.members(made, self.random.randint(0, 4), conditions=False), False
        found = self.pick(objects)
        boxed = found.tag is not None or found.conditional or self.chance(0.3)
        return found, quote(found.name), boxed

    def _commands(self):
        for number in range(6):
            name = ["x1", "x-1", "class", "do-it", "__org.example_run"][number] \
                if number < 5 and self.chance(0.4) else f"command-{number}"
            text = f"'command': {quote(name)}"
            takes, raw = None, self.chance(0.15)
            if self.chance(0.8):
                takes, data, boxed = self._data(name)
                text += f",\n  'data': {data}" + (", 'boxed': true" if boxed else "")
            if self.chance(0.5):
                objects = [t for t in self.done if t.kind == "object"]
                returns = quote(self.pick(objects).name)
                if self.chance(0.3):
                    returns = quote(self.pick(SCALARS + ["any"]))
                    self.returning.append(name)
                text += ",\n  'returns': " + (f"[ {returns} ]" if self.chance(0.4) else returns)
            text += ", 'gen': false" if raw else ""
            oob = self.chance(0.3)
            text += ", 'allow-oob': true" if oob else ""
            text += ", 'coroutine': true" if not oob and self.chance(0.2) else ""
            text += ", 'success-response': false" if self.chance(0.1) else ""
            text += ", 'allow-preconfig': true" if self.chance(0.2) else ""
            there = True
            if self.chance(0.2):
                condition, there = self.condition()
                text += f", 'if': {condition}"
            self.define(text + self.features())
            if there and takes and not raw:
                self.targets.append(Target("command", name, takes))

    def _events(self):
        for number in range(4):
            name = f"EVENT_{number}" if self.chance(0.7) else f"__ORG.EXAMPLE_E{number}"
            text = f"'event': {quote(name)}"
            carries = None
            if self.chance(0.8):
                carries, data, boxed = self._data(name)
                text += f",\n  'data': {data}" + (", 'boxed': true" if boxed else "")
            self.define(text + self.features())
            if carries:
                self.targets.append(Target("event", name, carries))

    def _pragma(self):
        if not self.returning:
            return ""
        return "{ 'pragma': { 'command-returns-exceptions': [ " + \
            ", ".join(quote(name) for name in self.returning) + " ] } }\n\n"


class Values:
    """Random values of a schema's types."""

    MAX_DEPTH = 5

    def __init__(self, seed):
        self.random = random.Random(f"values {seed}")

    def of(self, wanted, depth=0):
        kind = wanted.kind
        if kind == "array":
            count = 0 if depth > self.MAX_DEPTH else self.random.choice([0, 1, 1, 2, 3])
            return [self.of(wanted.element, depth + 1) for _ in range(count)]
        if kind == "enum":
            return self.random.choice(wanted.values)
        if kind == "alternate":
            return self.of(self.random.choice(wanted.members).type, depth + 1)
        if kind == "object":
            return self._object(wanted, depth)
        return self._scalar(kind)

    def _object(self, wanted, depth):
        out = {}
        for member in wanted.members:
            if member.optional and self.random.random() < (0.5 if depth < self.MAX_DEPTH else 1.1):
                continue
            out[member.name] = self.of(member.type, depth + 1)
        branch = wanted.branches.get(out.get(wanted.tag))
        if branch:
            out.update(self._object(branch, depth))
        return out

    def _scalar(self, kind):
        if kind == "str":
            return self.random.choice(STRINGS)
        if kind == "bool":
            return self.random.random() < 0.5
        if kind == "null":
            return None
        if kind == "number":
            return self.random.choice([0, 1, -1, 0.5, -1.25e300, 5e-324, 1.7976931348623157e308,
                                       2**53, -2**63, 0.1, 1e10])
        if kind == "any":
            return self._any(0)
        least, most = INTEGERS[kind]
        return self.random.choice([least, most, 0, 1, least + 1, most - 1,
                                   self.random.randint(least, most)])

    def _any(self, depth):
        choice = self.random.randrange(7 if depth < 3 else 5)
        if choice == 5:
            return [self._any(depth + 1) for _ in range(self.random.randint(0, 3))]
        if choice == 6:
            return {name: self._any(depth + 1) for name in self.random.sample("abcde", 2)}
        return [None, True, 2**64 - 1, -2**63, self.random.choice(STRINGS)][choice]
