// Package graphgen builds tensor programs, differentiates them, and writes them as
// ONNX. It knows nothing of transformers beyond the operators they are made of, and
// nothing of how a file is run.
//
// Start at [New]: inputs come from [Graph.Input], operators are functions of tensors
// ([Linear], [Attention], [LossHead], …), [Gradients] differentiates, [Graph.Compile]
// turns the big operators into what a [Target] has, and [Program.Encode] gives the
// bytes of an ONNX file.
//
// # Operators
//
// An operator is one value of type [Op]: name, type rule, gradient, and either the ONNX
// operator that it is or its decomposition into smaller ones. Attention, norms,
// activations, the loss head and AdamW are single operators here; a pass decomposes
// them per target. Gradient rules name what they need by building it again: equal
// nodes are one node (see [Graph]), so the probabilities that an attention's gradient
// asks for are those that its forward pass computed.
//
// # Errors
//
// Building a graph wrongly is a bug of the caller. The builder panics with the place in
// the model, and [Build] turns that into an error at the package's edge.
package graphgen
