#!/usr/bin/env bash
# KD SAM on polyps and on breast ultrasound: the runs of docs/kdsam.md.
#
#   bash benchmarks/kdsam.sh STAND_IN.safetensors DATA OUT [polyps busi mobilesam ablation …]
#
# STAND_IN is what benchmarks/standin_sam.py --folders writes: a network of SAM's form that sees
# 256 px. Encoders begin with random weights and the schedules are short, so that two cores do it.
# Embeddings are learned from all training images, masks from the 32 that keep their labels.
# A finished run is not done again.
set -euo pipefail
teacher=$1 data=$2 out=$3
shift 3
parts=("${@:-polyps busi mobilesam ablation}")

common=(--teacher.path "$teacher" --student.encoder-weights random --promptable.side 256
        --promptable.perceptual-mode decoder --promptable.objects 2 --promptable.mask-step 2
        --training.batch-size 4 --training.learning-rate 0.001 --training.validate-every 80
        --training.steps 240 --promptable.decoder-steps 80
        --promptable.decoder-learning-rate 0.0003 --data.labelled 32)

run() { # run NAME ARGUMENTS…
    local name=$1
    shift
    [ -f "$out/$name/summary.json" ] ||
        abbe distill kdsam "${common[@]}" "$@" --out "$out/$name" --resume
}

polyps() {
    run polyps-resnet18 --data.path "$data/polyp_cvc" --data.group sequence \
        --student.architecture promptable-resnet18
}

busi() {
    run busi-resnet18 --data.path "$data/us_busi" --student.sees grey \
        --student.architecture promptable-resnet18
}

mobilesam() { # MobileSAM's encoder from the same teacher, by the same two stages
    run polyps-mobilesam --data.path "$data/polyp_cvc" --data.group sequence --no-twin \
        --student.architecture promptable-mobilesam
}

ablation() { # mean squared error alone, perceptual alone, no second stage
    local polyps=(--data.path "$data/polyp_cvc" --data.group sequence --no-twin
                  --student.architecture promptable-resnet18)
    run polyps-mse "${polyps[@]}" --promptable.perceptual 0
    run polyps-perceptual "${polyps[@]}" --promptable.mse 0
    run polyps-one-stage "${polyps[@]}" --promptable.decoder-steps 0
}

for part in ${parts[*]}; do "$part"; done
