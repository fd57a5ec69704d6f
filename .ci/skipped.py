"""Counts the skipped tests of a pytest report in JUnit's format, by reason.

Ends with 1 if a test was skipped because a library that it compares with is not installed.
"""

import collections
import sys
import xml.etree.ElementTree as ET

MISSING = "could not import"
"""In the reasons of pytest.importorskip."""


def main(path: str) -> int:
    cases = ET.parse(path).iter("testcase")
    reasons = [s.get("message", "") for case in cases for s in case.iter("skipped")]
    print(f"{len(reasons)} tests were skipped")
    for reason, count in collections.Counter(reasons).most_common():
        print(f"{count:6}  {reason}")
    missing = [reason for reason in reasons if MISSING in reason]
    if missing:
        print(f"{len(missing)} of them compare with a library that is not installed")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
