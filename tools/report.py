"""Runs a unittest script and, where GTEST_OUTPUT=json:FILE asks for it, reports in GoogleTest's
JSON form, so that tools/run_tests.py counts the cases of scripts and of binaries alike."""

import json
import os
import sys
import time
import unittest


class _Result(unittest.TextTestResult):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases = []
        self._started = 0.0
        self._failures_now = []

    def startTest(self, test):
        super().startTest(test)
        self._started = time.monotonic()
        self._failures_now = []
        self._outcome = "COMPLETED"

    def addError(self, test, err):
        super().addError(test, err)
        text = self._exc_info_to_string(err, test)
        if isinstance(test, unittest.TestCase):
            self._failures_now.append({"failure": text, "type": ""})
        else:  # setUpClass or the like: no case of its own
            self._add(str(test), "fixture", [{"failure": text, "type": ""}], "COMPLETED")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._failures_now.append({"failure": self._exc_info_to_string(err, test), "type": ""})

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            text = self._exc_info_to_string(err, subtest)
            self._failures_now.append({"failure": text, "type": ""})

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._failures_now.append({"failure": "unexpected success", "type": ""})

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if isinstance(test, unittest.TestCase):
            self._outcome = "SKIPPED"
        else:
            self._add(str(test), "fixture", [], "SKIPPED")

    def stopTest(self, test):
        super().stopTest(test)
        self._add(type(test).__name__, test._testMethodName, self._failures_now, self._outcome)

    def _add(self, suite, name, failures, outcome):
        case = {"name": name, "classname": suite, "status": "RUN", "result": outcome,
                "time": f"{time.monotonic() - self._started:.3f}s"}
        if failures:
            case["failures"] = failures
        self.cases.append(case)


def write_report(path, name, cases):
    """Writes `cases` as GoogleTest's --gtest_output=json would."""
    suite = {"name": name, "tests": len(cases),
             "failures": sum("failures" in case for case in cases), "testsuite": cases}
    total = {"tests": suite["tests"], "failures": suite["failures"], "name": "AllTests",
             "testsuites": [suite]}
    with open(path, "w", encoding="utf-8") as out:
        json.dump(total, out, indent=1)


def write_one(name, failures):
    """For a program that is one case: `failures` are texts. Where GTEST_OUTPUT asks for it."""
    output = os.environ.get("GTEST_OUTPUT", "")
    if not output.startswith("json:"):
        return
    case = {"name": name, "classname": name, "status": "RUN", "result": "COMPLETED"}
    if failures:
        case["failures"] = [{"failure": text, "type": ""} for text in failures]
    write_report(output[len("json:"):], name, [case])


def main(module="__main__"):
    """In place of unittest.main()."""
    runner = unittest.TextTestRunner(resultclass=_Result, verbosity=2)
    program = unittest.main(module=module, testRunner=runner, exit=False)
    output = os.environ.get("GTEST_OUTPUT", "")
    if output.startswith("json:"):
        write_report(output[len("json:"):], os.path.basename(sys.argv[0]), program.result.cases)
    sys.exit(0 if program.result.wasSuccessful() and program.result.testsRun else 1)
