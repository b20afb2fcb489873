#include <openvino/openvino.hpp>

#include "network.hpp"

namespace abbe {

std::vector<float> logits(const std::string& onnx_file, const Plane<float>& seen) {
  ov::Core core;
  auto network = core.compile_model(onnx_file, "CPU", ov::hint::inference_precision(ov::element::f32),
                                    ov::hint::enable_cpu_pinning(false));  // leaves other processes their cores
  auto request = network.create_infer_request();
  auto pixels = seen.pixels;
  const ov::Shape shape{1, 1, static_cast<std::size_t>(seen.height),
                        static_cast<std::size_t>(seen.width)};
  request.set_input_tensor(ov::Tensor(ov::element::f32, shape, pixels.data()));
  request.infer();
  const float* found = request.get_output_tensor().data<float>();
  return {found, found + 2 * pixels.size()};
}

}  // namespace abbe
