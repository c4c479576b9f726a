package sweep

import (
	"strings"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop"
	"march/variants"
	"march/variants/program"
)

// Who goes on on a CPU with another program than one without parts is told of the masks; who loses none is not.
func TestNoteMasks(t *testing.T) {
	dir := t.TempDir()
	cpu := trainloop.Settings{Device: "cpu", TokensPerStep: 64, MicroBatch: 1, Length: 16}
	whole, gpu := cpu, cpu
	whole.MicroBatch, gpu.Device = 4, "cuda"
	for _, x := range []struct {
		name    string
		rate    string
		gpu     bool // the form of graphs that all programs had before there were parts
		was, is trainloop.Settings
		want    bool
	}{
		{"an older program", "0.1", true, cpu, cpu, true},
		{"an older program, one micro-batch", "0.1", true, whole, whole, false},
		{"an older program, one micro-batch from here on", "0.1", true, cpu, whole, true},
		{"an older program, one micro-batch until here", "0.1", true, whole, cpu, false},
		{"an older program without dropout", "0", true, cpu, cpu, false},
		{"a program of this version", "0.1", false, cpu, cpu, false},
		{"a run of a GPU, which trainloop tells", "0.1", true, gpu, cpu, false},
	} {
		v, err := variants.Find("sharing/baseline", "tiny", "decoder")
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Config.SetAll([]string{"vocab=64", "length=16", "d=16", "heads=2", "qkv_dim=8", "ff=32", "dropout.rate=" + x.rate}); err != nil {
			t.Fatal(err)
		}
		if _, err := program.Write(ProgramDir(dir), v, program.Options{Batch: 1, Length: 16, GPU: x.gpu, Graphs: []string{"grad", "update", "eval"}}); err != nil {
			t.Fatal(err)
		}
		var notes []string
		l := &Lab{Progress: Progress{Note: func(_ Cell, text string) { notes = append(notes, text) }}}
		l.noteMasks(Cell{Dir: dir}, x.was, x.is)
		if told := len(notes) == 1 && strings.Contains(notes[0], "4 micro-batches"); told != x.want || !told && len(notes) > 0 {
			t.Errorf("%s: %q", x.name, notes)
		}
	}
	l := &Lab{Progress: Progress{Note: func(_ Cell, text string) { t.Errorf("of no program: %s", text) }}}
	l.noteMasks(Cell{Dir: t.TempDir()}, cpu, cpu)
}

// TestHasKernels: a program of target fused that was written for a GPU lacks kernels on a CPU, also where its manifest does not say so.
func TestHasKernels(t *testing.T) {
	v, err := variants.Find("sharing/baseline", "tiny", "decoder")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Config.SetAll([]string{"vocab=64", "length=16", "d=16", "heads=2", "qkv_dim=8", "ff=32"}); err != nil {
		t.Fatal(err)
	}
	rt, err := runtime.Open(runtime.Options{Device: runtime.Device{Kind: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	for _, gpu := range []bool{false, true} {
		dir := t.TempDir()
		m, err := program.Write(dir, v, program.Options{Target: graphgen.Fused, Batch: 1, Length: 16, GPU: gpu, Graphs: []string{"grad", "update"}})
		if err != nil {
			t.Fatal(err)
		}
		m.GPU = false
		if on := hasKernels(m, false); on == gpu {
			t.Errorf("written for a GPU: %t; has its kernels on a CPU: %t", gpu, on)
		}
		e, err := trainloop.NewEngine(rt, dir, trainloop.EngineOptions{})
		if err == nil {
			e.Close()
		}
		if (err != nil) != gpu || gpu && !strings.Contains(err.Error(), "of which march has no kernel on a CPU") {
			t.Errorf("written for a GPU: %t; loaded on a CPU: %v", gpu, err)
		}
	}
}
