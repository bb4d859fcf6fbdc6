# SPDX-License-Identifier: Apache-2.0
"""The same seed gives the same bits, whoever plays, plans and computes; another seed others."""
import json

import mag


def instruction_sets():
    with open("/proc/cpuinfo") as f:
        flags = f.read()
    return ["avx2"] + (["avx512"] if "avx512f" in flags and "avx512dq" in flags else [])


def half_variants():
    """Planning in half precision: other bits than float32's, the same whoever plans."""
    with open("/proc/cpuinfo") as f:
        if "avx512_bf16" not in f.read():
            mag.say("this CPU has no AVX512-BF16: half precision is not compared here")
            return []
    half = {"imagine.precision": "half"}
    return [("half precision", 1, 1, half),
            ("half, 2 planners", 2, 2, dict(half, **{"job.windows": 5, "compute.threads": 2}))]


def check_run(run, actors, planners):
    o = mag.inspect(run)
    for role, wanted in (("actor", actors), ("planner", planners)):
        got = [w["accepted"] for w in o["workers"] if w["role"] == role]
        mag.check(len(got) == wanted and min(got) >= 1, "%s: accepted items of %ss: %s" % (run, role, got))
    mag.check(o["iterations"] >= 4, "only %d iterations" % o["iterations"])
    mag.check(o["ppo"]["rows"] > 0 and o["ppo"]["rows"] == o["ppo"]["rows_from_results"],
              "rows of PPO and of results: %s" % o["ppo"])
    mag.check(o["ppo"]["divergence"] == 0, "divergence")


def same_bits():
    variants = [
        ("one of each", 1, 1, {}),
        ("3 actors, 2 planners", 3, 2, {}),
        ("2 compute threads", 1, 1, {"compute.threads": 2}),
        ("3 compute threads", 2, 2, {"compute.threads": 3}),  # more than cores, on purpose
        ("job.windows 1", 1, 2, {"job.windows": 1}),
        ("job.windows 5", 2, 1, {"job.windows": 5}),  # 8 windows: jobs of 5 and 3
    ]
    isas = instruction_sets()
    variants += [("compute.isa " + isa, 1, 1, {"compute.isa": isa}) for isa in isas]
    variants += [("3 threads, " + isa, 1, 1, {"compute.threads": 3, "compute.isa": isa}) for isa in isas]
    if "avx512" not in isas:
        mag.say("this CPU has no AVX-512: its kernels are not compared here")
    hashes = {}
    with mag.Team() as team:
        for i, (name, actors, planners, changes) in enumerate(variants):
            run = team.train("run%d" % i, actors=actors, planners=planners, changes=changes)
            check_run(run, actors, planners)
            hashes[name] = mag.hash_of(run)
            with open(run + "/run.json") as f:
                told = json.load(f)
            isa = told["isa"]
            by = mag.inspect(run)["computed_by"]
            mag.check(told["product_library"] and told["blas_core"], "run.json: %s" % told)
            mag.check(by == {k: told[k] for k in ("isa", "products", "blas_core")}, "checkpoint: %s, run.json: %s" % (by, told))
            mag.check(isa == changes.get("compute.isa", isa), "%s: the learner computed with %s" % (name, isa))
            mag.say("%-22s %s (%s)" % (name, hashes[name], isa))
        mag.check(len(set(hashes.values())) == 1, "the hashes differ")
        half = set()
        for i, (name, actors, planners, changes) in enumerate(half_variants()):
            run = team.train("half%d" % i, actors=actors, planners=planners, changes=changes)
            check_run(run, actors, planners)
            half.add(mag.hash_of(run))
            mag.say("%-22s %s" % (name, mag.hash_of(run)))
        mag.check(len(half) < 2, "the hashes of half precision differ")
        mag.check(not half & set(hashes.values()), "half precision chose as float32 did: was it on?")
        other = mag.hash_of(team.train("other", seed=4))
        mag.say("%-22s %s" % ("another seed", other))
        mag.check(other not in hashes.values(), "another seed gave the same hash")


mag.main(same_bits)
