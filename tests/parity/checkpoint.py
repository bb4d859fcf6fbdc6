# SPDX-License-Identifier: Apache-2.0
"""A run's checkpoint is a PyTorch state dict: it loads into our modules with strict=True."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

import mag  # noqa: E402


def checkpoint():
    loader = [sys.executable, os.path.join(HERE, "parity.py"), "load"]
    with mag.Team() as team:
        ckpt = os.path.join(team.train("run", iterations=1), "ckpt")
        steps = sorted(d for d in os.listdir(ckpt) if os.path.exists(os.path.join(ckpt, d, "model.safetensors")))
        mag.check(steps, "no checkpoint in %s" % ckpt)
        done = subprocess.run(loader + [os.path.join(ckpt, steps[-1])], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode == mag.SKIP:
            sys.exit(mag.SKIP)
        mag.say(done.stdout)
        mag.check(done.returncode == 0, "the checkpoint does not load")


mag.main(checkpoint)
