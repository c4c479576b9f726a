package trainloop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	"march/graphgen"
	"march/graphgen/onnxpb"
	"march/trainloop/rng"
	"march/variants"
	"march/variants/manifest"
)

// DropoutSeed is what the engine writes into the input [variants.DropoutSeed] on a GPU, and for graphs that know no parts: for micro-batch
// number micro (counted over the whole run) of optimizer step number step (from 1),
//
//	(rng.Hash(seed, rng.Name("dropout"), step, micro) >> 1) mod (2^31 - 1)
//
// so that masks are anew in every micro-batch, and the same ones in a run that is resumed.
func DropoutSeed(seed uint64, step, micro int64) int64 {
	return int64(rng.Hash(seed, rng.Name("dropout"), uint64(step), uint64(micro))>>1) % graphgen.DropoutSeeds
}

// dropoutSeed is what the engine writes for micro-batch number micro of a step, its part number part. On a CPU that is the seed of
// a step of one micro-batch, with the part: masks are then the same however many micro-batches the step is cut
// into, and those of a GPU that takes it whole. Graphs that know no parts have a seed for each micro-batch anywhere.
func (e *Engine) dropoutSeed(step, micro, part int64) int64 {
	if !e.dropoutParts {
		return DropoutSeed(e.seed, step, micro)
	}
	return graphgen.DropoutPart(DropoutSeed(e.seed, step, step-1), part)
}

// DropoutParts says whether a program's grad.onnx knows the parts of a step's batch ([graphgen.DropoutPart]): not where it was
// made for a GPU, or by a version of march that knew none, whose runs keep their masks. Without dropout it does.
func DropoutParts(dir string, m *manifest.Manifest) (bool, error) {
	grad := m.Graphs["grad"]
	if grad == nil || !slices.ContainsFunc(grad.Inputs, func(p manifest.Port) bool { return p.Name == variants.DropoutSeed }) {
		return true, nil
	}
	path := filepath.Join(dir, grad.File)
	b, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	model := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(b, model); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	// The part is the seed over a constant; without parts the seed is multiplied only.
	return slices.ContainsFunc(model.GetGraph().GetNode(), func(n *onnxpb.NodeProto) bool {
		return n.GetOpType() == "Div" && slices.Contains(n.Input, variants.DropoutSeed)
	}), nil
}
