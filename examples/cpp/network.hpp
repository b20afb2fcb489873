// The network of a package. network_onnxruntime.cpp and network_openvino.cpp run it by one engine
// each; build with either.
#pragma once

#include <string>
#include <vector>

#include "objects.hpp"

namespace abbe {

/// Logits (2, height, width) of the maps "foreground" and "boundary", for an input of one channel.
std::vector<float> logits(const std::string& onnx_file, const Plane<float>& seen);

}  // namespace abbe
