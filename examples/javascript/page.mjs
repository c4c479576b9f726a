// Trains step.onnx on the text of the page and plots the loss. Bytes are tokens, so the program needs a vocabulary of 256 or more.
import * as ort from 'onnxruntime-web/wasm';
import { train } from './loop.mjs';
import { floats } from './safetensors.mjs';

const $ = (id) => document.getElementById(id);
const fetched = async (file) => {
  const answer = await fetch(file);
  if (!answer.ok) throw new Error(`${file}: ${answer.status} ${answer.statusText}`);
  return new Uint8Array(await answer.arrayBuffer());
};

ort.env.wasm.numThreads = 1; // more need a page that is isolated from others
ort.env.wasm.wasmPaths = new URL('./node_modules/onnxruntime-web/dist/', location.href).href;
let session, start, shape;
try {
  session = await ort.InferenceSession.create(await fetched('program/step.onnx'));
  start = floats(ort, await fetched('program/init.safetensors'));
  const vocabulary = start['embed.tokens'].dims[0];
  if (vocabulary < 256) throw new Error(`the program has a vocabulary of ${vocabulary}; bytes need 256`);
  shape = session.inputMetadata.find(({ name }) => name === 'tokens').shape;
  const size = Object.values(start).reduce((n, t) => n + t.size, 0);
  $('about').textContent = `${size.toLocaleString('en')} parameters; each step reads ${shape[0]} pieces of ${shape[1]} bytes and predicts every next byte.`;
  $('train').disabled = false;
} catch (e) {
  $('about').textContent = `Cannot start: ${e.message}`;
}

// batches cuts pieces of the text at random, for ever; a text that is too short is read round and round.
function* batches(bytes) {
  const [rows, length] = shape, size = rows * length;
  for (;;) {
    const tokens = new BigInt64Array(size), labels = new BigInt64Array(size);
    for (let b = 0; b < rows; b++) {
      const from = Math.floor(Math.random() * bytes.length);
      for (let t = 0; t < length; t++) {
        tokens[b * length + t] = BigInt(bytes[(from + t) % bytes.length]);
        labels[b * length + t] = BigInt(bytes[(from + t + 1) % bytes.length]);
      }
    }
    yield { tokens: new ort.Tensor('int64', tokens, shape), labels: new ort.Tensor('int64', labels, shape) };
  }
}

function plot(losses) {
  const left = 44, top = 12, width = 664, height = 268;
  const steps = Math.max(20, losses.length), most = Math.ceil(Math.max(...losses, 1));
  const x = (i) => left + (width * i) / steps, y = (loss) => top + height * (1 - loss / most);
  const tick = (n, limit) => 10 ** Math.floor(Math.log10(n)) * [1, 2, 5, 10].find((k) => n / (10 ** Math.floor(Math.log10(n)) * k) <= limit);
  let marks = '';
  for (let v = 0; v <= most; v += tick(most, 6)) marks += `<path d="M${left} ${y(v)}h${width}" stroke="#ddd"/><text x="${left - 8}" y="${y(v) + 4}" text-anchor="end">${v}</text>`;
  for (let s = 0; s <= steps; s += tick(steps, 8)) marks += `<text x="${x(s)}" y="${top + height + 18}" text-anchor="middle">${s}</text>`;
  const line = losses.map((loss, i) => `${i ? 'L' : 'M'}${x(i + 1).toFixed(1)} ${y(loss).toFixed(1)}`).join('');
  $('plot').innerHTML = `${marks}<text x="${left + width}" y="${top + height + 34}" text-anchor="end">step</text><text x="${left + 6}" y="${top + 10}">loss, nats a byte</text><path id="line" d="${line}" fill="none" stroke="#1b5e9b" stroke-width="2"/>`;
}

let running = false;
$('train').onclick = async () => {
  if (running) {
    running = false;
    return;
  }
  const bytes = new TextEncoder().encode($('text').value), rate = Number($('rate').value);
  if (bytes.length < 2 || !(rate > 0)) {
    $('status').textContent = bytes.length < 2 ? 'Type a text of two bytes or more.' : 'The learning rate is a number above 0.';
    return;
  }
  running = true;
  $('train').textContent = 'Stop';
  const losses = [], began = performance.now();
  try {
    await train(ort, session, start, batches(bytes), rate, async (t, loss) => {
      losses.push(loss);
      $('status').textContent = `step ${t}, loss ${loss.toFixed(4)}, ${((performance.now() - began) / t).toFixed(0)} ms a step`;
      plot(losses);
      await new Promise(requestAnimationFrame); // so that the page is drawn, and Stop heard
      return running;
    });
  } catch (e) {
    $('status').textContent = `Failed: ${e.message ?? e}`;
  }
  running = false;
  $('train').textContent = 'Train';
};
plot([]);
