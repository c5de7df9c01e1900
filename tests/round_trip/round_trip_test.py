#!/usr/bin/env python3
"""Random schemas through qapic and the C++ compiler, random values through what comes out.

For each seed: qapic compiles the schema; its C++ is compiled and linked with src/api; values made
from the schema decode and encode to the same values, as JSON and as key=value; values with one thing
wrong are refused, and the error names the place; what `query-qmp-schema` would tell is compatible
with the schema both ways.

    round_trip_test.py --qapic PATH --source FOLDER --cxx 'COMPILER FLAGS' --link 'LIBRARIES'
                       [--seeds 1,2,10-20] [--values N] [--keep FOLDER]
"""

import argparse
import json
import math
import os
import pathlib
import random
import shlex
import subprocess
import sys
import tempfile
import unittest

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
sys.path.insert(0, str(FOLDER.parents[1] / "tools"))

import keyval  # noqa: E402
import mutation  # noqa: E402
import report  # noqa: E402
from random_schema import RandomSchema, Values  # noqa: E402

OPTIONS = None


def run(*argv, **options):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True,
                          check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{shlex.join(str(w) for w in argv)} exited with {done.returncode}:\n"
                             f"{done.stdout[-300:]}{done.stderr[-3000:]}")
    return done.stdout


def same(left, right):
    """Equal as JSON: 1 and 1.0 are one number, 1 and true are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return float(left) == float(right) if isinstance(left, float) or isinstance(right, float) \
            else left == right
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return left == right


class Program:
    """The compiled schema; build() first."""

    def __init__(self, folder, schema):
        self.folder = folder
        self.schema = schema
        self.defines = [f"-D{symbol}" for symbol in schema.defines]
        self.file = folder / "schema.json"
        self.file.write_text(schema.text, encoding="utf-8")

    def build(self):
        generated = self.folder / "generated"
        run(OPTIONS.qapic, "emit", "types,codec,commands,events,introspection,introspection-json",
            self.file, "-o", generated / "api", *self.defines)
        self._check_introspection(generated / "api" / "introspection.json")
        source = self.folder / "main.cc"
        source.write_text(self._source(generated / "api"), encoding="utf-8")
        self.binary = self.folder / "program"
        run(*shlex.split(OPTIONS.cxx), "-O0", f"-I{generated}", f"-I{OPTIONS.source}/src",
            f"-I{FOLDER}", source, "-o", self.binary, *shlex.split(OPTIONS.link))

    def _check_introspection(self, answer):
        for pair in ((self.file, answer), (answer, self.file)):
            text = run(OPTIONS.qapic, "compat", "--strict", *pair, *self.defines)
            if "0 breaks, 0 warnings, 0 notes" not in text:
                raise AssertionError(text)

    def _source(self, api):
        header = (api / "types.h").read_text(encoding="utf-8")
        events = (api / "events.h").read_text(encoding="utf-8")
        lines = [f'#include "api/{path.name}"' for path in sorted(api.glob("*.cc"))]
        lines += ['#include "harness.h"', "namespace firn::api {"]
        rows = []
        for number, target in enumerate(self.schema.targets):
            key = f"{target.kind} {target.name}"
            name = target.type.name + ("_" if f"struct {target.type.name}_ {{" in header or
                                       f"enum class {target.type.name}_ :" in header else "")
            if target.kind == "type":
                function = f"round_trip::type<{name}>"
            elif target.kind == "command":
                lines.append(f'extern const char kName{number}[] = "{target.name}";')
                function = f"round_trip::command<kName{number}>"
            else:
                words = target.name.replace(".", "_").split("_")
                event = "".join(word.capitalize() for word in words) + "Event"
                own = f"struct {event} {{" in events
                function = f"round_trip::event<{event}, {name if own else event}>"
            rows.append(f'      {{"{key}", &{function}}},')
        return "\n".join(lines + ["}", "int main() {", "  using namespace firn::api;",
                                  "  return round_trip::serve({"] + rows + ["  });", "}", ""])

    def ask(self, requests):
        text = "".join(json.dumps(request) + "\n" for request in requests)
        lines = run(self.binary, input=text).splitlines()
        assert len(lines) == len(requests), f"{len(lines)} answers to {len(requests)} requests"
        return [json.loads(line) for line in lines]


class Case:
    """A request, and what has to come of it: a value, or words of an error."""

    def __init__(self, target, request, value=None, words=None):
        self.request = {"target": f"{target.kind} {target.name}", **request}
        self.value = value
        self.words = words

    def check(self, answer):
        if self.words is None:
            good = "ok" in answer and same(answer["ok"], self.value)
        else:
            good = "error" in answer and all(word in answer["error"] for word in self.words)
        if not good:
            raise AssertionError(f"asked: {json.dumps(self.request)}\n"
                                 f"wanted: {self.words or json.dumps(self.value)}\n"
                                 f"answer: {json.dumps(answer)}")


def cases_of(schema, seed, count):
    values = Values(seed)
    chooser = random.Random(f"cases {seed}")
    for target in schema.targets:
        for _ in range(count):
            value = values.of(target.type)
            yield Case(target, {"value": value}, value)
            wrong = mutation.mutate(chooser, target.type, value)
            if wrong:
                # The log's function tells no errors.
                yield Case(target, {"value": wrong[0]},
                           words=["refused"] if target.kind == "command" else wrong[1])
            if target.kind != "type" or target.type.kind != "object" or not said(value):
                continue
            try:
                text = keyval.text_of(chooser, target.type, value)
            except keyval.Unsayable:
                continue
            yield Case(target, {"keyval": text}, value)


def said(value):
    """Without what no text says: numbers that are not finite."""
    return not isinstance(value, float) or math.isfinite(value)


class RoundTrip(unittest.TestCase):
    pass


def add_case(seed):
    def test(self):
        keep = OPTIONS.keep
        with tempfile.TemporaryDirectory(prefix="firn-round-trip-") as temporary:
            folder = pathlib.Path(keep) / str(seed) if keep else pathlib.Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            schema = RandomSchema(seed)
            program = Program(folder, schema)
            program.build()
            cases = list(cases_of(schema, seed, OPTIONS.values))
            self.assertGreater(len(cases), 100)
            self.assertTrue(any(case.words for case in cases))
            for case, answer in zip(cases, program.ask([case.request for case in cases])):
                case.check(answer)
            kinds = [sum("keyval" in c.request for c in cases),
                     sum(c.words is not None for c in cases)]
            print(f"seed {seed}: {len(schema.targets)} targets, {len(cases)} values, of them "
                  f"{kinds[0]} as key=value and {kinds[1]} wrong", file=sys.stderr)
    setattr(RoundTrip, f"test_seed_{seed}", test)


def seeds_in(text):
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def main():
    global OPTIONS
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qapic", required=True)
    parser.add_argument("--source", required=True, help="the project's folder")
    parser.add_argument("--cxx", required=True, help="the compiler with its flags")
    parser.add_argument("--link", required=True, help="libraries and flags behind the sources")
    parser.add_argument("--seeds", default="1", help="for instance 1,5-9")
    parser.add_argument("--values", type=int, default=30, help="for each type")
    parser.add_argument("--keep", help="leave schemas and programs in this folder")
    OPTIONS, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    for seed in seeds_in(OPTIONS.seeds):
        add_case(seed)
    report.main()


if __name__ == "__main__":
    main()
