#!/usr/bin/env python3
"""Runs CTest in build folders and counts test cases: GoogleTest's cases, and those of the scripts
that report in the same form (tools/report.py). A test that leaves no report counts as one case.

  run_tests.py [--filter REGEX] [--cases PATTERN] BUILD_FOLDER=LABEL_REGEX...

A binary that crashes, times out, runs no case, or fails although all its cases passed (a leak, for
instance) counts as a failed case. The last line on standard output reads `N passed, N failed`; the
exit status is 0 if none failed and at least one ran.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as xml


class Count:
    def __init__(self):
        self.passed = 0
        self.skipped = []
        self.failed = []


def tests_of(build, labels, name_filter):
    """The tests that CTest would run: name -> the report that it writes, or None."""
    command = ["ctest", "--test-dir", build, "-L", labels, "--show-only=json-v1"]
    if name_filter:
        command += ["-R", name_filter]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tests = {}
    for test in json.loads(out)["tests"]:
        tests[test["name"]] = None
        for prop in test.get("properties", []):
            if prop["name"] == "ENVIRONMENT":
                for entry in prop["value"]:
                    if entry.startswith("GTEST_OUTPUT=json:"):
                        tests[test["name"]] = pathlib.Path(entry.split(":", 1)[1])
    return tests


def count_report(name, report, count, allow_empty):
    """Adds a report's cases to `count`. False if it says nothing that can be counted."""
    try:
        suites = json.loads(report.read_text(encoding="utf-8"))["testsuites"]
    except (OSError, ValueError, KeyError):
        return False
    ran = 0
    for suite in suites:
        for case in suite["testsuite"]:
            if case.get("status") == "NOTRUN":
                continue
            ran += 1
            title = f"{name} {case.get('classname', suite['name'])}.{case['name']}"
            if case.get("failures"):
                count.failed.append(title)
            elif case.get("result") == "SKIPPED":
                count.skipped.append(title)
            else:
                count.passed += 1
    return ran > 0 or allow_empty


def run(build, labels, options, count):
    tests = tests_of(build, labels, options.filter)
    if not tests:
        return
    for report in tests.values():
        if report:
            report.parent.mkdir(parents=True, exist_ok=True)
            report.unlink(missing_ok=True)
    junit = pathlib.Path(build, "Testing", "junit.xml").resolve()
    junit.unlink(missing_ok=True)
    environment = dict(os.environ)
    if options.cases:
        environment["GTEST_FILTER"] = options.cases
    command = ["ctest", "--test-dir", build, "-L", labels, "--output-on-failure", "--no-tests=error",
               "-j", str(options.jobs), "--output-junit", str(junit)]
    if options.filter:
        command += ["-R", options.filter]
    sys.stdout.flush()
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)

    try:
        outcome = {case.get("name"): case.get("status")
                   for case in xml.parse(junit).getroot().iter("testcase")}
    except (OSError, xml.ParseError):
        outcome = {}
    for name, report in tests.items():
        failed_before = len(count.failed)
        passed = outcome.get(name) == "run"
        if report:
            counted = count_report(name, report, count, allow_empty=bool(options.cases))
            if not counted:
                count.failed.append(f"{name} (ran no case, or crashed before it reported)")
            elif not passed and len(count.failed) == failed_before:
                count.failed.append(f"{name} (failed although its cases passed)")
        elif passed:
            count.passed += 1
        else:
            count.failed.append(name)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", help="run only tests whose CTest name matches")
    parser.add_argument("--cases", help="run only GoogleTest cases that match this pattern")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests at once")
    parser.add_argument("builds", nargs="+", metavar="BUILD_FOLDER=LABEL_REGEX")
    options = parser.parse_args()

    count = Count()
    for build in options.builds:
        folder, labels = build.split("=", 1)
        run(folder, labels, options, count)

    sys.stdout.flush()
    for title in count.skipped:
        print(f"skipped: {title}")
    for title in count.failed:
        print(f"FAILED: {title}")
    if count.skipped:
        print(f"{len(count.skipped)} skipped")
    print(f"{count.passed} passed, {len(count.failed)} failed", flush=True)
    return 0 if count.passed and not count.failed else 1


if __name__ == "__main__":
    sys.exit(main())
