"""One thing wrong with a value, and what the error has to say about it."""

import copy

from random_schema import INTEGERS


class Site:
    """A value inside the whole: `holder[key]` has `type`; `path` is how errors name it."""

    def __init__(self, holder, key, site_type, path, bare, kinds):
        self.holder = holder
        self.key = key
        self.type = site_type
        self.path = path
        self.bare = bare
        self.kinds = kinds  # of JSON, that may stand here
        self.in_alternate = site_type.kind == "alternate"

    def value(self):
        return self.holder[self.key]


def json_kind(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return {str: "string", list: "array", dict: "object"}[type(value)]


def type_kind(wanted):
    """The JSON kind of a type's values; an alternate has several."""
    if wanted.kind == "str" or wanted.kind == "enum":
        return "string"
    if wanted.kind in INTEGERS or wanted.kind == "number":
        return "number"
    return wanted.kind


def sites(wanted, holder, key, path, bare):
    """All values in `holder[key]`, itself first."""
    value = holder[key]
    kinds = {type_kind(branch.type) for branch in wanted.members} \
        if wanted.kind == "alternate" else {type_kind(wanted)}
    yield Site(holder, key, wanted, path, bare, kinds)
    if wanted.kind == "array":
        for index in range(len(value)):
            yield from sites(wanted.element, value, index, f"{path}[{index}]", "null")
    elif wanted.kind == "object":
        for member in wanted.effective(value):
            if member.name in value:
                inner = f"{path}.{member.name}" if path else member.name
                yield from sites(member.type, value, member.name, inner, member.name)
    elif wanted.kind == "alternate":
        for branch in wanted.members:
            if type_kind(branch.type) != json_kind(value):
                continue
            for site in sites(branch.type, holder, key, path, bare):
                if site.holder is holder and site.key == key:
                    site.kinds = kinds
                    site.in_alternate = True
                yield site


def other_kind(random, allowed):
    samples = {"null": None, "bool": True, "number": 7, "string": "seven", "array": [],
               "object": {}}
    return copy.deepcopy(samples[random.choice([kind for kind in samples if kind not in allowed])])


def mutate(random, wanted, value):
    """A copy of `value` with one thing wrong, and the words that the error has to have; None if
    nothing can be made wrong in this one."""
    root = [copy.deepcopy(value)]
    found = list(sites(wanted, root, 0, "", None))
    random.shuffle(found)
    for site in found:
        made = _mutate_site(random, site)
        if made:
            return root[0], made
    return None


def _mutate_site(random, site):
    kind = site.type.kind
    value = site.value()
    if kind == "object" and isinstance(value, dict):
        mandatory = [m.name for m in site.type.effective(value)
                     if not m.optional and m.name in value]
        prefix = site.path + "." if site.path else ""
        if mandatory and random.random() < 0.4:
            name = random.choice(mandatory)
            del value[name]
            return [f"'{prefix}{name}' is missing"]
        if random.random() < 0.5:
            value["unexpected-one"] = 1
            return [f"'{prefix}unexpected-one' is unexpected"]
    if site.bare is None or kind == "any":
        return None
    if site.in_alternate:
        if len(site.kinds) == 6:
            return None
        site.holder[site.key] = other_kind(random, site.kinds)
        return [f"'{site.bare}'"]
    if kind in INTEGERS and random.random() < 0.6:
        least, most = INTEGERS[kind]
        # 64 bits unsigned take what is negative, as QEMU does; what does not fit is a double.
        site.holder[site.key] = random.choice([most + 1, least - 1]) if kind not in (
            "uint64", "size") else most + 1
        if kind in ("int", "int64", "uint64", "size"):
            return [f"'{site.path}'"]
        return [f"'{site.bare}'"]
    if kind == "enum" and random.random() < 0.6:
        site.holder[site.key] = random.choice(["no-such-value", "", " "])
        return [f"Parameter '{site.bare}' does not accept value '{site.holder[site.key]}'"]
    site.holder[site.key] = other_kind(random, site.kinds)
    return [f"'{site.path}'"]
