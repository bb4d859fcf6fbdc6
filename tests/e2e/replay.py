# SPDX-License-Identifier: Apache-2.0
"""Battles recorded by `mag eval` and watched by `mag replay`, as a user would."""
import fcntl
import json
import os
import pty
import re
import struct
import termios
import time
import xml.etree.ElementTree as xml

import mag


def record(team, name, map_name, *how):
    film = team.path(name)
    done = mag.run("eval", "--map", map_name, "--seed", 1, "--episodes", 3, "--record", film, "--json", *how)
    report = json.loads(done.stdout)
    return report["film"], report


def columns(unit, key):
    total, out = 0, []
    for d in unit[key]:
        total += d
        out.append(total)
    return out


def check_json(film, report, team):
    mag.run("replay", film, "--json", team.path("out.json"), "--html", team.path("out.html"), "--svg", team.path("out.svg"))
    with open(team.path("out.json")) as f:
        text = f.read()
    data = json.loads(text)
    played = report["sampled"]
    mag.check(len(data["episodes"]) == 3, "three episodes")
    mag.check(sum(e["won"] for e in data["episodes"]) == played["wins"], "as many wins as mag eval counted")
    mean = sum(e["return"] for e in data["episodes"]) / 3
    mag.check(abs(mean - played["return"]) < 1e-4, "the returns of mag eval: %g, %g" % (mean, played["return"]))
    for e in data["episodes"]:
        mag.check(len(e["rewards"]) == e["steps"], "a reward a step")
        for unit in e["units"]:
            for key in ("x", "y", "health", "shield", "energy"):
                mag.check(len(columns(unit, key)) == e["steps"] + 1, "a frame more than steps")
            mag.check(min(columns(unit, "health")) >= 0, "no health below zero")
    with open(team.path("out.html")) as f:
        page = f.read()
    inside = re.search(r'<script id="film" type="application/json">(.*?)</script>', page, re.S).group(1)
    mag.check(inside == text, "the page holds what --json writes")
    root = xml.parse(team.path("out.svg")).getroot()
    steps = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text") if (t.text or "").startswith("step ")]
    mag.check(len(steps) == 6 and steps[0] == "step 0" and steps[-1] == "step %d" % data["episodes"][0]["steps"],
              "six key frames, first and last among them: %s" % steps)
    return data


def check_text(film, data):
    first = data["episodes"][0]
    text = mag.run("replay", film).stdout
    mag.check(text.count("agents ") == first["steps"] + 1, "every frame is printed once")
    mag.check("\033" not in text, "no colours but on a terminal")
    second = mag.run("replay", film, "--episode", 1).stdout
    mag.check("episode 1, step 0 of %d" % data["episodes"][1]["steps"] in second, "the episode asked for")


def check_terminal(film):
    """Plays on a pseudo-terminal: a step by key, another episode, then q; the terminal is as before."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(mag.MAG, [mag.MAG, "replay", film])
    try:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        seen = ""

        def expect(words):
            nonlocal seen
            deadline = time.monotonic() + 20 * mag.SLOW
            while words not in seen:
                mag.check(time.monotonic() < deadline, "the terminal never showed %r" % words)
                seen += os.read(fd, 65536).decode()
            seen = ""

        expect("step 0 of")
        before = termios.tcgetattr(fd)[3]
        mag.check(not before & termios.ICANON, "keys come one by one")
        os.write(fd, b" ")
        expect("paused")
        os.write(fd, b"r\033[C")
        expect("step 1 of")
        os.write(fd, b"n")
        expect("episode 1, step 0 of")
        os.write(fd, b"q")
        expect("\033[?1049l")
        mag.check(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "q ends it well")
        pid = 0
        mag.check(termios.tcgetattr(fd)[3] & termios.ICANON, "the terminal is as it was")
    finally:
        if pid:
            mag.kill(pid)
            os.waitpid(pid, 0)
        os.close(fd)


def check_refusals(film, team):
    damaged = team.path("damaged.film")
    with open(film, "rb") as f:
        data = bytearray(f.read())
    data[len(data) // 2] ^= 1
    with open(damaged, "wb") as f:
        f.write(data)
    said = mag.run("replay", damaged, status=65).stderr
    mag.check("damaged.film: byte " in said and "record the battle anew" in said, said)
    mag.check("not a film" in mag.run("replay", __file__, status=65).stderr, "other files are told apart")
    mag.check("No such file" in mag.run("replay", team.path("none.film"), status=65).stderr, "a missing file is named")
    mag.run("replay", film, "--episode", 3, status=64)
    mag.run("replay", film, "--html", team.path("no", "such", "folder.html"), status=74)


def test():
    with mag.Team() as team:
        film, report = record(team, "battle.film", "2s3z", "--policy", "attack_nearest")
        mag.check(os.path.getsize(film) < 8000, "three episodes in %d bytes" % os.path.getsize(film))
        data = check_json(film, report, team)
        check_text(film, data)
        check_terminal(film)
        check_refusals(film, team)
        mag.check("3 of 3 episodes play the same" in mag.run("replay", film, "--check").stdout, "the engine agrees")
        before = time.monotonic()
        said = mag.run("eval", "--map", "27m_vs_30m", "--policy", "random", "--episodes", 100000, "--record",
                       team.path("no", "such.film"), status=None).stderr
        mag.check("such.film: cannot be written" in said and time.monotonic() - before < 10 * mag.SLOW,
                  "a film with no place is refused before it is played: " + said)
        film, _ = record(team, "made/", "3m", "--policy", "random")
        mag.check(film.endswith("/made/3m-random-1.film") and os.path.exists(film), film)
        os.mkdir(team.path("films"))
        film, _ = record(team, "films", "3m", "--policy", "untrained")
        mag.check(film.endswith("/films/3m-untrained-1.film"), film)
        mag.check("3 of 3 episodes play the same" in mag.run("replay", film, "--check").stdout, "actions play again")


mag.main(test)
