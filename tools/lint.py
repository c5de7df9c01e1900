#!/usr/bin/env python3
"""Checks what a compiler doesn't: format, include arrows, sizes, words, registration, links.

Without arguments it checks the working tree it lies in (tracked files, and new ones that git
doesn't ignore). Every finding is one line, `FILE:LINE: what is wrong`; the exit status is 1 if
there is any.
"""

import argparse
import fnmatch
import os
import pathlib
import re
import subprocess
import sys

# Which rooms of src/ a room may include and name in its DEPS. A name with /* stands for all rooms
# below that folder; a room may always include itself. This table is docs/architecture.md's drawing.
ARROWS = {
    "base": [],
    "async": ["base"],
    "api": ["async", "base"],
    "qapi": ["base"],
    "qmp": ["api", "async", "base"],
    "chardev": ["async", "base"],
    "block": ["async", "base"],
    "drivers/*": ["block", "async", "base"],
    "state": ["block", "async", "base"],
    "exports/*": ["block", "async", "base"],
    "jobs": ["block", "async", "base"],
    "daemon": ["api", "qmp", "chardev", "drivers/*", "exports/*", "jobs", "state", "block", "async", "base"],
    "cli": ["drivers/*", "exports/*", "jobs", "state", "block", "async", "base"],
}

MAX_SOURCE_LINES = 800

# Joined from halves, so that this file doesn't find itself.
WORDS = [
    (re.compile(r"\b(" + "|".join(["TO" "DO", "FIX" "ME", "X" "XX", "HA" "CK"]) + r")\b"),
     "work left undone: finish it, or open an issue"),
    (re.compile("not " "implemented", re.IGNORECASE), "say what is unsupported and what to do instead"),
    (re.compile(r"(?<![\w.$}/-])/(work|root|Users)/\w|(?<![\w.$}/-])/home/(?!(user|you)/)\w"),
     "an absolute path of somebody's machine"),
]
MARKER = re.compile(r"^(<{7}|>{7}) ")

CPP = (".h", ".cc")
# Tests and what only they use: node_test.cc, test_lab.h, nbd_test_support.h. They may include the
# rooms of their TEST_DEPS too.
IS_TEST = re.compile(r"(/|_)test(_\w+)?\.(h|cc)$")
BINARY = (".png", ".qcow2", ".bin", ".gz", ".zst", ".img", ".ico", ".woff2")


class Tree:
    """The files to check, by path relative to the root."""

    def __init__(self, root, files):
        self.root = pathlib.Path(root)
        self.files = sorted(files)
        self._texts = {}

    @staticmethod
    def from_git(root):
        out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root,
                             check=True, capture_output=True, text=True).stdout
        files = [f for f in set(out.split("\0")) if f and (pathlib.Path(root) / f).is_file()]
        return Tree(root, files)

    def text(self, path):
        if path not in self._texts:
            self._texts[path] = (self.root / path).read_text(encoding="utf-8", errors="replace")
        return self._texts[path]

    def lines(self, path):
        return enumerate(self.text(path).splitlines(), 1)

    def sources(self, folder=""):
        return [f for f in self.files if f.startswith(folder) and f.endswith(CPP)]


def rooms_of(tree):
    """The rooms: folders of src/ with a CMakeLists.txt that declares one."""
    rooms = []
    for path in tree.files:
        if path.startswith("src/") and path.endswith("/CMakeLists.txt") and path.count("/") > 1:
            rooms.append(path[len("src/"):-len("/CMakeLists.txt")])
    return sorted(rooms, key=len, reverse=True)


def room_of(path_in_src, rooms):
    """The room that a path below src/ lies in. Generated headers lie in `api` too."""
    for room in rooms:
        if path_in_src.startswith(room + "/"):
            return room
    head = path_in_src.split("/")
    for pattern in ARROWS:
        depth = pattern.count("/") + 1
        if len(head) > depth and fnmatch.fnmatch("/".join(head[:depth]), pattern):
            return "/".join(head[:depth])
    return None


def may_see(room, other, extra=()):
    if room == other or other in extra:
        return True
    for pattern, allowed in ARROWS.items():
        if fnmatch.fnmatch(room, pattern):
            return any(fnmatch.fnmatch(other, a) for a in allowed)
    return False


def known_room(room):
    return any(fnmatch.fnmatch(room, pattern) for pattern in ARROWS)


def cmake_room(tree, room):
    """The arguments of a room's firn_room() call, by keyword."""
    text = re.sub(r"#.*", "", tree.text(f"src/{room}/CMakeLists.txt"))
    match = re.search(r"firn_room\(([^)]*)\)", text)
    arguments = {"NAME": []}
    key = "NAME"
    for word in match.group(1).split() if match else []:
        if re.fullmatch(r"[A-Z_]+", word):
            key = word
            arguments.setdefault(key, [])
        else:
            arguments[key].append(word)
    return arguments


