/** ONNX Runtime in this worker: WebGPU where there is one, else WebAssembly. */

/** Threads beyond which small networks gain nothing. */
const MOST_THREADS = 8;

/**
 * @typedef {object} Network
 * @property {(inputs: Record<string, {data: Float32Array, shape: number[]}>) =>
 *   Promise<{data: Float32Array, shape: number[]}[]>} run Outputs in order.
 * @property {string[]} inputs
 */

/**
 * What computes here.
 *
 * @param {boolean} webgpu Whether the site has what WebGPU needs.
 * @returns {Promise<{engine: string, threads: number, open: (path: string) => Promise<Network>}>}
 */
export async function openRuntime(webgpu) {
  const graphics = webgpu && (await hasGraphics());
  if (graphics) {
    try {
      return await runtimeOf("ort.webgpu.min.js", "ort-wasm-simd-threaded.asyncify", ["webgpu"]);
    } catch (problem) {
      console.warn("WebGPU does not start, WebAssembly computes:", problem);
    }
  }
  return runtimeOf("ort.wasm.min.js", "ort-wasm-simd-threaded", ["wasm"]);
}

async function hasGraphics() {
  const { gpu } = /** @type {any} */ (navigator);
  try {
    const adapter = await gpu?.requestAdapter();
    // One that is made of the processor alone is slower than WebAssembly.
    return Boolean(adapter) && !adapter.info?.isFallbackAdapter;
  } catch {
    return false;
  }
}

/** @param {string} script @param {string} core @param {string[]} providers */
async function runtimeOf(script, core, providers) {
  const lib = new URL("../lib/", import.meta.url);
  const [ort, wasm] = await Promise.all([
    import(new URL(script, lib).href),
    unpacked(new URL(`${core}.wasm.gz.bin`, lib)),
  ]);
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = { mjs: new URL(`${core}.js`, lib).href };
  ort.env.logLevel = "error";
  const engine = providers[0] === "webgpu" ? "WebGPU" : "WebAssembly";
  return {
    engine, threads,
    open: async (/** @type {string} */ path) => {
      const url = new URL(`../package/${path}`, import.meta.url);
      const file = new Uint8Array(await (await fetched(url)).arrayBuffer());
      const session = await ort.InferenceSession.create(file, {
        executionProviders: providers, graphOptimizationLevel: "all",
      });
      return networkOf(ort, session);
    },
  };
}

/** @param {any} ort @param {any} session @returns {Network} */
function networkOf(ort, session) {
  return {
    inputs: session.inputNames,
    async run(inputs) {
      const feeds = Object.fromEntries(
        Object.entries(inputs).map(([name, { data, shape }]) => [name, new ort.Tensor("float32", data, shape)]),
      );
      const answers = await session.run(feeds);
      return session.outputNames.map((/** @type {string} */ name) => {
        const { data, dims } = answers[name];
        return { data, shape: dims };
      });
    },
  };
}

/** @param {URL} url */
async function unpacked(url) {
  const packed = await fetched(url);
  const plain = /** @type {ReadableStream} */ (packed.body).pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).arrayBuffer();
}

/** @param {URL} url */
async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url.pathname}: ${answer.status}`);
  return answer;
}
