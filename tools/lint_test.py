#!/usr/bin/env python3
"""The lint finds what it is there to find: every check meets a planted violation."""

import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lint  # noqa: E402
import report  # noqa: E402

HOUSE = {
    "src/CMakeLists.txt": "",
    "src/base/CMakeLists.txt": "firn_room(base SOURCES error.cc TESTS error_test.cc)\n",
    "src/base/error.h": "#pragma once\n",
    "src/base/error.cc": '#include "base/error.h"\n',
    "src/base/error_test.cc": '#include "base/error.h"\n',
    "src/block/CMakeLists.txt": "firn_room(block SOURCES node.cc TESTS node_test.cc DEPS base)\n",
    "src/block/node.h": '#pragma once\n\n#include "base/error.h"\n',
    "src/block/node.cc": '#include "block/node.h"\n',
    "src/block/node_test.cc": '#include "block/node.h"\n',
    "src/drivers/raw/CMakeLists.txt":
        "firn_room(raw SOURCES raw.cc TESTS raw_test.cc DEPS block TEST_DEPS null)\n",
    "src/drivers/raw/raw.h": "#pragma once\n",
    "src/drivers/raw/raw.cc": '#include "drivers/raw/raw.h"\n\n#include "block/node.h"\n',
    "src/drivers/raw/raw_test.cc": '#include "drivers/null/null.h"\n',
    "src/drivers/null/CMakeLists.txt": "firn_room(null SOURCES null.cc DEPS block)\n",
    "src/drivers/null/null.h": "#pragma once\n",
    "src/drivers/null/null.cc": '#include "drivers/null/null.h"\n',
    "docs/architecture.md": "See [the table](../src/base/error.h).\n",
}


class LintTest(unittest.TestCase):
    def lint(self, changes=None):
        with tempfile.TemporaryDirectory() as root:
            files = {**HOUSE, **(changes or {})}
            for path, text in files.items():
                target = pathlib.Path(root, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
            return list(lint.findings(lint.Tree(root, list(files))))

    def assert_found(self, changes, path, text):
        found = self.lint(changes)
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(path + ":"), found)
        self.assertIn(text, found[0])

    def test_clean_house_passes(self):
        self.assertEqual(self.lint(), [])

    def test_upward_include(self):
        self.assert_found({"src/base/error.cc": '#include "block/node.h"\n'}, "src/base/error.cc",
                          "base must not include block")

    def test_sideways_include_between_drivers(self):
        self.assert_found({"src/drivers/raw/raw.cc": '#include "drivers/null/null.h"\n'},
                          "src/drivers/raw/raw.cc", "drivers/raw must not include drivers/null")

    def test_what_tests_share_may_include_their_dependencies(self):
        room = {"src/drivers/raw/CMakeLists.txt":
                "firn_room(raw SOURCES raw.cc TESTS raw_test.cc test_lab.cc DEPS block "
                "TEST_DEPS null)\n"}
        lab = '#include "drivers/null/null.h"\n'
        self.assertEqual([], self.lint({**room, "src/drivers/raw/test_lab.cc": lab}))
        self.assert_found({**room, "src/drivers/raw/test_lab.cc": '#include "api/types.h"\n'},
                          "src/drivers/raw/test_lab.cc", "drivers/raw must not include api")

    def test_block_does_not_see_generated_api(self):
        self.assert_found({"src/block/node.cc": '#include "api/types.h"\n'}, "src/block/node.cc",
                          "block must not include api")

    def test_upward_dependency(self):
        self.assert_found(
            {"src/base/CMakeLists.txt":
                "firn_room(base SOURCES error.cc TESTS error_test.cc DEPS block)\n"},
            "src/base/CMakeLists.txt", "base must not depend on block")

    def test_include_path_starts_at_src(self):
        self.assert_found({"src/block/node.cc": '#include "node.h"\n'}, "src/block/node.cc",
                          "include paths start at src/")

    def test_unknown_room(self):
        found = self.lint({"src/attic/CMakeLists.txt": "firn_room(attic)\n"})
        self.assertEqual(len(found), 1, found)
        self.assertIn("room attic is not in the table", found[0])

    def test_source_without_a_room(self):
        found = self.lint({"src/stray.h": "#pragma once\n"})
        self.assertEqual(found, ["src/stray.h:1: lies in no room of src/"])

    def test_long_file(self):
        text = "#pragma once\n" + "\n// A line.\n" * 400
        self.assert_found({"src/base/error.h": text}, "src/base/error.h", "more than 800")

    def test_header_without_pragma_once(self):
        self.assert_found({"src/base/error.h": "int f();\n"}, "src/base/error.h", "no #pragma once")

    def test_unformatted_source(self):
        self.assert_found({"src/base/error.h": "#pragma once\nint  f( );\n"}, "src/base/error.h",
                          "not formatted")

    def test_source_that_nothing_builds(self):
        self.assert_found({"src/base/lost.cc": '#include "base/error.h"\n'}, "src/base/lost.cc",
                          "is built by no CMakeLists.txt")

    def test_test_that_is_not_registered(self):
        self.assert_found({"src/block/CMakeLists.txt": "firn_room(block SOURCES node.cc DEPS base)\n"},
                          "src/block/node_test.cc", "is built by no CMakeLists.txt")

    def test_test_beside_nothing(self):
        self.assert_found(
            {"src/block/CMakeLists.txt":
                "firn_room(block SOURCES node.cc TESTS node_test.cc edge_test.cc DEPS base)\n",
             "src/block/edge_test.cc": '#include "block/node.h"\n'},
            "src/block/edge_test.cc", "beside what it tests")

    def test_test_of_an_aspect_lies_beside_its_header(self):
        self.assertEqual([], self.lint(
            {"src/block/CMakeLists.txt":
                "firn_room(block SOURCES node.cc TESTS node_test.cc node_close_test.cc DEPS base)\n",
             "src/block/node_close_test.cc": '#include "block/node.h"\n'}))

    def test_words(self):
        for word in ["TO" "DO", "FIX" "ME", "X" "XX", "HA" "CK", "Not " "implemented"]:
            self.assert_found({"docs/architecture.md": f"One.\n{word}: this\n"},
                              "docs/architecture.md:2", word)

    def test_template_for_mkstemp_is_no_word(self):
        self.assertEqual([], self.lint({"docs/architecture.md": "firn-" + "XXXXXX\n"}))

    def test_paths_of_machines(self):
        for path in ["/wo" "rk/main/src", "/ro" "ot/x", "/ho" "me/anna/firn"]:
            self.assert_found({"docs/architecture.md": f"In `{path}`.\n"}, "docs/architecture.md:1",
                              "absolute path")

    def test_conflict_marker(self):
        self.assert_found({"docs/architecture.md": "<" * 7 + " HEAD\n"}, "docs/architecture.md:1",
                          "marker")

    def test_dead_link(self):
        self.assert_found({"docs/architecture.md": "See [this](../nowhere.md).\n"},
                          "docs/architecture.md:1", "leads nowhere")


if __name__ == "__main__":
    report.main()
