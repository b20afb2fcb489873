#!/usr/bin/env bash
# Makes the starter package nuclei, again and anywhere: nuclei in fluorescence, one channel.
#
#   bash models/nuclei.sh DATA WEIGHTS OUT [PACKAGE]
#
# DATA is DSB-2018 as a folder (images/, labels/, index.csv with the columns kind and split; CC0),
# WEIGHTS a file of timm's tf_efficientnet_lite0 on ImageNet (Apache-2.0).
# Trains on the 298 fluorescent training images, chooses weights and thresholds on 54 validation
# images, scores on 81 test images. About 40 minutes on one core that computes bf16.
set -euo pipefail
data=$1 weights=$2 out=$3 package=${4:-src/abbe/starter/nuclei}

abbe distill supervised --out "$out/nuclei" --title "Nuclei in fluorescence" \
    --data.path "$data" --data.where kind fluo --data.channels nucleus \
    --student.architecture unet-timm-tf_efficientnet_lite0 --student.encoder-weights "$weights" \
    --student.depth 4 --student.decoder-widths 64 32 16 8 \
    --student.input-channels nucleus --student.normalisation percentile \
    --training.steps 2400 --training.batch-size 12 --training.crop 192 \
    --training.learning-rate 0.002 --training.validate-every 240 \
    --training.augmentation.scale 0.6 1.6 --training.augmentation.gamma 0.6 1.6
python models/examples.py "$out/examples"
cp "$out/nuclei/summary.json" models/nuclei.json
abbe export "$out/nuclei" --out "$package" --compact --tile 512 \
    --example "$out/examples/nuclei.tif" --intended-use "Nuclei in fluorescence microscopy, in research" \
    --not-tested-on "thick tissue" "stacks" --data-licence CC0-1.0 --encoder-licence Apache-2.0 --notes \
    "The encoder began with EfficientNet-Lite0's ImageNet weights (Apache-2.0)." \
    "These weights may be used under Apache-2.0, as Abbe may." "The test image is simulated."
