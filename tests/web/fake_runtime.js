// In place of ONNX Runtime: a network for which all that is bright is an object.
export const env = { wasm: {} };
export class Tensor {
  constructor(kind, data, dims) {
    Object.assign(this, { data, dims });
  }
}
const run = async ({ image }) => ({ maps: new Tensor("", image.data.map((value) => (value > 0 ? 5 : -5)), image.dims) });
export const InferenceSession = { create: async () => ({ inputNames: ["image"], outputNames: ["maps"], run }) };
