// Reads a safetensors file (the length of a header, the header in JSON, the bytes): arrays of F32, I64 or I32, and their shapes, by name.
export function read(bytes) {
  bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength); // Node's Buffer slices otherwise
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const kinds = { F32: Float32Array, I32: Int32Array, I64: BigInt64Array };
  const tensors = {};
  delete header.__metadata__;
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
    if (!kinds[dtype]) throw new Error(`tensor ${name}: element type ${dtype}, wanted one of ${Object.keys(kinds)}`);
    tensors[name] = { shape, data: new kinds[dtype](bytes.slice(start + from, start + to).buffer) };
  }
  return tensors;
}

// floats are the file's tensors as ONNX Runtime's.
export function floats(ort, bytes) {
  return Object.fromEntries(Object.entries(read(bytes)).map(([n, { shape, data }]) => [n, new ort.Tensor('float32', data, shape)]));
}
