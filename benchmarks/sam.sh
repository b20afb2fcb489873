#!/usr/bin/env bash
# CMKD from a promptable teacher, a stand-in for SAM, on simulated tissue: the runs of docs/cmkd.md.
#
#   bash benchmarks/sam.sh STAND_IN.safetensors OUT
#
# STAND_IN is what benchmarks/standin_sam.py --cells writes. The teacher sees nucleus and membrane,
# the student the nucleus; two training images are labelled. A finished part is not done again.
set -euo pipefail
teacher=$1 out=$2
set=(--data.kind simulated --data.count 160 --data.size 128 --data.seed 2
     --data.split fraction --data.fractions 0.6 0.1 0.3)

taught() { # taught MODE OPTIONS…: a store, and a run that learns from it
    local mode=$1
    shift
    abbe teach --out "$out/$mode.zarr" "${set[@]}" --teacher.kind sam --teacher.path "$teacher" \
        --teacher.input-channels nucleus membrane --teacher.options prompts "$mode" "$@"
    grep -qs '"complete": true' "$out/$mode/summary.json" ||
        abbe distill cmkd "${set[@]}" --data.labelled 2 --student.input-channels nucleus \
            --student.architecture unet-mobilenetv3 --student.encoder-weights random \
            --teacher.kind store --teacher.path "$out/$mode.zarr" --out "$out/$mode" --resume \
            --training.batch-size 8 --training.crop 96 --training.steps 250 \
            --training.learning-rate 0.002 --training.validate-every 125 --training.patience None
}

taught oracle_box minimum_iou 0.3
taught amg points_per_side 16 grid_minimum_iou 0.4 grid_minimum_stability 0.4
