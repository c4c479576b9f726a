// Writes safetensors files with elements of F32 and I64.
// write gives the file of ONNX Runtime's tensors by name.
export function write(tensors) {
  const header = {};
  let at = 0;
  for (const [name, t] of Object.entries(tensors)) {
    const dtype = { float32: 'F32', int64: 'I64' }[t.type];
    if (!dtype) throw new Error(`tensor ${name}: element type ${t.type}, wanted float32 or int64`);
    header[name] = { dtype, shape: [...t.dims], data_offsets: [at, at += t.data.byteLength] };
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + at);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  at = 8 + text.length;
  for (const t of Object.values(tensors)) {
    file.set(new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength), at);
    at += t.data.byteLength;
  }
  return file;
}
