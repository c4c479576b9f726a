// Train with step.onnx in Node, by onnxruntime-web: `node train.mjs PROGRAM BATCHES RATE` prints a loss a step.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import * as ort from 'onnxruntime-web/wasm';
import { train } from './loop.mjs';
import { floats, read } from './safetensors.mjs';

const [program, file, rate] = process.argv.slice(2);
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = readFileSync(createRequire(import.meta.url).resolve('onnxruntime-web/ort-wasm-simd-threaded.wasm'));

const saved = Object.entries(read(readFileSync(file)));
function* batches() {
  for (let t = 0; t < saved[0][1].shape[0]; t++) {
    yield Object.fromEntries(saved.map(([name, { shape: [, ...shape], data }]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return [name, new ort.Tensor('int64', BigInt64Array.from(data.subarray(t * size, (t + 1) * size), BigInt), shape)];
    }));
  }
}
const session = await ort.InferenceSession.create(readFileSync(`${program}/step.onnx`));
await train(ort, session, floats(ort, readFileSync(`${program}/init.safetensors`)), batches(), Number(rate), (_, loss) => console.log(loss));
