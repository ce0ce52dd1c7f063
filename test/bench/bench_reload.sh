#!/usr/bin/env bash
# How long `skiff image load` takes for an image of 20 layers of 120 MB, the first time and again with another top layer.
# usage: SKIFF=build/src/skiff scripts/sandbox test/bench/bench_reload.sh   (needs 7 GB in TMPDIR)
set -eu
SKIFF=${SKIFF:-$(dirname "$0")/../../build/src/skiff}
dir=${TMPDIR:-/tmp}/reload
mkdir -p "$dir"
python3 - "$dir" <<'PYTHON'
import hashlib, io, json, os, random, sys, tarfile
directory = sys.argv[1]
def layer(name, seed):
    content = random.Random(seed).randbytes(1 << 20) * 120
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for part in range(12):
            info = tarfile.TarInfo(f"{name}/{part}")
            info.size = len(content) // 12
            tar.addfile(info, io.BytesIO(content[:info.size]))
    return data.getvalue()
layers = [layer(f"layer{n}", n) for n in range(20)]
for round in ("first", "second"):
    if round == "second":
        layers[-1] = layer("layer19", 99)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers",
        "diff_ids": ["sha256:" + hashlib.sha256(one).hexdigest() for one in layers]}}).encode()
    with tarfile.open(f"{directory}/{round}.tar", "w") as tar:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for n, one in enumerate(layers):
            add(f"{n}/layer.tar", one)
        add("config.json", config)
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["big:1"],
                                          "Layers": [f"{n}/layer.tar" for n in range(20)]}]).encode())
PYTHON
sync
for round in first second; do
  begun=$(date +%s%N)
  "$SKIFF" image load "$dir/$round.tar"
  echo "$round load: $((($(date +%s%N) - begun) / 1000000)) ms"
done
rm -rf "$dir"
