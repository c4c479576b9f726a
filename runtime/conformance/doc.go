// Package conformance holds the tests that graphgen's operators and what is built of them
// compute the right thing on ONNX Runtime: values against plain Go, gradients against
// central differences, one suite for every device and target. It has no code of its own
// for others to use, and knows nothing of models. Start at the table in gradients_test.go;
// MARCH_TEST_DEVICE names the device that it runs on (cpu, cuda, cuda:1).
package conformance
