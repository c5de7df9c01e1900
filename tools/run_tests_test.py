#!/usr/bin/env python3
"""The test runner counts cases, and takes whatever is not a clean pass for a failure."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS))
import report  # noqa: E402

GOOD = {"name": "good", "status": "RUN", "result": "COMPLETED"}
BAD = {"name": "bad", "status": "RUN", "result": "COMPLETED", "failures": [{"failure": "no"}]}
SKIPPED = {"name": "skipped", "status": "RUN", "result": "SKIPPED"}
DISABLED = {"name": "disabled", "status": "NOTRUN", "result": "SUPPRESSED"}


class RunTestsTest(unittest.TestCase):
    def run_tests(self, *tests, arguments=(), old_report=None):
        """Each test is (name, cases that it reports or None, shell command). Gives (lines, status)."""
        with tempfile.TemporaryDirectory() as folder:
            lines = []
            for name, cases, command in tests:
                script = pathlib.Path(folder, name + ".sh")
                text = "#!/bin/sh\n"
                if cases is not None:
                    reported = pathlib.Path(folder, name + ".cases")
                    report.write_report(reported, name, cases)
                    text += f'cp {reported} "${{GTEST_OUTPUT#json:}}"\n'
                script.write_text(text + command + "\n")
                script.chmod(0o755)
                lines.append(f'add_test({name} "{script}")')
                properties = 'LABELS "unit" TIMEOUT "2"'
                if not name.startswith("plain"):
                    properties += f' ENVIRONMENT "GTEST_OUTPUT=json:{folder}/out/{name}.json"'
                lines.append(f"set_tests_properties({name} PROPERTIES {properties})")
            pathlib.Path(folder, "CTestTestfile.cmake").write_text("\n".join(lines) + "\n")
            if old_report:
                pathlib.Path(folder, "out").mkdir()
                report.write_report(pathlib.Path(folder, "out", "a.json"), "a", old_report)
            environment = {k: v for k, v in os.environ.items() if not k.startswith("GTEST_")}
            result = subprocess.run(
                [sys.executable, TOOLS / "run_tests.py", *arguments, f"{folder}=unit"],
                capture_output=True, text=True, env=environment, check=False)
            return result.stdout.splitlines(), result.returncode

    def test_counts_cases_not_binaries(self):
        lines, status = self.run_tests(("a", [GOOD, GOOD, GOOD], "exit 0"), ("b", [GOOD], "exit 0"))
        self.assertEqual("4 passed, 0 failed", lines[-1])
        self.assertEqual(0, status)

    def test_failed_case(self):
        lines, status = self.run_tests(("a", [GOOD, BAD], "exit 1"), ("b", [GOOD], "exit 0"))
        self.assertEqual("2 passed, 1 failed", lines[-1])
        self.assertIn("FAILED: a a.bad", lines)
        self.assertEqual(1, status)

    def test_crash_before_the_report(self):
        lines, status = self.run_tests(("a", None, "kill -SEGV $$"), ("b", [GOOD], "exit 0"))
        self.assertEqual("1 passed, 1 failed", lines[-1])
        self.assertEqual(1, status)

    def test_failure_after_all_cases_passed(self):
        lines, status = self.run_tests(("a", [GOOD, GOOD], "exit 23"))
        self.assertEqual("2 passed, 1 failed", lines[-1])
        self.assertEqual(1, status)

    def test_timeout(self):
        lines, status = self.run_tests(("a", None, "sleep 30"))
        self.assertEqual("0 passed, 1 failed", lines[-1])
        self.assertEqual(1, status)

    def test_no_case_at_all(self):
        lines, status = self.run_tests(("a", [], "exit 0"), ("b", [GOOD], "exit 0"))
        self.assertEqual("1 passed, 1 failed", lines[-1])
        self.assertEqual(1, status)

    def test_skipped_and_disabled_cases_did_not_pass(self):
        lines, status = self.run_tests(("a", [GOOD, SKIPPED, DISABLED], "exit 0"))
        self.assertEqual(["1 skipped", "1 passed, 0 failed"], lines[-2:])
        self.assertEqual(0, status)

    def test_test_without_a_report_is_one_case(self):
        lines, _ = self.run_tests(("plain_good", None, "exit 0"), ("plain_bad", None, "exit 1"))
        self.assertEqual("1 passed, 1 failed", lines[-1])

    def test_an_old_report_does_not_count(self):
        lines, status = self.run_tests(("a", None, "exit 0"), old_report=[GOOD])
        self.assertEqual("0 passed, 1 failed", lines[-1])
        self.assertEqual(1, status)

    def test_filter(self):
        lines, status = self.run_tests(("a", [GOOD], "exit 0"), ("b", [BAD], "exit 1"),
                                       arguments=("--filter", "^a$"))
        self.assertEqual("1 passed, 0 failed", lines[-1])
        self.assertEqual(0, status)

    def test_nothing_ran(self):
        lines, status = self.run_tests(("a", [GOOD], "exit 0"), arguments=("--filter", "nothing"))
        self.assertEqual("0 passed, 0 failed", lines[-1])
        self.assertEqual(1, status)

    def test_scripts_report_in_the_same_form(self):
        with tempfile.TemporaryDirectory() as folder:
            script = pathlib.Path(folder, "t.py")
            script.write_text(
                f"import sys, unittest\nsys.path.insert(0, {str(TOOLS)!r})\nimport report\n"
                "class T(unittest.TestCase):\n"
                "  def test_good(self): pass\n"
                "  def test_bad(self): self.fail()\n"
                "  def test_error(self): raise OSError\n"
                "  def test_skip(self): self.skipTest('so')\n"
                "  def test_sub(self):\n"
                "    for i in range(3):\n"
                "      with self.subTest(i=i): self.assertEqual(1, i)\n"
                "report.main()\n")
            output = pathlib.Path(folder, "out.json")
            result = subprocess.run([sys.executable, script], capture_output=True, check=False,
                                    env={**os.environ, "GTEST_OUTPUT": f"json:{output}"})
            self.assertEqual(1, result.returncode)
            cases = json.loads(output.read_text())["testsuites"][0]["testsuite"]
            failed = {c["name"] for c in cases if c.get("failures")}
            self.assertEqual({"test_bad", "test_error", "test_sub"}, failed)
            self.assertEqual(["test_skip"], [c["name"] for c in cases if c["result"] == "SKIPPED"])
            self.assertEqual(5, len(cases))


if __name__ == "__main__":
    report.main()
