// Runs ONNX files in onnxruntime-web (WebAssembly, the browser's build, in Node), one job a line of stdin; worker.py has the protocol.
// usage: node web.mjs FOLDER, where FOLDER has node_modules/onnxruntime-web
import { readFileSync, writeFileSync, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { read } from '../../examples/javascript/safetensors.mjs';
import { write } from './safetensors.mjs';

const root = resolve(process.argv[2], 'node_modules/onnxruntime-web');
const ort = await import(pathToFileURL(join(root, 'dist/ort.wasm.min.mjs')));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = pathToFileURL(join(root, 'dist')) + '/';
ort.env.wasm.wasmBinary = readFileSync(join(root, 'dist/ort-wasm-simd-threaded.wasm'));
ort.env.logLevel = 'fatal';

const answer = (what) => console.log('RESULT ' + JSON.stringify(what));
answer({ runtime: 'onnxruntime-web', version: JSON.parse(readFileSync(join(root, 'package.json'))).version });

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  try {
    // A page has no files: what a graph names outside itself is handed over.
    const weights = join(dirname(job.model), 'init.safetensors');
    const session = await ort.InferenceSession.create(readFileSync(job.model), {
      executionProviders: ['wasm'],
      externalData: existsSync(weights) ? [{ path: 'init.safetensors', data: readFileSync(weights) }] : [],
    });
    const given = read(readFileSync(job.inputs));
    const inputs = session.inputNames.map((n) => [n, new ort.Tensor(given[n].data instanceof Float32Array ? 'float32' : 'int64', given[n].data, given[n].shape)]);
    const outputs = await session.run(Object.fromEntries(inputs));
    writeFileSync(job.outputs, write(outputs));
    await session.release();
    answer({ ok: true });
  } catch (e) {
    answer({ error: String(e?.message ?? e) });
  }
}
