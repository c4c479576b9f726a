package trainloop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"march/graphgen/atomicfile"
)

// MetricsFile holds a JSON line for every step of a run.
const MetricsFile = "metrics.jsonl"

// Metric is what one optimizer step showed.
type Metric struct {
	Step     int64    `json:"step"`
	Loss     float64  `json:"loss"` // mean cross-entropy of the step's labels, in nats
	Rate     float64  `json:"lr"`
	GradNorm float64  `json:"grad_norm"` // of the mean gradient, before clipping
	Tokens   int64    `json:"tokens"`    // of the budget so far: steps × tokens of a step
	Seconds  float64  `json:"seconds"`   // training time so far, without validation and saving
	Valid    *float64 `json:"valid_loss,omitempty"`
	// PerLabel are the graph's further sums, such as ponder_sum, divided by the number of labels.
	PerLabel map[string]float64 `json:"per_label,omitempty"`
	// Sparsity is the share of the pruned matrices' weights that were masked.
	Sparsity float64 `json:"sparsity,omitempty"`
}

// maxLine bounds a line of the metrics file.
const maxLine = 1 << 16

// ReadMetrics reads a run's steps, up to a last line that a crash cut short.
func ReadMetrics(dir string) ([]Metric, error) {
	path := filepath.Join(dir, MetricsFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []Metric
	r := bufio.NewReaderSize(f, maxLine)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if err == io.EOF {
			return list, nil // a line without its end was cut short
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		var m Metric
		if err := json.Unmarshal(line, &m); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		list = append(list, m)
	}
}

// metricsLog appends to the metrics file.
type metricsLog struct{ f *os.File }

// openMetrics cuts the file back to the steps up to and including last, and opens it.
func openMetrics(dir string, last int64) (*metricsLog, []Metric, error) {
	list, err := ReadMetrics(dir)
	if err != nil {
		return nil, nil, err
	}
	var kept bytes.Buffer
	n := 0
	for n < len(list) && list[n].Step <= last {
		b, _ := json.Marshal(list[n]) // it was just read
		kept.Write(append(b, '\n'))
		n++
	}
	if int64(n) != last {
		return nil, nil, fmt.Errorf("%s has %d of the checkpoint's %d steps", filepath.Join(dir, MetricsFile), n, last)
	}
	path := filepath.Join(dir, MetricsFile)
	if err := atomicfile.WriteFile(path, kept.Bytes()); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o666)
	return &metricsLog{f}, list[:n], err
}

func (l *metricsLog) add(m Metric) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = l.f.Write(append(b, '\n'))
	return err
}

func (l *metricsLog) sync() error  { return l.f.Sync() }
func (l *metricsLog) close() error { return l.f.Close() }
