#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpus of fuzz_film into corpus/film/, from docs/replay.md alone.

body-* is what a film unpacks to, film-* a whole file (zstd with stored blocks); valid or hostile
as in make_corpus.py.
"""
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "film")


def uint(v):
    out = b""
    while v >= 0x80:
        out += bytes([v & 0x7F | 0x80])
        v >>= 7
    return out + bytes([v])


def sint(v):
    return uint(2 * v if v >= 0 else -2 * v - 1)


def text(s):
    return uint(len(s)) + s.encode()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def film(body, size=None, crc=None, version=1):
    """The header and a zstd frame of one stored block."""
    frame = struct.pack("<IBI", 0xFD2FB528, 0xA0, len(body)) + struct.pack("<I", len(body) << 3 | 1)[:3] + body
    return (b"MAGFILM" + bytes([version]) + struct.pack("<I", len(body) if size is None else size) +
            struct.pack("<I", crc32c(frame) if crc is None else crc) + frame)


def kind(name, style, energy=0, reach=0):
    return text(name) + b"M" + bytes([style, 0]) + sint(24) + sint(reach) + sint(180) + sint(40) + sint(energy)


HEAD = (text("smac") + text("3m") + text("test") + text("battle-1") + text("smac map=3m") +
        text("env:\n  map: 3m\n") + b"\1")
STAGE = uint(4) + uint(2) + b"....#..." + uint(8) + uint(2) + kind("marine", 1) + kind("baneling", 5, 200, 141)


def unit(alive=1, moves=(), order=b""):
    mask, out = alive, b""
    for k, d in moves:
        mask |= 2 << k
        out += sint(d)
    return bytes([mask | (64 if order else 0)]) + out + order


def shots(*hits):
    return uint(len(hits)) + b"".join(uint(s) + uint(t) + uint(l) for s, t, l in hits)


def episode(frames, units=2, steps=None, ending=0x11, number=3):
    return (uint(number) + struct.pack("<Q", 12345) + bytes([ending]) + uint(units) +
            uint(len(frames) - 1 if steps is None else steps) + b"\0\0\1\1" + b"".join(frames))


START = unit(1, ((0, 64), (1, 64), (2, 180), (3, 40))) + unit(1, ((0, 200), (1, 90), (2, 120))) + shots()
FIGHT = struct.pack("<f", 0.5) + b"\6" + unit(1, ((2, -24),), b"\3\1") + unit(1, ((0, -20), (2, -30))) + \
    shots((0, 1, 2), (1, 0, 7))
WALK = struct.pack("<f", 0) + b"\2" + unit(1, ((0, 40),), b"\2" + sint(128) + sint(0)) + unit(1) + shots()
END = struct.pack("<f", 10) + b"\1" + unit(1, (), b"\1") + unit(0, ((2, -90),)) + shots((1, 1, 5))


def body(*episodes, head=HEAD, stage=STAGE, agents=1):
    return head + stage + uint(agents) + b"".join(uint(len(e)) + e for e in episodes)


def save(name, data):
    os.makedirs(HERE, exist_ok=True)
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(data)


whole = body(episode([START, WALK, FIGHT, END]), episode([START], number=4, ending=0))
save("valid-body", whole)
save("valid-body-empty", body())
save("valid-film", film(whole))
save("hostile-film-version", film(whole, version=2))
save("hostile-film-size", film(whole, size=1 << 31))
save("hostile-film-short", film(whole, size=len(whole) + 1))
save("hostile-film-crc", film(whole, crc=1))
save("hostile-body-units", body(episode([START], units=256)))
save("hostile-body-steps", body(episode([START], steps=4096)))
save("hostile-body-kind", body(episode([START]).replace(b"\0\0\1\1", b"\0\0\2\1")))
save("hostile-body-strike", body(episode([unit() + unit() + shots((2, 0, 0))])))
save("hostile-body-late", body(episode([unit() + unit() + shots((1, 0, 8))])))
save("hostile-body-far", body(episode([unit(1, ((0, 1 << 23),)) + unit() + shots()])))
save("hostile-body-nan", body(episode([START, struct.pack("<f", float("nan")) + WALK[4:]])))
save("hostile-body-mask", body(episode([b"\x80" + unit() + shots()])))
save("hostile-body-ground", body(stage=uint(65) + uint(1) + b"." * 65 + STAGE[10:]))
save("hostile-body-text", body(head=HEAD.replace(b"test", b"t\x1b[2")))
save("hostile-body-varint", b"\xff" * 24)
