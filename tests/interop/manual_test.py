#!/usr/bin/env python3
"""The manuals that qapic makes: well-formed, whole, their links lead somewhere, and nothing in them
reaches for the network."""

import html.parser
import json
import os
import pathlib
import random
import re
import subprocess
import tempfile
import unittest

import firn_test
from firn_test import needs, run

ROOT = firn_test.ROOT
QAPIC = os.environ.get("FIRN_TEST_QAPIC", str(ROOT / "build" / "release" / "bin" / "qapic"))
SCHEMAS = {"firn": ROOT / "schema" / "firn.json",
           "manual": ROOT / "tests" / "golden" / "qapi" / "manual.json",
           "sample": ROOT / "tests" / "golden" / "qapi" / "sample.json"}
MARKUP = ["word", "- item", "* item", "1. one", "``lit``", "*e*", "**s**", "`ref`", "@name", "@a",
          "::", "text::", "-> { 'x': 1 }", "<- { }", "| bar", "==  ==", "a   b", "+---+", "= H",
          "== H2", "====", "----", "***", ":ref:`x`", "`t <https://e.org>`_", "`x <javascript:y>`_",
          ".. note::", ".. note:: inline", ".. qmp-example::", "   :annotated:",
          '   :title: <t> & "q"', ".. table:: T", ".. code-block:: json", ".. unknown:: z",
          ".. _label:", "(1) x", "#. y", "<b>&amp;</b>", "\\*esc", "'quote", ".so /etc/passwd",
          "\\fB", "```", "~~~", "|", "http://a.b/c_d_e)", "\u00e9\u20ac", "]]>", "# hash", "> gt"]
VOID = {"meta", "input", "br", "hr", "img", "link"}
LOADS = {"img", "link", "iframe", "object", "embed", "audio", "video", "source", "base"}


