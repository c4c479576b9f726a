// Package variants says what a model is: its [Config], the named catalogue, and the
// forward pass of every axis, built on package graphgen. It knows nothing of ONNX
// Runtime, of training loops, or of files; package variants/program writes the files.
//
// Start at [Find], which turns a name such as sharing/deep_cycle_rev into a Config at a
// scale, and at [Config.Train], which builds the graph of one training micro-batch.
//
// Letters in shapes: B batch, S length, N = B·S rows, D model width, H heads, K qkv dim,
// F feed-forward width, V vocabulary, P positions.
package variants
