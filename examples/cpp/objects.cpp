#include "objects.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <queue>
#include <stdexcept>
#include <tuple>

namespace abbe {
namespace {

constexpr std::int64_t smallest_seed = 5;  // px; smaller ones beside a larger are noise
constexpr std::int64_t ranks = 1 << 21;

using Labels = std::vector<std::int32_t>;

/// A percentile with linear interpolation between ranks, by histogram.
double percentile(const std::vector<std::int64_t>& up_to, std::int64_t count, double wanted) {
  const double position = wanted / 100 * static_cast<double>(count - 1);
  const double below = std::floor(position);
  const auto value_at = [&](double rank) {
    const auto found = std::upper_bound(up_to.begin(), up_to.end(), static_cast<std::int64_t>(rank));
    return static_cast<double>(found - up_to.begin());
  };
  const double lower = value_at(below);
  const double upper = below + 1 < static_cast<double>(count) ? value_at(below + 1) : lower;
  return lower + (upper - lower) * (position - below);
}

/// Where the continuation of an image beyond its edge is read: mirrored, the edge repeated.
int mirrored(int at, int side) {
  at %= 2 * side;
  return at < side ? at : 2 * side - 1 - at;
}

/// 4-connected components of a mask, numbered from 1 in reading order; 0 outside.
std::int32_t components_of(const std::vector<char>& mask, int width, Labels& labels) {
  const int size = static_cast<int>(mask.size());
  labels.assign(mask.size(), 0);
  std::int32_t count = 0;
  std::vector<int> open;
  for (int first = 0; first < size; ++first) {
    if (!mask[first] || labels[first]) continue;
    labels[first] = ++count;
    open.push_back(first);
    while (!open.empty()) {
      const int at = open.back(), x = at % width;
      open.pop_back();
      const auto visit = [&](int next) {
        if (!mask[next] || labels[next]) return;
        labels[next] = count;
        open.push_back(next);
      };
      if (at >= width) visit(at - width);
      if (x > 0) visit(at - 1);
      if (x + 1 < width) visit(at + 1);
      if (at + width < size) visit(at + width);
    }
  }
  return count;
}

/// Of each seed, the component that it lies in.
Labels owners_of(const Labels& seeds, std::int32_t count, const Labels& components) {
  Labels owner(count + 1, 0);
  for (std::size_t i = 0; i < seeds.size(); ++i)
    if (seeds[i]) owner[seeds[i]] = components[i];
  return owner;
}

/// Drop small seeds, but never the largest of a component.
void drop_tiny_seeds(Labels& seeds, std::int32_t count, const Labels& components,
                     std::int32_t component_count) {
  std::vector<std::int64_t> area(count + 1, 0), largest(component_count + 1, 0);
  for (const auto seed : seeds) ++area[seed];
  const Labels owner = owners_of(seeds, count, components);
  for (std::int32_t seed = 1; seed <= count; ++seed)
    largest[owner[seed]] = std::max(largest[owner[seed]], area[seed]);
  for (auto& seed : seeds)
    if (seed && area[seed] < std::min(smallest_seed, largest[owner[seed]])) seed = 0;
}

/// Share each component among its seeds: a watershed on the boundary map, its ties in reading order.
Labels flood(const Labels& components, std::int32_t count, const Labels& seeds,
             std::int32_t seed_count, const std::vector<float>& height, int width) {
  Labels seeds_in(count + 1, 0);
  const Labels owner = owners_of(seeds, seed_count, components);
  for (const auto component : owner) ++seeds_in[component];
  seeds_in[0] = 0;

  const int size = static_cast<int>(components.size()), rows = size / width;
  const auto contested = [&](int i) { return seeds_in[components[i]] > 1; };
  const auto enclosed = [&](int i) {  // it could not change hands
    const int x = i % width, y = i / width;
    return x > 0 && y > 0 && x + 1 < width && y + 1 < rows && seeds[i] && seeds[i - 1] &&
           seeds[i + 1] && seeds[i - width] && seeds[i + width];
  };

  std::vector<std::int64_t> rank(size, ranks - 1);
  std::vector<int> shores;
  for (int i = 0; i < size; ++i)
    if (seeds[i] && !enclosed(i)) shores.push_back(i);
  const auto shore_count = static_cast<std::int64_t>(shores.size());
  for (std::int64_t order = 0; order < shore_count; ++order)
    rank[shores[order]] = shore_count < ranks ? order : order * (ranks - 1) / shore_count;
  const auto key_of = [&](int i) {
    std::int32_t bits;
    std::memcpy(&bits, &height[i], sizeof bits);
    const std::int64_t key = bits < 0 ? -static_cast<std::int64_t>(bits & 0x7fffffff) : bits;
    return key * ranks + rank[i];
  };

  using Waiting = std::tuple<std::int64_t, std::int64_t, int>;  // height, age, pixel
  std::priority_queue<Waiting, std::vector<Waiting>, std::greater<>> queue;
  Labels basins(size, 0);
  std::vector<char> open(size);
  for (int i = 0; i < size; ++i) {
    open[i] = contested(i) && !enclosed(i);
    if (open[i] && seeds[i]) {
      basins[i] = seeds[i];
      queue.emplace(key_of(i), 0, i);
    }
  }
  std::int64_t age = 1;
  while (!queue.empty()) {
    const auto [level, born, at] = queue.top();
    queue.pop();
    const int x = at % width;
    const auto visit = [&, level = level, at = at](int next) {
      if (!open[next] || basins[next]) return;
      basins[next] = basins[at];
      queue.emplace(std::max(key_of(next), level), ++age, next);
    };
    if (at >= width) visit(at - width);
    if (x > 0) visit(at - 1);
    if (x + 1 < width) visit(at + 1);
    if (at + width < size) visit(at + width);
  }
  Labels found(size);
  for (int i = 0; i < size; ++i)
    found[i] = contested(i) ? (enclosed(i) ? seeds[i] : basins[i]) + count : components[i];
  return found;
}

/// Without objects below the least area, numbered in reading order.
Labels renumbered(const Labels& pieces, std::int64_t minimum_area) {
  const std::int32_t most = *std::max_element(pieces.begin(), pieces.end());
  std::vector<std::int64_t> area(most + 1, 0);
  for (const auto piece : pieces) ++area[piece];
  Labels number(most + 1, 0), labels(pieces.size(), 0);
  std::int32_t count = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto piece = pieces[i];
    if (!piece || area[piece] < minimum_area) continue;
    if (!number[piece]) number[piece] = ++count;
    labels[i] = number[piece];
  }
  return labels;
}

float probability(float logit) {
  return 1.0f / (1.0f + std::exp(-std::clamp(logit, -80.0f, 80.0f)));
}

}  // namespace

