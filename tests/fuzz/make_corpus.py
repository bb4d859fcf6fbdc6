#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpora of the fuzz targets into corpus/<name>/.

The files are committed; run this again only to add seeds. Names say what a file is:
valid-* is accepted by the parser, hostile-* is not.
"""
import json
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def save(target, name, data):
    folder = os.path.join(HERE, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def tensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors():
    def put(name, *args, **kwargs):
        save("safetensors", name, tensors(*args, **kwargs))

    put("valid-empty", {})
    put("valid-meta", {"__metadata__": {"format": "pt"}, "a": entry("F32", [2], 0, 8)}, b"12345678")
    put("valid-types", {
        "d": entry("F64", [1], 0, 8), "l": entry("I64", [], 8, 16), "f": entry("F32", [1, 2], 16, 24),
        "i": entry("I32", [1], 24, 28), "b": entry("BOOL", [1], 28, 29), "u": entry("U8", [3], 29, 32),
        "none": entry("F32", [0, 7], 32, 32)}, bytes(range(32)))
    put("valid-padded", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}      ', b"x")
    put("hostile-overlap", {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, bytes(6))
    put("hostile-hole", {"a": entry("U8", [4], 0, 4), "b": entry("U8", [2], 6, 8)}, bytes(8))
    put("hostile-overflow", {"a": entry("F64", [2 ** 62, 2 ** 62], 0, 0)})
    put("hostile-outside", {"a": entry("F32", [1000], 0, 4000)}, bytes(8))
    put("hostile-depth", b'{"a":' + b"[" * 200 + b"]" * 200 + b"}")
    put("hostile-twice", b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
                         b'"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}')
    put("hostile-length", {}, length=2 ** 63)
    put("hostile-commas", b'{"a":[' + b"1," * 200 + b"1]}")
    save("safetensors", "hostile-short", b"\x02\x00\x00")


def magenv_settings():
    def put(name, text):
        save("magenv_settings", name, text.encode())

    put("valid-words", "env.name=smac env.map=2s3z\tenv.obs_timestep=true\n")
    put("valid-empty", "")
    put("valid-twice", "env.map=3m env.map=8m")
    put("hostile-other-group", "net.width=64")
    put("hostile-no-equals", "env.map")
    put("hostile-signs", "env.=x =y env.map==")
    put("hostile-long", "env.map=" + "m" * 300 + " " + "x" * 600)


def config_yaml():
    def put(name, text):
        save("config_yaml", name, text.encode("utf-8", "surrogateescape"))

    put("valid-nested", "preset: quickstart\nnet:\n  width: 64\n  heads: 4\n"
                        "train:\n  stop:\n    seconds: 60\nlr.model: 1e-3\n")
    put("valid-flow", '{"net": {"width": 128}, "seed": "18446744073709551615"}\n')
    put("valid-text", 'run_dir: "/tmp/\\u00fc \\"x\\" # y"\nenv.map: \'2s3z\'\nlog.level: debug\n')
    put("valid-empty", "# nothing\n---\n")
    put("valid-mamba", "algo: mamba\nimagine: {steps: 15, candidates: 0, horizon: 0}\n")
    put("hostile-anchors", "a: &a {b: 1}\nnet: *a\n")
    put("hostile-bomb", "net: [&a [x,x],&b [*a,*a],&c [*b,*b],&d [*c,*c]]\n")
    put("hostile-twice", "seed: 1\nseed: 2\n")
    put("hostile-depth", "{net: " * 300 + "1" + "}" * 300 + "\n")
    put("hostile-unknown", "net:\n  widht: 64\n")
    put("hostile-range", "net.width: 99999999999999999999\n")
    put("hostile-documents", "seed: 1\n---\nseed: 2\n")
    put("hostile-bytes", "seed: \udcff\udcfe\n")
    put("hostile-tag", "seed: !!python/object:os.system 1\n")


def ckpt_state():
    def put(name, value):
        save("ckpt_state", name, value if isinstance(value, bytes) else json.dumps(value).encode())

    opt = {"steps": 7, "beta1_t": "0x1.eb851eb851eb8p-2", "beta2_t": "0x1p-3"}
    state = {
        "format": 1, "iteration": 3, "phase": 1, "step": 4, "next_episode": 9, "phase_first_episode": 6,
        "env_steps": 512, "updates": 80, "set_id": 5, "eval_round": 0, "elapsed_s": "0x1p+4",
        "entropy_weight": "0x1.47ae147ae147bp-7", "skipped": 0, "optimisers": [opt] * 4,
        "versions": [1, 2, 3, 4, 5, 6], "done": [6, 4, 2, 3, 3, 288], "config": "0123456789abcdef" * 4, "isa": "ref"}
    entry_of = {"bytes": 10, "blake2b": "00" * 32}
    put("valid-state", state)
    put("valid-manifest", {"format": 1, "files": {
        name: entry_of for name in ("model.safetensors", "optim.safetensors", "state.json")}})
    for name, change in {
            "negative": {"iteration": -1}, "huge": {"env_steps": 10 ** 30}, "phase": {"phase": 4},
            "nan": {"entropy_weight": "nan"}, "text": {"elapsed_s": "0x1p+4 "}, "none": {"versions": None},
            "short": {"versions": [1]}, "done": {"done": [1, 2, 3, 4, 5, -6]}, "nested": {"optimisers": [[opt]] * 4},
            "digest": {"config": "0x" * 32}, "spaces": {"config": " 1" * 32}}.items():
        put("hostile-" + name, {**state, **change})
    put("hostile-twice", b'{"format":1,"format":1}')
    put("hostile-deep", b"[" * 5000)
    put("hostile-empty", b"")


def lbf_task():
    def put(name, text):
        save("lbf_task", name, text.encode())

    put("valid-plain", "Foraging-10x10-3p-3f-v3")
    put("valid-all", "Foraging-2s-8x8-2p-2f-coop-v2")
    put("valid-largest", "Foraging-64s-64x64-32p-64f-v3")
    put("valid-smallest", "Foraging-3x3-1p-1f-v2")
    put("hostile-zeros", "Foraging-08x8-2p-2f-v3")
    put("hostile-oblong", "Foraging-8x9-2p-2f-v3")
    put("hostile-crowd", "Foraging-5x5-26p-2f-v3")
    put("hostile-number", "Foraging-99999999999999999999x8-2p-2f-v3")
    put("hostile-order", "Foraging-8x8-2p-2f-v3-coop")
    put("hostile-empty", "")


if __name__ == "__main__":
    safetensors()
    config_yaml()
    magenv_settings()
    ckpt_state()
    lbf_task()
