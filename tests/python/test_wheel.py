# SPDX-License-Identifier: Apache-2.0
"""The wheel of deploy/wheel: whole, the same bytes twice, and what pip installs from it works.

Takes the library in $MAGENV_LIBRARY instead of building one.
"""
import base64
import csv
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LIBRARY = os.environ.pop("MAGENV_LIBRARY")
os.environ.pop("PYTHONPATH", None)  # the installed module is meant, not the one of the sources


def build(folder):
    done = subprocess.run([os.path.join(ROOT, "deploy", "wheel"), "--library", LIBRARY, folder],
                          capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout.split("\n")[-2]


def install(wheel, folder):
    if importlib.util.find_spec("pip"):
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps",
                        "--no-compile", "--target", folder, wheel], check=True)
    else:  # what pip would do with a wheel without scripts
        zipfile.ZipFile(wheel).extractall(folder)


class Wheel(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.wheel = build(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def test_the_record_names_every_file_with_its_digest(self):
        with zipfile.ZipFile(self.wheel) as wheel:
            names = wheel.namelist()
            record = next(name for name in names if name.endswith("/RECORD"))
            rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
            self.assertEqual(sorted(row[0] for row in rows), sorted(names))
            for name, digest, size in rows:
                if name != record:
                    data = wheel.read(name)
                    found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
                    self.assertEqual((digest, size), ("sha256=" + found.decode(), str(len(data))))
        self.assertIn("magenv.py", names)
        self.assertIn("libmagenv.so", names)

    def test_the_same_sources_give_the_same_bytes(self):
        with tempfile.TemporaryDirectory() as other, open(self.wheel, "rb") as first, \
                open(build(other), "rb") as second:
            self.assertEqual(first.read(), second.read())

    def test_what_is_installed_from_it_plays(self):
        place = os.path.join(self.folder.name, "site")
        install(self.wheel, place)
        done = subprocess.run(
            [sys.executable, "-c",
             "import magenv; e = magenv.StarCraft2Env('3m'); e.reset(); print(magenv.__file__)"],
            env={**os.environ, "PYTHONPATH": place}, cwd=self.folder.name,
            capture_output=True, text=True)
        self.assertEqual(done.stdout.strip(), os.path.join(place, "magenv.py"), done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
