#!/bin/bash
# CurveFS for the benchmark: servers by `curvefs-tool up` (MDS and one metaserver, metadata durable before the reply), data in
# the S3 server that all peers share, default mount options. The servers stay up between umount and mount.
#   FSBENCH_PEERS  folder of the benchmark's env.sh
#   CURVEFS_MOUNT_OPTIONS  more mount options, for experiments
. "${FSBENCH_PEERS:?the folder of the peers of the benchmark}/env.sh"
BIN=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.venv/bin" && pwd)
DATA=$RUN/$P-data FS=bench
mds() { "$BIN/python" -c 'import json, sys; print("127.0.0.1:%d" % json.load(open(sys.argv[1]))["ports"]["mds"])' "$DATA/cluster.json"; }
case $1 in
 dir) echo "$D";;
 setup) s3up; bucket "bench-$P"; rm -rf "$DATA"; mkdir -p "$D"
   "$BIN/curvefs-tool" up "$DATA" --fs $FS --object-store "s3://bench-$P?endpoint=$S3" --detach > /dev/null;;
 mount) start "$P" "$BIN/curvefs" -f -o "mds=$(mds)${CURVEFS_MOUNT_OPTIONS:+,$CURVEFS_MOUNT_OPTIONS}" $FS "$D"; waitmnt || exit 1; sleep 0.5;;
 umount) um "$P"; true;;
 wipe) true;; # nothing of the client outlives it
 pids) pid "$P"; true;;
 spids) pid s3srv; "$BIN/curvefs-tool" status --data "$DATA" --json | "$BIN/python" -c '
import json, sys
for one in json.load(sys.stdin)["processes"]:
    if one["role"] in ("mds", "metaserver"):
        print(one["pid"])';;
 teardown) um "$P"; stop "$P"; "$BIN/curvefs-tool" down "$DATA" --force > /dev/null; rm -rf "$DATA"; rmbucket "bench-$P";;
esac
