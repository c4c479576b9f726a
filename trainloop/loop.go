package trainloop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"march/runtime"
	"march/variants"
	"march/variants/program"
)

// Options are what a run needs beside its settings.
type Options struct {
	Dir     string // the run's folder
	Program string // the program's folder
	// Writing is that program, of somebody who has just verified it or still writes it; nil: it is read and verified.
	Writing   *program.Writing
	Settings  Settings
	Training  variants.Training // schedule and peak rate
	Runtime   *runtime.Runtime
	Batches   Batches
	Teacher   string // safetensors file with the parameters of the program's teacher, if it has one
	CUDAGraph string // of [EngineOptions]
	Resume    bool   // go on where the folder's run stands; start where it has none
	Override  bool   // go on also where the folder's run was started with other settings
	Diverged  Policy // what becomes of a step whose loss or gradient is no number

	SaveEvery     int64 // steps between checkpoints; 0: a tenth of the run, or more where writing one takes long. One is also saved where the validation loss is the lowest so far.
	ValidateEvery int64 // steps between validations; 0: at the end only
	// Validate gives the validation loss of the parameters on the device; nil: none.
	Validate   func(*Engine) (float64, error)
	ScoreEvery int64 // steps between scores; 0: none. The last step's are the caller's, of the finished run.
	// Score scores the parameters on the device; nil: no scores.
	Score func(*Engine) (map[string]float64, error)
	// Begin is called once program, checkpoint and settings are known to fit together, before the first step: what may
	// then replace what an earlier run left in the folder; nil: nothing does.
	Begin func() error
	// OnStep is told of every step, after it is logged.
	OnStep func(Metric)
	// Warn is told of what went wrong without stopping the run.
	Warn func(string)
}

// Result is what a finished run leaves behind.
type Result struct {
	Checkpoint Checkpoint
	Metrics    []Metric
	Validation float64 // loss at the end; NaN without Validate
	Resumed    int64   // the step that the run went on from
}

// ErrDiverged is wrapped by the error of a run whose loss or gradient stopped being a
// number. A step whose gradient was no number changed no parameter; on a GPU, steps queued behind it may have.
var ErrDiverged = errors.New("training diverged")

// Train runs a program to the end of its budget and leaves its folder with settings,
// metrics and checkpoints. When ctx ends, it saves and returns the context's cause.
func Train(ctx context.Context, o Options) (*Result, error) {
	r, err := train(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", o.Dir, err)
	}
	return r, nil
}

func train(ctx context.Context, o Options) (*Result, error) {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if err := o.Settings.Check(); err != nil {
		return nil, err
	}
	from, fresh, err := o.open()
	if err != nil {
		return nil, err
	}
	eo := EngineOptions{Replicas: ReplicasOn(o.Runtime, int64(o.Settings.MicroBatches())), Seed: o.Settings.Seed, CUDAGraph: o.CUDAGraph}
	if o.Writing != nil {
		eo.Manifest = o.Writing.Manifest
	}
	e, err := NewEngine(o.Runtime, o.Program, eo)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if err := o.Settings.fits(e.Manifest); err != nil {
		return nil, fmt.Errorf("program %s: %w", o.Program, err)
	}
	if err := e.Feed(o.Batches); err != nil {
		return nil, fmt.Errorf("program %s: %w", o.Program, err)
	}
	if err := o.loadTeacher(e); err != nil {
		return nil, err
	}
	if o.Writing != nil { // now the start values are needed, and nothing is to be saved beside a program that is not whole
		if _, err := o.Writing.Wait(); err != nil {
			return nil, err
		}
	}
	run := &loop{Options: o, e: e, guard: guard{policy: o.Diverged}}
	if from != nil {
		run.state = from.State
		err = e.restore(from)
	} else {
		err = e.LoadStart(o.Program)
	}
	if err != nil {
		return nil, err
	}
	if o.Begin != nil {
		if err := o.Begin(); err != nil {
			return nil, err
		}
	}
	if fresh || o.Override { // now that everything fits together
		if err := o.Settings.write(o.Dir); err != nil {
			return nil, err
		}
	}
	return run.run(ctx)
}