class Page(html.parser.HTMLParser):
    """Reads a page strictly: every element is closed where it ought to be."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open = []
        self.ids = []
        self.links = []
        self.problems = []
        self.text = ""
        self.headings = []
        self.feed(text)
        self.close()
        if self.open:
            self.problems.append(f"never closed: {self.open}")

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag in LOADS or "src" in attributes or "style" in attributes:
            self.problems.append(f"{tag} loads something: {attributes}")
        if len(attributes) != len(attrs):
            self.problems.append(f"{tag} has an attribute twice: {attrs}")
        if "p" in self.open and tag in ("p", "ul", "ol", "dl", "pre", "div", "table", "section"):
            self.problems.append(f"{tag} in a paragraph")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if "href" in attributes:
            self.links.append(attributes["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes something else")

    def handle_data(self, data):
        if "main" in self.open:
            self.text += data


class ManualTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="firn-test-")
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.names = {}
        for name, path in SCHEMAS.items():
            run(QAPIC, "emit", "html,markdown,man,json-schema,introspection-json", path, "-o",
                cls.folder / name, "--name", name)
            text = "".join(p.read_text() for p in path.parent.glob("*.json")) \
                if name == "firn" else path.read_text()
            cls.names[name] = re.findall(
                r"^\{ '(?:command|event|enum|struct|union|alternate)': '([^']+)'(?!.*'if')", text,
                re.MULTILINE)
            assert len(cls.names[name]) > 8, cls.names[name]

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_a_full_disk_is_told(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([QAPIC, "--manual-page"], stdout=full, stderr=subprocess.PIPE,
                                    timeout=60)
        self.assertEqual(1, result.returncode)
        self.assertIn(b"cannot write to standard output", result.stderr)

    def test_html_is_well_formed(self):
        for name in SCHEMAS:
            text = (self.folder / name / f"{name}-qmp-ref.html").read_text()
            page = Page(text)
            self.assertEqual([], page.problems)
            self.assertEqual(len(page.ids), len(set(page.ids)), "an id stands twice")
            for link in page.links:
                if link.startswith("#"):
                    self.assertIn(link[1:], page.ids)
                else:
                    self.assertTrue(link.startswith("https://"), link)
            self.assertEqual(1, page.headings[0])
            self.assertEqual(1, page.headings.count(1))
            for above, below in zip(page.headings, page.headings[1:]):
                self.assertLessEqual(below, above + 1, "a level of headings is left out")
            self.assertNotIn("url(", text)
            self.assertNotIn("@import", text)
            for definition in self.names[name]:
                self.assertIn(definition, page.text)
                self.assertTrue({f"command-{definition}", f"event-{definition}",
                                 f"type-{definition}"} & set(page.ids), definition)

    def test_markdown_links_lead_somewhere(self):
        for name in SCHEMAS:
            pages = {p.name: p.read_text() for p in (self.folder / name).glob("*.md")}
            anchors = {page: set(re.findall(r'^<a id="([^"]+)"></a>$', text, re.MULTILINE))
                       for page, text in pages.items()}
            everything = "".join(pages.values())
            for page, text in pages.items():
                self.assertNotIn("\n\n\n", text)
                links = re.findall(r"\]\(([^)#]*)#([^)]+)\)", text)
                self.assertTrue(links or len(text) < 2000, page)
                for file, anchor in links:
                    if not file.startswith("http"):
                        self.assertIn(anchor, anchors[file or page], f"{page}: {file}#{anchor}")
            for definition in self.names[name]:
                self.assertIn(f"[`{definition}`](", pages["index.md"])
                self.assertRegex(everything, rf"\n##+ \w+ `{re.escape(definition)}`\n")

    def pages(self):
        yield from sorted((ROOT / "docs" / "man").glob("*.[1-8]"))
        for name in SCHEMAS:
            yield self.folder / name / f"{name}-qmp-ref.7"

    @needs("groff")
    def test_groff_has_no_warnings(self):
        for page in self.pages():
            result = subprocess.run(["groff", "-ww", "-man", "-Tutf8", page], check=True,
                                    capture_output=True, timeout=60)
            self.assertEqual(b"", result.stderr, page)
            self.assertGreater(len(result.stdout), 500)

    @needs("mandoc")
    def test_mandoc_has_no_warnings(self):
        for page in self.pages():
            result = run("mandoc", "-T", "lint", "-W", "warning", page, check=False)
            # The pages have no date, so that the same sources give the same page.
            told = [line for line in result.stdout.splitlines() if "missing date" not in line]
            self.assertEqual([], told, page)

    @needs("groff")
    def test_the_manual_page_says_what_was_written(self):
        page = self.folder / "manual" / "manual-qmp-ref.7"
        text = run("groff", "-man", "-Tascii", "-P-cbou", page).stdout
        for line in ("Free text with literal, emphasis, strong & <angles>, a link to",
                     "-> { \"execute\": \"widget-make\",",
                     "\"arguments\": { \"kind\": \"round\", \"name\": \"a<b>\\\\\" } }",
                     "\"0\" < '1' & \\backslash", ".text that starts with a dot"):
            self.assertIn(line, re.sub(r"[ \t]+", " ", text))

    def random_documentation(self, choose):
        def text(line_count):
            for _ in range(line_count):
                indent = " " * choose([0, 0, 0, 1, 2, 3, 4, 8])
                yield "# " + indent + " ".join(choose(MARKUP) for _ in range(choose(range(4))))

        return "\n".join([
            "##", "# = Top", "#", *text(12), "##", "##", "# @a:", "#", *text(8),
            "# @x: " + choose(MARKUP), *text(4), "# Features:", "# @f: " + choose(MARKUP), *text(3),
            "# Returns: " + choose(MARKUP), *text(4), "# Notes: " + choose(MARKUP), *text(4),
            "# Example:", *text(5), "# Since: " + choose(MARKUP), "#", *text(6), "##",
            "{'command': 'a', 'data': {'x': 'str', '*name': 'Bb'}, 'features': ['f'],"
            " 'returns': 'Bb'}",
            "##", "# @Bb:", "#", *text(6), "##", "{'type': 'Bb', 'data': {'y': ['int']}}", ""])

    @needs("groff")
    def test_random_documentation(self):
        """Whatever markup comes, right or wrong, the results are well-formed."""
        choose = random.Random(20).choice
        for number in range(15):
            path = self.folder / "random.json"
            path.write_text(self.random_documentation(choose))
            run(QAPIC, "emit", "html,markdown,man,json-schema", path, "--dialect", "2011", "-o",
                self.folder / "random")
            page = Page((self.folder / "random" / "random-qmp-ref.html").read_text())
            with self.subTest(number=number):
                self.assertEqual([], page.problems)
                self.assertEqual(len(page.ids), len(set(page.ids)))
                for link in page.links:
                    self.assertRegex(link, "^(#|https?://)")
                result = subprocess.run(["groff", "-ww", "-man", "-Tutf8", "-z",
                                         self.folder / "random" / "random-qmp-ref.7"], check=True,
                                        capture_output=True, text=True, timeout=60)
                told = [line for line in result.stderr.splitlines()
                        if "can't break line" not in line]
                self.assertEqual([], told)

    def test_json_schema_is_one(self):
        for name in SCHEMAS:
            schema = json.loads((self.folder / name / f"{name}.schema.json").read_text())
            definitions = schema["$defs"]
            text = json.dumps(schema)
            for target in set(re.findall(r'"\$ref": "#/\$defs/([^"]+)"', text)):
                self.assertIn(target, definitions)
            for definition in self.names[name]:
                self.assertTrue({definition, f"command:{definition}", f"event:{definition}"} &
                                set(definitions), definition)
            try:
                from jsonschema import Draft202012Validator
            except ImportError:
                continue
            Draft202012Validator.check_schema(schema)

    def test_examples_are_right(self):
        try:
            from jsonschema import Draft202012Validator
        except ImportError:
            self.skipTest("not installed: python3-jsonschema")
        schema = json.loads((self.folder / "firn" / "firn.schema.json").read_text())
        validators = {arrow: Draft202012Validator({**schema, "$ref": f"#/$defs/{kind}"})
                      for arrow, kind in (("->", "request"), ("<-", "message"))}
        count = 0
        for path in sorted((ROOT / "schema").glob("*.json")):
            for example in re.findall(r"^# \.\. qmp-example::\n#\n((?:#    .*\n|#\n)+)",
                                      path.read_text(), re.MULTILINE):
                text = "\n".join(line[5:] for line in example.splitlines())
                for arrow, message in re.findall(r"^(->|<-) ((?:.*\n?)(?:^ .*\n?)*)", text,
                                                 re.MULTILINE):
                    errors = validators[arrow].iter_errors(json.loads(message))
                    self.assertEqual([], [error.message for error in errors], message)
                    count += 1
        self.assertGreater(count, 20)

    def test_json_schema_tells_right_from_wrong(self):
        try:
            from jsonschema import Draft202012Validator
        except ImportError:
            self.skipTest("not installed: python3-jsonschema")
        schema = json.loads((self.folder / "manual" / "manual.schema.json").read_text())
        validator = Draft202012Validator(schema)
        time = {"seconds": 1, "microseconds": 2}
        for good in ({"execute": "widget-make",
                      "arguments": {"kind": "round", "name": "a", "radius": 255, "key": "x",
                                    "parent": {"kind": "plain"}}, "id": [1]},
                     {"exec-oob": "widget-make", "arguments": {"kind": "plain"}},
                     {"execute": "widget-list"}, {"execute": "widget-list", "arguments": {}},
                     {"return": {}}, {"return": [1], "id": 2},
                     {"error": {"class": "GenericError", "desc": "x"}},
                     {"QMP": {"version": {}, "capabilities": ["oob"]}},
                     {"event": "ALL_GONE", "timestamp": time},
                     {"event": "WIDGET_GONE", "timestamp": time,
                      "data": {"widget": None, "at": 1.5, "more": [1]}}):
            self.assertEqual([], [e.message for e in validator.iter_errors(good)], good)

        def make(**arguments):
            return {"execute": "widget-make", "arguments": arguments}
        for bad in (make(kind="round"), make(kind="round", name="a", radius=256),
                    make(kind="round", name="a", radius=-1), make(kind="plain", name="a"),
                    make(kind="square", name="a", radius=1), make(kind="other", name="a"),
                    make(kind="plain", parent={"kind": "plain", "y": 1}), make(kind="plain", y=1),
                    make(kind="plain", parent=5), make(kind="round", name="a", labels=[1]),
                    {"execute": "widget-make"}, {"execute": "no-such-command"},
                    {"execute": "widget-list", "arguments": {"x": 1}},
                    {"execute": "widget-list", "arguments": {"max": 2 ** 63}},
                    {"execute": "widget-list", "more": 1}, {"exec-oob": "widget-list"},
                    {"execute": "widget-list", "exec-oob": "widget-make"},
                    {"event": "ALL_GONE"}, {"event": "OTHER", "timestamp": time},
                    {"event": "ALL_GONE", "timestamp": time, "data": {}},
                    {"event": "WIDGET_GONE", "timestamp": time},
                    {"event": "WIDGET_GONE", "timestamp": time, "data": {"widget": 1, "at": 1.5}},
                    {"return": {}, "more": 1}, {"error": {"class": "GenericError"}}, {}, [], 1):
            self.assertFalse(validator.is_valid(bad), bad)


if __name__ == "__main__":
    firn_test.main()
