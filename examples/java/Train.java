import ai.onnxruntime.*;
import java.nio.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.regex.*;

/** Train with step.onnx in Java: `Train PROGRAM BATCHES RATE` prints a loss a step. Needs com.microsoft.onnxruntime:onnxruntime. */
class Train {
  public static void main(String[] args) throws Exception {
    var env = OrtEnvironment.getEnvironment();
    var step = env.createSession(args[0] + "/step.onnx");
    var start = Array.read(Path.of(args[0], "init.safetensors"));
    var batches = Array.read(Path.of(args[1]));
    float rate = Float.parseFloat(args[2]);

    var state = new HashMap<String, OnnxTensor>();
    for (var input : step.getInputInfo().values()) {
      var shape = ((TensorInfo) input.getInfo()).getShape();
      var name = input.getName();
      if (start.containsKey(name)) {
        state.put(name, OnnxTensor.createTensor(env, start.get(name).bytes.asFloatBuffer(), shape));
      } else if (name.endsWith(".m") || name.endsWith(".v")) {
        state.put(name, OnnxTensor.createTensor(env, FloatBuffer.allocate((int) OrtUtil.elementCount(shape)), shape));
      }
    }
    for (int t = 0; t < batches.get("tokens").shape[0]; t++) {
      var inputs = new HashMap<String, OnnxTensorLike>(state);
      for (var name : batches.keySet()) {
        inputs.put(name, batches.get(name).row(env, t));
      }
      inputs.put("lr", OnnxTensor.createTensor(env, rate));
      inputs.put("step", OnnxTensor.createTensor(env, t + 1L));
      var out = step.run(inputs);
      state.replaceAll((name, old) -> (OnnxTensor) out.get(name + ".new").get());
      var loss = ((OnnxTensor) out.get("loss_sum").get()).getFloatBuffer().get(0);
      System.out.println(loss / ((OnnxTensor) out.get("count").get()).getLongBuffer().get(0));
    }
  }

  /** A tensor of a safetensors file: the length of a header, the header in JSON, the bytes. */
  record Array(long[] shape, ByteBuffer bytes) {
    private static final Pattern ENTRY = Pattern.compile("\"([^\"]+)\":\\{\"dtype\":\"[FI]32\",\"shape\":\\[([\\d,]*)\\],\"data_offsets\":\\[(\\d+),(\\d+)\\]\\}");

    static Map<String, Array> read(Path file) throws Exception {
      var all = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
      int begin = 8 + (int) all.getLong(0);
      var entry = ENTRY.matcher(new String(all.array(), 8, begin - 8, StandardCharsets.UTF_8));
      var arrays = new HashMap<String, Array>();
      while (entry.find()) {
        var shape = Arrays.stream(entry.group(2).split(",")).filter(s -> !s.isEmpty()).mapToLong(Long::parseLong).toArray();
        int from = Integer.parseInt(entry.group(3)), to = Integer.parseInt(entry.group(4));
        arrays.put(entry.group(1), new Array(shape, all.slice(begin + from, to - from).order(ByteOrder.LITTLE_ENDIAN)));
      }
      return arrays;
    }

    /** One micro-batch's int32, as int64. */
    OnnxTensor row(OrtEnvironment env, int t) throws OrtException {
      var rest = Arrays.copyOfRange(shape, 1, shape.length);
      int size = (int) OrtUtil.elementCount(rest);
      var values = LongBuffer.allocate(size);
      for (int i = 0; i < size; i++) {
        values.put(i, bytes.getInt(4 * (t * size + i)));
      }
      return OnnxTensor.createTensor(env, values, rest);
    }
  }
}