// open prepares the folder and finds where to go on; nil means from the start. fresh says that the folder has no settings yet.
func (o *Options) open() (from *Checkpoint, fresh bool, err error) {
	old, err := ReadSettings(o.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, true, os.MkdirAll(o.Dir, 0o777)
	case err != nil:
		return nil, false, err
	case !o.Resume:
		return nil, false, fmt.Errorf("the folder holds a run already: --resume goes on with it, another --out starts a new one")
	}
	if err := o.Settings.goesOn(old, o.Override, o.Warn); err != nil {
		return nil, false, err
	}
	from, err = Latest(o.Dir, o.Warn)
	return from, false, err
}

// loop is a run in progress.
type loop struct {
	Options
	e       *Engine
	state   State
	guard   guard
	log     *metricsLog
	metrics []Metric
	pending []Metric  // of steps that are taken and not yet logged
	clock   time.Time // when results were last there

	lowest   float64       // validation loss of a checkpoint
	saved    time.Time     // when the last checkpoint was
	saveTook time.Duration // how long it took
}

func (l *loop) run(ctx context.Context) (*Result, error) {
	var err error
	if l.log, l.metrics, err = openMetrics(l.Dir, l.state.Step); err != nil {
		return nil, err
	}
	defer func() { l.log.close() }()
	if l.lowest, err = lowestSaved(l.Dir, l.state.Step); err != nil {
		return nil, err
	}
	if err := l.catchUp(); err != nil {
		return nil, err
	}
	resumed, saved := l.state.Step, l.state.Step
	every := l.SaveEvery
	if every <= 0 {
		every = max(1, l.Settings.Steps/10)
	}
	l.clock = time.Now()
	for l.state.Step < l.Settings.Steps {
		if ctx.Err() != nil {
			if saved != l.state.Step {
				if err := l.save(); err != nil {
					return nil, err
				}
			}
			return nil, context.Cause(ctx)
		}
		if err := l.step(); err != nil {
			return nil, err
		}
		if l.best() || l.state.Step == l.Settings.Steps || l.state.Step%every == 0 && (l.SaveEvery > 0 || l.saveIsCheap()) {
			began := time.Now()
			if err := l.save(); err != nil {
				return nil, err
			}
			saved, l.saved, l.saveTook = l.state.Step, time.Now(), time.Since(began)
		}
	}
	return l.result(resumed)
}

// best reports whether the validation loss is lower than that of every checkpoint, so that these parameters are to be kept.
func (l *loop) best() bool {
	if l.state.Valid == nil || *l.state.Valid >= l.lowest {
		return false
	}
	l.lowest = *l.state.Valid
	return true
}

// saveIsCheap bounds what checkpoints that nobody asked for cost: a twentieth of the time.
// On a GPU writing one can take as long as a hundred steps.
func (l *loop) saveIsCheap() bool { return time.Since(l.saved) >= 20*l.saveTook }

// result describes the finished run.
func (l *loop) result(resumed int64) (*Result, error) {
	r := &Result{Metrics: l.metrics, Resumed: resumed, Validation: math.NaN()}
	c, err := Latest(l.Dir, l.Warn)
	if err != nil {
		return nil, err
	}
	r.Checkpoint = *c
	if last := l.metrics[len(l.metrics)-1]; last.Valid != nil {
		r.Validation = *last.Valid
	}
	return r, nil
}

// step takes one optimizer step. What it gave is logged by drain.
func (l *loop) step() error {
	n := int64(l.Settings.MicroBatches())
	step, first := l.state.Step+1, l.state.Step*n
	if p := l.Training.Prune; p.Due(step, l.Settings.Steps) {
		if err := l.e.Prune(p.SparsityAt(step, l.Settings.Steps)); err != nil {
			return err
		}
	}
	rate := Rate(l.Training, step, l.Settings.Steps)
	if err := l.e.Step(step, first, n, rate, step < l.Settings.Steps); err != nil {
		return errors.Join(err, l.drain()) // the steps before it are good
	}
	l.state.Step, l.state.Tokens, l.state.Valid = step, l.state.Tokens+int64(l.Settings.TokensPerStep), nil
	l.pending = append(l.pending, Metric{Step: step, Rate: rate, Tokens: l.state.Tokens, Sparsity: l.e.Sparsity()})
	validate, score := l.due(step)
	if !validate && !score && int64(len(l.pending)) < l.logEvery() {
		return nil
	}
	if !validate && !score {
		return l.drain()
	}
	if err := l.collect(); err != nil {
		return errors.Join(err, l.flush())
	}
	var err error
	if validate {
		err = l.validate()
	}
	if score && err == nil {
		err = l.score()
	}
	if err != nil && !errors.Is(err, ErrDiverged) { // interrupted, say: the step itself is good
		return errors.Join(err, l.save())
	}
	return errors.Join(err, l.flush())
}

