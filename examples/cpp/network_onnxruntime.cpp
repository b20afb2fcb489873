#include <onnxruntime_cxx_api.h>

#include <array>

#include "network.hpp"

namespace abbe {

std::vector<float> logits(const std::string& onnx_file, const Plane<float>& seen) {
  Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "abbe");
  Ort::SessionOptions options;
  options.SetGraphOptimizationLevel(GraphOptimizationLevel::ORT_ENABLE_ALL);
  Ort::Session session(environment, onnx_file.c_str(), options);  // on Windows a wide path

  auto pixels = seen.pixels;
  const std::array<std::int64_t, 4> shape{1, 1, seen.height, seen.width};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto input = Ort::Value::CreateTensor<float>(memory, pixels.data(), pixels.size(),
                                                     shape.data(), shape.size());
  const char* const input_name = "image";
  const char* const output_name = "logits";
  auto outputs = session.Run(Ort::RunOptions{nullptr}, &input_name, &input, 1, &output_name, 1);
  const float* found = outputs[0].GetTensorData<float>();
  return {found, found + 2 * pixels.size()};
}

}  // namespace abbe
