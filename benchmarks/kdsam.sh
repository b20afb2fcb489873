#!/usr/bin/env bash
# KD SAM on polyps and on breast ultrasound: the runs of docs/kdsam.md.
#
#   bash benchmarks/kdsam.sh STAND_IN.safetensors IMAGENET.pt DATA OUT [polyps busi ablation …]
#
# STAND_IN is what benchmarks/standin_sam.py --folders writes: a network of SAM's form that sees
# 256 px. IMAGENET.pt are MobileNetV2's weights in timm's layout. Schedules are short, so that two
# cores do it. Embeddings are learned from all training images, masks from the 32 that keep their
# labels. A finished run is not done again.
set -euo pipefail
teacher=$1 imagenet=$2 data=$3 out=$4
shift 4
parts=("${@:-polyps busi ablation mobilesam random}")

common=(--teacher.path "$teacher" --promptable.side 256 --promptable.perceptual-mode decoder
        --promptable.objects 2 --promptable.mask-step 2 --data.labelled 32
        --training.batch-size 4 --training.learning-rate 0.001 --training.validate-every 100
        --promptable.decoder-learning-rate 0.0003)
long=(--training.steps 300 --promptable.decoder-steps 80)
short=(--training.steps 200 --promptable.decoder-steps 60 --student.encoder-weights random)
pretrained=(--student.architecture promptable-timm-mobilenetv2_100
            --student.encoder-weights "$imagenet")
on_polyps=(--data.path "$data/polyp_cvc" --data.group sequence)

run() { # run NAME ARGUMENTS…
    local name=$1
    shift
    grep -qs '"complete": true' "$out/$name/summary.json" ||
        abbe distill kdsam "${common[@]}" "$@" --out "$out/$name" --resume
}

polyps() {
    run polyps-mobilenetv2 "${long[@]}" "${pretrained[@]}" "${on_polyps[@]}"
}

busi() {
    run busi-mobilenetv2 "${long[@]}" "${pretrained[@]}" --data.path "$data/us_busi" \
        --student.input-channels grey
}

random() { # a student that has seen no other images
    run polyps-resnet18 "${short[@]}" "${on_polyps[@]}" --student.architecture promptable-resnet18
}

mobilesam() { # MobileSAM's encoder from the same teacher, by the same two stages
    run polyps-mobilesam "${short[@]}" "${on_polyps[@]}" --evidence quick \
        --student.architecture promptable-mobilesam
    run busi-mobilesam "${short[@]}" --data.path "$data/us_busi" --student.input-channels grey --evidence quick \
        --student.architecture promptable-mobilesam
}

ablation() { # mean squared error alone, perceptual alone, no second stage
    local polyps=("${long[@]}" "${pretrained[@]}" "${on_polyps[@]}" --evidence quick)
    run polyps-mse "${polyps[@]}" --promptable.perceptual 0
    run polyps-perceptual "${polyps[@]}" --promptable.mse 0
    run polyps-one-stage "${polyps[@]}" --promptable.decoder-steps 0
}

for part in ${parts[*]}; do "$part"; done
