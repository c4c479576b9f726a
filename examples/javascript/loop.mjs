// The training loop, the same in Node and in a page. session is step.onnx, start the program's start values; each batch has int64
// tensors by the names of the graph's inputs. After every step onStep is given its number and its loss; false from it ends the loop.
export async function train(ort, session, start, batches, rate, onStep) {
  const state = {};
  for (const { name, shape } of session.inputMetadata) {
    if (start[name]) state[name] = start[name];
    else if (/\.[mv]$/.test(name)) state[name] = new ort.Tensor('float32', new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
  }
  let t = 0;
  for await (const batch of batches) {
    const lr = new ort.Tensor('float32', [rate], []), step = new ort.Tensor('int64', [BigInt(++t)], []);
    const out = await session.run({ ...state, ...batch, lr, step });
    for (const name in state) state[name] = out[`${name}.new`];
    if ((await onStep(t, out.loss_sum.data[0] / Number(out.count.data[0]))) === false) break;
  }
  return state;
}
