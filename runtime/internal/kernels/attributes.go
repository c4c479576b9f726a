package kernels

// ONNX Runtime gives a node's attributes by name and does not list them: these are the names that planners read.

// IntAttributes are the names of attributes that are whole numbers.
var IntAttributes = []string{"batch", "queries", "keys", "heads", "kv_heads", "causal", "window", "past", "memory", "deterministic", "rms", "rows", "decay",
	"drop_fk", "drop_tk", "drop_fa", "drop_ta", "drop_fb", "drop_tb", "drop_keep", "transA", "transB"}

// FloatAttributes are the names of attributes that are floats.
var FloatAttributes = []string{"scale", "eps", "drop_scale", "alpha"}

// StringAttributes are the names of attributes that are strings.
var StringAttributes = []string{"kind"}