Plane<float> network_input(const Plane<std::uint16_t>& image, const Rule& rule) {
  if (image.pixels.empty()) throw std::invalid_argument("the image has no pixels");
  std::vector<std::int64_t> up_to(1 << 16, 0);
  for (const auto value : image.pixels) ++up_to[value];
  for (std::size_t i = 1; i < up_to.size(); ++i) up_to[i] += up_to[i - 1];
  const auto count = static_cast<std::int64_t>(image.pixels.size());
  auto low = static_cast<float>(percentile(up_to, count, rule.low));
  auto high = static_cast<float>(percentile(up_to, count, rule.high));
  if (low >= high) {  // few cells on a flat background
    const auto [least, most] = std::minmax_element(image.pixels.begin(), image.pixels.end());
    low = *least;
    high = *most;
  }
  const float scale = high > low ? 1 / (high - low) : 0;

  const auto up = [&](int side) { return (side + rule.divisor - 1) / rule.divisor * rule.divisor; };
  Plane<float> seen{up(image.height), up(image.width), {}};
  seen.pixels.resize(static_cast<std::size_t>(seen.height) * seen.width);
  for (int y = 0; y < seen.height; ++y)
    for (int x = 0; x < seen.width; ++x) {
      const int from = mirrored(y, image.height) * image.width + mirrored(x, image.width);
      const float value = (static_cast<float>(image.pixels[from]) - low) * scale;
      seen.pixels[static_cast<std::size_t>(y) * seen.width + x] = std::clamp(value, 0.0f, 1.0f);
    }
  return seen;
}

Plane<std::int32_t> objects(const float* foreground, const float* boundary, int map_width,
                            int height, int width, const Rule& rule) {
  std::vector<char> mask(static_cast<std::size_t>(height) * width), inner(mask.size());
  std::vector<float> edge(mask.size());
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const auto at = static_cast<std::size_t>(y) * width + x;
      const auto from = static_cast<std::size_t>(y) * map_width + x;
      edge[at] = probability(boundary[from]);
      mask[at] = probability(foreground[from]) >= rule.foreground;
      inner[at] = mask[at] && edge[at] < rule.boundary;
    }
  Labels components, seeds;
  const auto count = components_of(mask, width, components);
  const auto seed_count = components_of(inner, width, seeds);
  drop_tiny_seeds(seeds, seed_count, components, count);
  const Labels pieces = flood(components, count, seeds, seed_count, edge, width);
  return {height, width, renumbered(pieces, rule.minimum_area)};
}

}  // namespace abbe