def check_arrows(tree):
    rooms = rooms_of(tree)
    calls = {room: cmake_room(tree, room) for room in rooms}
    by_name = {call["NAME"][0]: room for room, call in calls.items() if call["NAME"]}
    for room, call in calls.items():
        where = f"src/{room}/CMakeLists.txt:1"
        if not known_room(room):
            yield f"{where}: room {room} is not in the table of arrows in tools/lint.py"
            continue
        for name in call.get("DEPS", []):
            other = by_name.get(name)
            if other and not may_see(room, other):
                yield f"{where}: {room} must not depend on {other}"
    for path in tree.sources("src/"):
        room = room_of(path[len("src/"):], rooms)
        if not room:
            yield f"{path}:1: lies in no room of src/"
            continue
        extra = ()
        if IS_TEST.search(path):
            extra = [by_name.get(n) for n in calls.get(room, {}).get("TEST_DEPS", [])]
        for number, line in tree.lines(path):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            other = room_of(match.group(1), rooms)
            if match.group(1).startswith(".") or "/" not in match.group(1):
                yield f"{path}:{number}: include paths start at src/: {match.group(1)}"
            elif other and not may_see(room, other, extra):
                yield f"{path}:{number}: {room} must not include {other}: {match.group(1)}"


def check_sources(tree):
    for path in tree.sources():
        text = tree.text(path)
        count = text.count("\n")
        if path.startswith("src/") and count > MAX_SOURCE_LINES:
            yield (f"{path}:{count}: {count} lines, more than {MAX_SOURCE_LINES}: "
                   "find the concept that wants its own file")
        if path.endswith(".h") and not re.search(r"^#pragma once$", text, re.MULTILINE):
            yield f"{path}:1: no #pragma once"


def check_registration(tree):
    """Each source file is named in its folder's CMakeLists.txt, each test beside what it tests."""
    for path in tree.files:
        if not path.startswith("src/") or not path.endswith(".cc"):
            continue
        folder, name = path.rsplit("/", 1)
        listing = folder
        while listing != "src" and f"{listing}/CMakeLists.txt" not in tree.files:
            listing = listing.rsplit("/", 1)[0]
        relative = path[len(listing) + 1:]
        lists = f"{listing}/CMakeLists.txt"
        if lists not in tree.files or not re.search(
                rf"(?<![\w/]){re.escape(relative)}(?!\w)", tree.text(lists)):
            yield f"{path}:1: is built by no CMakeLists.txt"
        if name.endswith("_test.cc"):
            parts = name[:-len("_test.cc")].split("_")
            stems = ["_".join(parts[:n]) for n in range(len(parts), 0, -1)]
            # What a test in the room api tests may be generated.
            if folder != "src/api" and not any(f"{folder}/{stem}{ending}" in tree.files
                                               for stem in stems for ending in (".h", ".cc")):
                yield f"{path}:1: a test lies beside what it tests, and there is no {stems[0]}.h here"


def check_words(tree):
    for path in tree.files:
        if path.endswith(BINARY) or path == "LICENSE":
            continue
        for number, line in tree.lines(path):
            for pattern, remedy in WORDS:
                match = pattern.search(line)
                if match:
                    yield f"{path}:{number}: '{match.group(0)}': {remedy}"
            if MARKER.match(line):
                yield f"{path}:{number}: a merge conflict's marker"


def check_links(tree):
    """Relative links in the documents lead somewhere."""
    for path in tree.files:
        if not path.endswith(".md"):
            continue
        fenced = False
        for number, line in tree.lines(path):
            fenced ^= line.lstrip().startswith("```")
            if fenced:
                continue
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                target = target.split("#")[0]
                if not target or re.match(r"\w+:", target):
                    continue
                if not (tree.root / os.path.dirname(path) / target).exists():
                    yield f"{path}:{number}: the link leads nowhere: {target}"


def check_format(tree):
    files = tree.sources()
    if not files:
        return
    result = subprocess.run(["clang-format-19", "--dry-run", "-Werror", *files], cwd=tree.root,
                            capture_output=True, text=True)
    if result.returncode == 0:
        return
    unformatted = dict.fromkeys(
        re.findall(r"^(\S+?):(\d+):\d+: error: code should be", result.stderr, re.MULTILINE))
    first = {}
    for path, number in unformatted:
        first.setdefault(path, number)
    for path, number in first.items():
        yield f"{path}:{number}: not formatted: run ./dev format"
    if not first:
        yield f"clang-format-19 failed: {result.stderr.strip()}"


CHECKS = [check_format, check_arrows, check_sources, check_registration, check_words, check_links]


def findings(tree):
    for check in CHECKS:
        yield from check(tree)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=root, help="the tree to check")
    options = parser.parse_args()
    tree = Tree.from_git(options.root)
    found = list(findings(tree))
    for line in found:
        print(line)
    if found:
        print(f"lint: {len(found)} found in {len(tree.files)} files", file=sys.stderr)
        return 1
    print(f"lint: nothing found in {len(tree.files)} files", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
