package trainloop

// catchUp does what is due behind the last step that was logged, where the run was stopped while that was being done: it
// had to save then without it.
func (l *loop) catchUp() error {
	n := len(l.metrics) - 1
	if n < 0 {
		return nil
	}
	last := l.metrics[n]
	validate, score := l.due(last.Step)
	validate, score = validate && last.Valid == nil, score && last.Scores == nil
	if !validate && !score {
		return nil
	}
	l.pending = append(l.pending, last)
	if validate {
		if err := l.validate(); err != nil {
			return err
		}
	}
	if score {
		if err := l.score(); err != nil {
			return err
		}
	}
	l.metrics[n] = l.pending[0]
	l.pending = l.pending[:0]
	if err := l.log.close(); err != nil {
		return err
	}
	var err error
	if l.log, err = writeMetrics(l.Dir, l.metrics); err != nil {
		return err
	}
	if l.OnStep != nil {
		l.OnStep(l.metrics[n])
	}
	if l.best() {
		return l.save()
	}
	return nil
}