// due says what is asked for of the parameters behind a step.
func (l *loop) due(step int64) (validate, score bool) {
	validate = l.Validate != nil && (step == l.Settings.Steps || l.ValidateEvery > 0 && step%l.ValidateEvery == 0)
	score = l.Score != nil && l.ScoreEvery > 0 && step%l.ScoreEvery == 0 && step < l.Settings.Steps
	return validate, score
}

// logEvery is how many steps are taken before their results are asked for. On a GPU asking
// means waiting; on a CPU they are there.
func (l *loop) logEvery() int64 {
	if l.Runtime.GPU() == "" {
		return 1
	}
	return 10
}

// drain logs all steps taken so far.
func (l *loop) drain() error {
	return errors.Join(l.collect(), l.flush())
}

// collect asks for the pending steps' results. After an error only those before the step
// that failed are pending.
func (l *loop) collect() error {
	results, err := l.e.Results()
	if err != nil {
		l.pending = l.pending[:0] // what they gave is not known
		return err
	}
	// Steps that were queued together share their time.
	took := time.Since(l.clock).Seconds() / float64(max(1, len(results)))
	l.clock = time.Now()
	for i, r := range results {
		m := &l.pending[i]
		if d := divergence(r, int64(l.Settings.MicroBatches())); d == nil {
			l.guard.passed()
		} else if err := l.guard.failed(d, l.Dir, l.Batches, l.Warn); err != nil {
			l.pending = l.pending[:i]
			return err
		} else {
			m.Skipped = d.What
		}
		l.state.Seconds += took
		m.Loss, m.GradNorm, m.PerLabel, m.Seconds = r.Sums.Loss/float64(r.Sums.Count), r.Norm, r.Sums.perLabel(), l.state.Seconds
	}
	return nil
}

// validate adds the validation loss to the last pending step.
func (l *loop) validate() error {
	m := &l.pending[len(l.pending)-1]
	v, err := l.Validate(l.e)
	if err != nil {
		return fmt.Errorf("validation after step %d: %w", m.Step, err)
	}
	if !finite(v) {
		return fmt.Errorf("%w: the validation loss after step %d is %v", ErrDiverged, m.Step, v)
	}
	m.Valid, l.state.Valid = &v, &v
	l.clock = time.Now()
	return nil
}

// score adds scores to the last pending step.
func (l *loop) score() error {
	m := &l.pending[len(l.pending)-1]
	scores, err := l.Score(l.e)
	if err != nil {
		return fmt.Errorf("scores after step %d: %w", m.Step, err)
	}
	for name, x := range scores {
		if !finite(x) {
			delete(scores, name) // JSON has no such number
		}
	}
	m.Scores = scores
	l.clock = time.Now()
	return nil
}

// flush writes the pending steps, whose results are there, to the log.
func (l *loop) flush() error {
	for _, m := range l.pending {
		l.metrics = append(l.metrics, m)
		if err := l.log.add(m); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(l.Dir, MetricsFile), err)
		}
		if l.OnStep != nil {
			l.OnStep(m)
		}
	}
	l.pending = l.pending[:0]
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// save writes a checkpoint; the metrics up to it reach the disk first.
func (l *loop) save() error {
	if err := l.drain(); err != nil {
		return err
	}
	defer func() { l.clock = time.Now() }()
	if err := l.log.sync(); err != nil {
		return err
	}
	return l.e.save(l.Dir, l.state)
}
