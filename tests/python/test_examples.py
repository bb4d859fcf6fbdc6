# SPDX-License-Identifier: Apache-2.0
"""Every Python block of README.md and docs/python.md runs to its end, each in a process of its own.

A block whose first line is a comment with "not run" is left out: it needs what tests may not.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

try:
    import numpy  # noqa: F401, the examples need it
except ImportError:
    print("skipped: no numpy (Debian: python3-numpy)")
    sys.exit(77)


def blocks(page):
    with open(os.path.join(ROOT, page)) as text:
        return re.findall(r"^```python\n(.*?)^```", text.read(), re.M | re.S)


failed = run = 0
for page in ("README.md", "docs/python.md"):
    found = [block for block in blocks(page) if "not run" not in block.split("\n")[0]]
    if not found:
        print("%s: no example; one is expected" % page)
        failed += 1
    for number, block in enumerate(found, 1):
        done = subprocess.run([sys.executable, "-W", "error", "-c", block], capture_output=True,
                              text=True)
        run += 1
        print("%s, example %d: %s" % (page, number, "failed" if done.returncode else "ok"))
        print(done.stdout + done.stderr)
        failed += done.returncode != 0
print("%d examples, %d failed" % (run, failed))
sys.exit(1 if failed else 0)
