// Find the objects of one grey image with a package of Abbe, without Python.
//
//   segment PACKAGE/model.onnx image.pgm labels.pgm FOREGROUND BOUNDARY MINIMUM_AREA
//
// The last three stand in package.json: thresholds.foreground, thresholds.boundary and
// instances.minimum_area. Images are binary PGM (P5) of 8 or 16 bits and at most one tile large;
// labels are written as PGM of 16 bits.

#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>

#include "network.hpp"

namespace {

abbe::Plane<std::uint16_t> read_pgm(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  std::string kind;
  int width = 0, height = 0, most = 0;
  file >> kind >> width >> height >> most;
  if (!file || kind != "P5" || width < 1 || height < 1 || width > 8192 || height > 8192 || most > 65535)
    throw std::runtime_error(name + ": is no binary PGM of at most 8192 px a side");
  file.get();
  const int bytes = most > 255 ? 2 : 1;
  std::string content(static_cast<std::size_t>(width) * height * bytes, '\0');
  if (!file.read(content.data(), static_cast<std::streamsize>(content.size())))
    throw std::runtime_error(name + ": is cut");
  abbe::Plane<std::uint16_t> image{height, width, {}};
  image.pixels.resize(static_cast<std::size_t>(width) * height);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const auto at = [&](std::size_t n) { return static_cast<unsigned char>(content[n]); };
    image.pixels[i] = bytes == 1 ? at(i) : static_cast<std::uint16_t>(at(2 * i) << 8 | at(2 * i + 1));
  }
  return image;
}

void write_pgm(const std::string& name, const abbe::Plane<std::int32_t>& labels) {
  std::ofstream file(name, std::ios::binary);
  file << "P5 " << labels.width << ' ' << labels.height << " 65535\n";
  for (const auto label : labels.pixels) {
    if (label > 65535) throw std::runtime_error("more than 65,535 objects do not fit 16 bits");
    file.put(static_cast<char>(label >> 8)).put(static_cast<char>(label & 255));
  }
  if (!file.flush()) throw std::runtime_error(name + ": cannot be written");
}

}  // namespace

int main(int count, char** words) try {
  if (count != 7) {
    std::fputs("segment MODEL.onnx IMAGE.pgm LABELS.pgm FOREGROUND BOUNDARY MINIMUM_AREA\n", stderr);
    return 2;
  }
  abbe::Rule rule;
  rule.foreground = std::stof(words[4]);
  rule.boundary = std::stof(words[5]);
  rule.minimum_area = std::stol(words[6]);
  const auto image = read_pgm(words[2]);
  const auto seen = abbe::network_input(image, rule);
  const auto maps = abbe::logits(words[1], seen);
  const auto* foreground = maps.data();
  const auto* boundary = foreground + seen.pixels.size();
  const auto labels =
      abbe::objects(foreground, boundary, seen.width, image.height, image.width, rule);
  write_pgm(words[3], labels);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "segment: %s\n", error.what());
  return 1;
}
