// Package onnxpb holds the Go types of ONNX's protobuf messages, generated from
// onnx.proto beside it. It knows nothing of graphs; package graphgen writes and
// reads through it. Start at ModelProto.
package onnxpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative onnx.proto
