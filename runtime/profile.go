package runtime

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ProfileSummary is a profile of ONNX Runtime, added up.
type ProfileSummary struct {
	Runs      int            `json:"runs"`
	RunTime   time.Duration  `json:"run_time_ns"` // all runs together
	Kernels   time.Duration  `json:"kernels_ns"`  // inside operators; the rest is ONNX Runtime's own
	PeakBytes int64          `json:"peak_bytes"`  // most memory in use for intermediate values; 0 where the profile does not tell
	Ops       []ProfileEntry `json:"ops"`         // by operator type, dearest first
	Nodes     []ProfileEntry `json:"nodes"`       // by node, dearest first
}

// ProfileEntry is an operator type or a node.
type ProfileEntry struct {
	Name     string        `json:"name"`
	Op       string        `json:"op"`
	Provider string        `json:"provider"` // where it ran; of an operator type: where it ran last
	Count    int           `json:"count"`    // executions in all runs
	Time     time.Duration `json:"time_ns"`  // in all runs
	Share    float64       `json:"share"`    // of Kernels
}

// profileEvent is the part of an event that is of use.
type profileEvent struct {
	Category string `json:"cat"`
	Name     string `json:"name"`
	Micros   int64  `json:"dur"`
	Args     struct {
		Op       string `json:"op_name"`
		Provider string `json:"provider"`
		Peak     string `json:"mem_in_use_peak"`
	} `json:"args"`
}

// SummarizeProfile reads a profile that a session wrote and adds up its times.
// The first skip runs do not count: they allocate and warm up. Runs must not
// have overlapped. The file is read as a stream, whatever its size.
func SummarizeProfile(path string, skip int) (*ProfileSummary, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	defer f.Close()
	s, err := summarize(f, skip)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", path, err)
	}
	return s, nil
}

func summarize(r io.Reader, skip int) (*ProfileSummary, error) {
	in := json.NewDecoder(r)
	if start, err := in.Token(); err != nil || start != json.Delim('[') {
		return nil, errors.New("is no profile of ONNX Runtime: want a JSON array of events")
	}
	s := &ProfileSummary{}
	ops, nodes := map[string]*ProfileEntry{}, map[string]*ProfileEntry{}
	seen := 0
	for in.More() {
		var e profileEvent
		if err := in.Decode(&e); err != nil {
			return nil, damaged(err)
		}
		took := time.Duration(e.Micros) * time.Microsecond
		switch {
		case e.Category == "Session" && e.Name == "model_run": // written at a run's end
			if seen++; seen > skip {
				s.Runs++
				s.RunTime += took
			}
		case e.Category == "Node" && strings.HasSuffix(e.Name, "_kernel_time"):
			if peak, err := strconv.ParseInt(e.Args.Peak, 10, 64); err == nil {
				s.PeakBytes = max(s.PeakBytes, peak)
			}
			if seen < skip {
				continue
			}
			s.Kernels += took
			add(ops, e.Args.Op, e, took)
			add(nodes, strings.TrimSuffix(e.Name, "_kernel_time"), e, took)
		}
	}
	if _, err := in.Token(); err != nil {
		return nil, damaged(err)
	}
	if s.Runs == 0 {
		return nil, fmt.Errorf("has %d runs, of which %d were to be skipped", seen, skip)
	}
	s.Ops, s.Nodes = ranked(ops, s.Kernels), ranked(nodes, s.Kernels)
	return s, nil
}

func damaged(err error) error {
	return fmt.Errorf("is cut off or damaged: %w; a profile is complete after Session.EndProfiling", err)
}

func add(to map[string]*ProfileEntry, name string, e profileEvent, took time.Duration) {
	p := to[name]
	if p == nil {
		p = &ProfileEntry{Name: name, Op: e.Args.Op}
		to[name] = p
	}
	p.Provider = e.Args.Provider
	p.Count++
	p.Time += took
}

func ranked(entries map[string]*ProfileEntry, total time.Duration) []ProfileEntry {
	list := make([]ProfileEntry, 0, len(entries))
	for p := range maps.Values(entries) {
		p.Share = float64(p.Time) / float64(max(total, 1))
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b ProfileEntry) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.Name, b.Name))
	})
	return list
}
