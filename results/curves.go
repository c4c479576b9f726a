package results

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"march/results/record"
)

// MetricsFile lies beside a record and has a line for every training step.
const MetricsFile = "metrics.jsonl"

// point is a place on a run's way, and the loss there.
type point struct {
	step, flops, seconds float64
	loss                 float64 // or a score
}

// curve is a run's losses, by rising steps.
type curve []point

// along says by what a curve is read.
type along int

const (
	bySteps along = iota
	byFLOPs
	bySeconds
)

func (by along) of(p point) float64 {
	switch by {
	case byFLOPs:
		return p.flops
	case bySeconds:
		return p.seconds
	}
	return p.step
}

// end is where the curve ends; 0 of an empty one.
func (c curve) end(by along) float64 {
	if len(c) == 0 {
		return 0
	}
	return by.of(c[len(c)-1])
}

// at reads the loss at x, on a straight line between the points beside it. ok is false outside.
func (c curve) at(by along, x float64) (loss float64, ok bool) {
	for i, p := range c {
		switch b := by.of(p); {
		case b == x:
			return p.loss, true
		case b > x && i > 0:
			a := by.of(c[i-1])
			t := (x - a) / (b - a)
			return c[i-1].loss*(1-t) + p.loss*t, true
		case b > x:
			return 0, false
		}
	}
	return 0, false
}

// curves reads a run's steps: its validation losses, of which there may be none, and its training losses,
// each the mean over the last twentieth of all steps up to there.
func curves(r *record.Run) (valid, train curve, err error) {
	err = eachStep(r, func(x step, p point) {
		p.loss = *x.Loss
		train = append(train, p)
		if x.Valid != nil {
			p.loss = *x.Valid
			valid = append(valid, p)
		}
	})
	return valid, smooth(train), err
}

// scoreCurve reads a run's scores by a measure of a suite: those on its way, and the record's own at its end.
func scoreCurve(r *record.Run, m measure) (list curve, err error) {
	var last point
	err = eachStep(r, func(x step, p point) {
		last = p
		suite := record.Suite{}
		for name, value := range x.Scores {
			if of, score, ok := strings.Cut(name, "/"); ok && of == m.suite {
				suite.Scores = append(suite.Scores, record.Score{Name: score, Value: value})
			}
		}
		if f := m.get(&record.Run{Suites: map[string]record.Suite{m.suite: suite}}); f.ok {
			p.loss = f.shown()
			list = append(list, p)
		}
	})
	if f := m.get(r); f.ok && len(list) > 0 && list.end(bySteps) < last.step {
		last.loss = f.shown()
		list = append(list, last)
	}
	return list, err
}

// step is what is read of a line of the file.
type step struct {
	Step    int64              `json:"step"`
	Loss    *float64           `json:"loss"`
	Seconds float64            `json:"seconds"`
	Tokens  int64              `json:"tokens"`
	Valid   *float64           `json:"valid_loss"`
	Scores  map[string]float64 `json:"scores"`
}

// eachStep reads a run's steps, but those that diverged.
func eachStep(r *record.Run, each func(step, point)) error {
	if r.Path == "" {
		return errors.New("the record was not read from a file")
	}
	path := filepath.Join(filepath.Dir(r.Path), MetricsFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no file %s beside the record", MetricsFile) // the same for all runs
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var x step
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if x.Loss == nil {
			continue // diverged: JSON has no such number
		}
		each(x, point{step: float64(x.Step), flops: float64(x.Tokens) * float64(r.FLOPs.Training), seconds: x.Seconds})
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// smooth takes the mean of each loss and those before it, over a twentieth of the curve; points with
// fewer before them are left out.
func smooth(c curve) curve {
	window := max(1, len(c)/20)
	var out curve
	var sum float64
	for i, p := range c {
		if sum += p.loss; i >= window {
			sum -= c[i-window].loss
		}
		if i+1 >= window {
			p.loss = sum / float64(window)
			out = append(out, p)
		}
	}
	return out
}

// equal is the difference of two runs' losses where both have spent what the one that spent less did
// in all: a less b. ok is false where the other's curve does not reach there.
func equal(a, b curve, by along) (difference float64, ok bool) {
	x := math.Min(a.end(by), b.end(by))
	la, aok := a.at(by, x)
	lb, bok := b.at(by, x)
	return la - lb, aok && bok
}
