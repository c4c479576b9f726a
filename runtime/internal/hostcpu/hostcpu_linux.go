package hostcpu

import (
	"io/fs"
	"os"
	"path"
	goruntime "runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Read never fails: what the system does not tell is counted as one core a
// thread, without a quota.
func Read() Info {
	var mask unix.CPUSet
	var allowed []int
	if unix.SchedGetaffinity(0, &mask) == nil {
		for cpu := range len(mask) * 64 {
			if mask.IsSet(cpu) {
				allowed = append(allowed, cpu)
			}
		}
	}
	if len(allowed) == 0 { // more processors than the mask holds
		for cpu := range goruntime.NumCPU() {
			allowed = append(allowed, cpu)
		}
	}
	return read(os.DirFS("/"), allowed)
}

// read takes the file system's root as a parameter for the tests' sake.
func read(root fs.FS, allowed []int) Info {
	return Info{
		Model:    model(root),
		Logical:  len(allowed),
		Physical: cores(root, allowed),
		Quota:    quota(root),
	}
}

// cores counts the cores that the allowed processors belong to. Processors are
// told apart by their siblings list, which, unlike core_id, is unique in the
// whole machine.
func cores(root fs.FS, allowed []int) int {
	seen := map[string]bool{}
	for _, cpu := range allowed {
		siblings, ok := line(root, "sys/devices/system/cpu/cpu"+strconv.Itoa(cpu)+"/topology/thread_siblings_list")
		if !ok {
			siblings = strconv.Itoa(cpu)
		}
		seen[siblings] = true
	}
	return len(seen)
}

func model(root fs.FS) string {
	text, err := fs.ReadFile(root, "proc/cpuinfo")
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(l, ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// quota is the tightest processor quota among the process's control groups and
// their parents, in processors; 0 where there is none.
func quota(root fs.FS) float64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	tightest := 0.0
	take := func(quota, period string) {
		q, err1 := strconv.ParseFloat(quota, 64)
		p, err2 := strconv.ParseFloat(period, 64)
		if err1 != nil || err2 != nil || q <= 0 || p <= 0 { // "max" and -1: no limit
			return
		}
		if q /= p; tightest == 0 || q < tightest {
			tightest = q
		}
	}
	for l := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path; version 2 has no controllers.
		parts := strings.SplitN(strings.TrimSpace(l), ":", 3)
		if len(parts) != 3 {
			continue
		}
		version2 := parts[1] == ""
		if !version2 && !hasWord(parts[1], "cpu") {
			continue
		}
		// Inside a container the path may be the host's, of which only the
		// root is visible: walking up ends there in any case.
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			if version2 {
				for _, mount := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
					if v, ok := line(root, path.Join(mount, dir, "cpu.max")); ok {
						if f := strings.Fields(v); len(f) == 2 {
							take(f[0], f[1])
						}
					}
				}
			} else {
				for _, mount := range []string{"sys/fs/cgroup/cpu", "sys/fs/cgroup/" + parts[1]} {
					q, ok1 := line(root, path.Join(mount, dir, "cpu.cfs_quota_us"))
					p, ok2 := line(root, path.Join(mount, dir, "cpu.cfs_period_us"))
					if ok1 && ok2 {
						take(q, p)
					}
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return tightest
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

func line(root fs.FS, name string) (string, bool) {
	text, err := fs.ReadFile(root, name)
	return strings.TrimSpace(string(text)), err == nil
}
