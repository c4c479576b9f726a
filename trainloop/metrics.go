package trainloop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"march/graphgen/atomicfile"
)

// MetricsFile holds a JSON line for every step of a run.
const MetricsFile = "metrics.jsonl"

// Metric is what one optimizer step showed.
type Metric struct {
	Step     int64    `json:"step"`
	Loss     float64  `json:"loss"` // mean cross-entropy of the step's labels, in nats; null in the file where it is no number
	Rate     float64  `json:"lr"`
	GradNorm float64  `json:"grad_norm"` // of the mean gradient, before clipping
	Tokens   int64    `json:"tokens"`    // of the budget so far: steps × tokens of a step
	Seconds  float64  `json:"seconds"`   // training time so far, without validation and saving
	Valid    *float64 `json:"valid_loss,omitempty"`
	// Scores are those of the parameters behind the step, where they were scored: "grammar/accuracy".
	Scores map[string]float64 `json:"scores,omitempty"`
	// PerLabel are the graph's further sums, such as ponder_sum, divided by the number of labels.
	PerLabel map[string]float64 `json:"per_label,omitempty"`
	// Sparsity is the share of the pruned matrices' weights that were masked.
	Sparsity float64 `json:"sparsity,omitempty"`
	// Skipped says what of a step was no number, where it was skipped for that ([SkipDiverged]).
	Skipped string `json:"skipped,omitempty"`
}

// MarshalJSON writes null for what is no number, which JSON has no other word for.
func (m Metric) MarshalJSON() ([]byte, error) {
	type plain Metric // without this method
	number := func(x float64) *float64 {
		if finite(x) {
			return &x
		}
		return nil
	}
	p := plain(m)
	if m.Skipped != "" {
		p.PerLabel = nil
	}
	p.Loss, p.GradNorm = 0, 0 // shadowed by those of the outer struct
	return json.Marshal(struct {
		Step     int64    `json:"step"`
		Loss     *float64 `json:"loss"`
		Rate     float64  `json:"lr"`
		GradNorm *float64 `json:"grad_norm"`
		plain
	}{m.Step, number(m.Loss), m.Rate, number(m.GradNorm), p})
}

// UnmarshalJSON reads null as NaN.
func (m *Metric) UnmarshalJSON(data []byte) error {
	type plain Metric
	p := struct {
		Loss     *float64 `json:"loss"`
		GradNorm *float64 `json:"grad_norm"`
		*plain
	}{plain: (*plain)(m)}
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	m.Loss, m.GradNorm = math.NaN(), math.NaN()
	if p.Loss != nil {
		m.Loss = *p.Loss
	}
	if p.GradNorm != nil {
		m.GradNorm = *p.GradNorm
	}
	return nil
}

// maxLine bounds a line of the metrics file, maxSteps its lines: no run is that long.
const (
	maxLine  = 1 << 16
	maxSteps = 1 << 23
)

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
	return parseMetrics(path, f)
}

func parseMetrics(path string, f io.Reader) ([]Metric, error) {
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
		if list = append(list, m); len(list) > maxSteps {
			return nil, fmt.Errorf("%s: more than %d steps", path, maxSteps)
		}
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
	n := 0
	for n < len(list) && list[n].Step <= last {
		n++
	}
	if int64(n) != last {
		return nil, nil, fmt.Errorf("%s has %d of the checkpoint's %d steps", filepath.Join(dir, MetricsFile), n, last)
	}
	l, err := writeMetrics(dir, list[:n])
	return l, list[:n], err
}

// writeMetrics writes the file anew, and opens it.
func writeMetrics(dir string, list []Metric) (*metricsLog, error) {
	var lines bytes.Buffer
	for _, m := range list {
		b, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		lines.Write(append(b, '\n'))
	}
	path := filepath.Join(dir, MetricsFile)
	if err := atomicfile.WriteFile(path, lines.Bytes()); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o666)
	return &metricsLog{f}, err
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
