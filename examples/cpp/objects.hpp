// From pixels to what the network sees, and from its maps to objects: what abbe.runtime does for
// one tile of a package with the maps "foreground" and "boundary". Nothing but the standard library.
#pragma once

#include <cstdint>
#include <vector>

namespace abbe {

/// What package.json says of this: normalisation, thresholds, instances.minimum_area, divisor.
struct Rule {
  double low = 1.0, high = 99.8;        // percentiles that become 0 and 1
  float foreground = 0.5f, boundary = 0.5f;
  std::int64_t minimum_area = 15;       // px
  int divisor = 16;                     // of the sides that the network takes
};

/// A grey image or a map, row by row.
template <class T>
struct Plane {
  int height = 0, width = 0;
  std::vector<T> pixels;
};

/// The network's input: rescaled to 0 … 1 by the image's percentiles, and mirrored at the lower and
/// right edge to sides that the divisor divides.
Plane<float> network_input(const Plane<std::uint16_t>& image, const Rule& rule);

/// Objects in the logits of both maps, which may be larger than the image: 0 background, 1 … n in
/// reading order.
Plane<std::int32_t> objects(const float* foreground, const float* boundary, int map_width,
                            int height, int width, const Rule& rule);

}  // namespace abbe
