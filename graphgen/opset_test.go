package graphgen

import (
	"strings"
	"testing"
)

// TestOpsets: every opset is imported with the file format that came with it; where
// operators had their axes as an attribute, that is where they are.
func TestOpsets(t *testing.T) {
	for opset, ir := range map[int]int64{0: 8, 17: 8, 18: 8, 19: 9, 20: 9, 22: 10, 23: 11, 24: 12, 26: 13, 28: 14} {
		m := encoded(t, every(t), Portable, EncodeOptions{Opset: opset})
		want := int64(opset)
		if opset == 0 {
			want = Opset
		}
		if got := m.OpsetImport[0].GetVersion(); got != want || m.GetIrVersion() != ir {
			t.Errorf("opset %d: imports %d in format %d, wanted format %d", opset, got, m.GetIrVersion(), ir)
		}
		reductions := append(nodesOf(m, "ReduceMax"), nodesOf(m, "ReduceSumSquare")...)
		if len(reductions) == 0 {
			t.Fatal("no reductions in the graph of all operators")
		}
		for _, n := range reductions {
			axes := 0
			for _, a := range n.Attribute {
				if a.GetName() == "axes" {
					axes = len(a.Ints)
				}
			}
			if old := want < 18; (axes > 0) != old || (len(n.Input) == 1) != old {
				t.Errorf("opset %d: %s has %d inputs and %d axes as an attribute", opset, n.GetName(), len(n.Input), axes)
			}
		}
		for _, n := range nodesOf(m, "ReduceSum") {
			if len(n.Input) != 2 {
				t.Errorf("opset %d: %s has no input with its axes", opset, n.GetName())
			}
		}
	}
}

// TestOpsetRefused: other versions are errors that say which there are.
func TestOpsetRefused(t *testing.T) {
	p, err := every(t).Compile(Portable)
	if err != nil {
		t.Fatal(err)
	}
	for _, opset := range []int{-1, 16, NewestOpset + 1} {
		if _, err := p.Encode(EncodeOptions{Opset: opset}); err == nil || !strings.Contains(err.Error(), "wanted one from 17 to 28") {
			t.Errorf("opset %d: error %v", opset, err)
		}
	}
}
