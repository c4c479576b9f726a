package hostcpu

import (
	"strconv"
	"testing"
	"testing/fstest"
)

func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func siblings(cpu int) string {
	return "sys/devices/system/cpu/cpu" + strconv.Itoa(cpu) + "/topology/thread_siblings_list"
}

func TestRead(t *testing.T) {
	smt := []string{siblings(0), "0,2\n", siblings(1), "1,3\n", siblings(2), "0,2\n", siblings(3), "1,3\n"}
	tests := []struct {
		name    string
		fs      fstest.MapFS
		allowed []int
		want    Info
		threads int
	}{
		{"nothing known", files(), []int{0, 1, 2}, Info{Logical: 3, Physical: 3}, 3},
		{"two threads a core", files(smt...), []int{0, 1, 2, 3}, Info{Logical: 4, Physical: 2}, 2},
		{"mask with both threads of one core", files(smt...), []int{1, 3}, Info{Logical: 2, Physical: 1}, 1},
		{"mask with one thread of each core", files(smt...), []int{2, 3}, Info{Logical: 2, Physical: 2}, 2},
		{"model", files("proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t: a b\n"), []int{0},
			Info{Model: "Some CPU @ 3 GHz", Logical: 1, Physical: 1}, 1},
		{"version 2 quota", files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/cpu.max", "250000 100000\n"), []int{0, 1, 2, 3},
			Info{Logical: 4, Physical: 4, Quota: 2.5}, 2},
		{"version 2 without a limit", files("proc/self/cgroup", "0::/a\n", "sys/fs/cgroup/a/cpu.max", "max 100000\n"), []int{0, 1},
			Info{Logical: 2, Physical: 2}, 2},
		{"the parent's quota is tighter", files("proc/self/cgroup", "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max", "400000 100000\n",
			"sys/fs/cgroup/a/cpu.max", "100000 100000\n"), []int{0, 1, 2, 3}, Info{Logical: 4, Physical: 4, Quota: 1}, 1},
		{"less than one processor", files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/cpu.max", "50000 100000\n"), []int{0, 1},
			Info{Logical: 2, Physical: 2, Quota: 0.5}, 1},
		{"version 1, the host's path", files("proc/self/cgroup", "5:cpuset:/\n4:cpu,cpuacct:/docker/abc\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
			[]int{0, 1, 2, 3}, Info{Logical: 4, Physical: 4, Quota: 3}, 3},
		{"version 1 without a limit", files("proc/self/cgroup", "1:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"), []int{0}, Info{Logical: 1, Physical: 1}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := read(test.fs, test.allowed)
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if n := got.Threads(); n != test.threads {
				t.Errorf("%d threads, want %d", n, test.threads)
			}
		})
	}
}

func TestReadHere(t *testing.T) {
	got := Read()
	if got.Logical < 1 || got.Physical < 1 || got.Physical > got.Logical || got.Threads() > got.Physical {
		t.Errorf("implausible: %+v, %d threads", got, got.Threads())
	}
}
