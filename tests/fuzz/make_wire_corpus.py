#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes corpus/wire_*/ from the golden messages, plus a few hostile ones.

Control and the small data messages carry their envelope type in the first byte. The files are
committed; run this again only to add seeds.
"""
import os

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden", "wire", "1.0")
CONTROL = ["HELLO", "WELCOME", "ERROR", "PING", "PONG", "PLAY", "DRAIN", "BYE", "STATUS", "STATUS_REPLY",
           "CHECKPOINT", "DRAIN_ALL"]
SMALL = {"ACK": 33, "NACK": 34, "CREDIT": 35, "WANT": 36, "RESULT_ACK": 39, "CANCEL": 40}


def golden(name):
    with open(os.path.join(GOLDEN, name + ".bin"), "rb") as f:
        return f.read()


def save(target, name, data):
    folder = os.path.join(HERE, "corpus", "wire_" + target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def main():
    for i, name in enumerate(CONTROL):
        save("control", "valid-" + name, bytes([i + 1]) + golden(name))
    save("control", "hostile-groups", b"\x07" + b"\x0b" * 64)
    save("control", "hostile-nesting", b"\x05" + b"\x0a\x7e" * 64)
    save("control", "hostile-unknown", b"\x07" + b"\x78\x01" * 40)
    save("control", "hostile-fields", b"\x07" + b"\x08\x01" * 10001)
    for name, kind in SMALL.items():
        save("small", "valid-" + name, bytes([kind]) + golden(name))
    for name in ("EPISODE", "EPISODE_state"):
        save("episode", "valid-" + name, golden(name))
        save("episode", "hostile-cut-" + name, golden(name)[:-40])
    save("episode", "hostile-T", golden("EPISODE").replace(b"\xa1T\x03", b"\xa1T\x7f"))
    for target in ("JOB", "RESULT"):
        save(target.lower(), "valid-" + target, golden(target))
        save(target.lower(), "hostile-cut-" + target, golden(target)[:-40])
    for name in ("GET", "CHUNK", "GONE"):
        save("weights", "valid-" + name, golden(name))
    for name in ("ACK", "NACK", "WANT", "CANCEL"):
        save("mp", "valid-" + name, golden(name))
    save("mp", "valid-map-of-EPISODE", golden("EPISODE")[24:])
    save("mp", "valid-map-of-JOB", golden("JOB")[6:])
    save("mp", "valid-numbers", bytes.fromhex("9ac0c2c3ffd080d18000d280000000d38000000000000000ca3fc00000cb3ff8000000000000"))
    save("mp", "hostile-array-8GiB", bytes.fromhex("dd10000000"))
    save("mp", "hostile-map-16GiB", bytes.fromhex("df10000000"))
    save("mp", "hostile-deep", b"\x91" * 64)
    save("mp", "hostile-ext", bytes.fromhex("d40000"))


if __name__ == "__main__":
    main()
