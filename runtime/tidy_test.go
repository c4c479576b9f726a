package runtime

import (
	"errors"
	"strings"
	"testing"
)

// The left sides are what ONNX Runtime 1.30 says.
func TestTidy(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"broadcast at run time",
			"Non-zero status code returned while running Add node. Name:'increment' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/math/element_wise_ops.h:563 void onnxruntime::BroadcastIterator::Init(ptrdiff_t, ptrdiff_t) axis == 1 || axis == largest was false. Attempting to broadcast an axis by a dimension other than 1. 2 by 3",
			"Add node 'increment': Attempting to broadcast an axis by a dimension other than 1. 2 by 3"},
		{"wrong output shape at run time",
			"Non-zero status code returned while running Gather node. Name:'emb' Status Message: /onnxruntime_src/onnxruntime/core/framework/op_kernel.cc:83 virtual OrtValue* onnxruntime::OpKernelContext::OutputMLValue(int, const onnxruntime::TensorShape&) [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : The output OrtValue provided for output 'y' of node 'emb' (Gather) has shape {2,2} but the computed output shape for this run is {3,2}. When calling Run() with pre-allocated output OrtValues on a model with dynamic output shapes, either supply unallocated output OrtValues or ensure the pre-allocated shapes match the expected output shapes for each run.",
			"Gather node 'emb': the tensor bound to output 'y' of node 'emb' (Gather) has shape {2,2}, but the run gives {3,2}."},
		{"unknown operator",
			`Error creating C session: This is an invalid model. In Node, ("increment", Nope, "", -1) : ("x": tensor(float),"one": tensor(float),) -> ("y": tensor(float),) , Error No Op registered for Nope with domain_version of 17`,
			"invalid model: Nope node 'increment': No Op registered for Nope with domain_version of 17"},
		{"unknown domain's operator", "Error creating C session: Fatal error: march:Add(-1) is not a registered function/op", "march:Add(-1) is not a registered function/op"},
		{"new IR",
			"Error creating C session: /onnxruntime_src/onnxruntime/core/graph/model.cc:202 onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&, const onnxruntime::IOnnxRuntimeOpSchemaRegistryList*, const onnxruntime::logging::Logger&, const onnxruntime::ModelOptions&) Unsupported model IR version: 99, max supported IR version: 13",
			"Unsupported model IR version: 99, max supported IR version: 13"},
		{"graph output", "Error creating C session: /onnxruntime_src/onnxruntime/core/graph/graph.cc:1555 void onnxruntime::Graph::InitializeStateFromModelFileGraphProto() This is an invalid model. Graph output (gone) does not exist in the graph.",
			"invalid model: Graph output (gone) does not exist in the graph."},
		{"not a model", "Error creating C session from file: Load model from /tmp/junk.onnx failed:Protobuf parsing failed.", "Protobuf parsing failed."},
		{"template, const, condition only",
			"/a/b/x.cc:12 onnxruntime::common::Status onnxruntime::F<T>::Compute(onnxruntime::OpKernelContext*) const [with T = float; V = int[3]] index < size was false. ",
			"index < size was false."},
		{"lambda", "/a/b/x.h:12 onnxruntime::f(int)::<lambda(int, char)> too short", "too short"},
		{"call operator", "/a/b/x.h:12 void onnxruntime::F::operator()(int) const too short", "too short"},
		{"two places", "a.cc:1 f(int) g failed: b.cc:2 h(char) no memory", "g failed: no memory"},
		{"unclosed", "a.cc:1 f(int no end", "f(int no end"},
		{"nothing to do", "x: 3 (of 4) was false", "x: 3 (of 4) was false"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := tidy(errors.New(test.in)).Error(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	if tidy(nil) != nil {
		t.Error("no error became one")
	}
	if got := tidyText(strings.Repeat("ä", 1000)); len(got) > maxMessage+8 {
		t.Errorf("%d bytes left", len(got))
	}
}
