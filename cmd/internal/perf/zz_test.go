package perf

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
	"regexp"

	"march/graphgen"
)

func TestZZ(t *testing.T) {
	for _, w := range Workloads() {
		if w.Name != os.Getenv("W") { continue }
		for _, compute := range []graphgen.DType{graphgen.BFloat16, graphgen.Float32} {
		d, _ := w.Variant.Config.Dims(w.Batch, w.Length)
		d.Decoder, d.Compute = w.Decoder, compute
		g, err := w.Variant.Config.Train(d)
		if err != nil { t.Fatal(err) }
		p, err := g.Compile(graphgen.ORT)
		if err != nil { t.Fatal(err) }
		var sum int64
		by := map[string]int64{}
		cnt := map[string]int{}
		re := regexp.MustCompile(`\.\d+`)
		for _, n := range p.Graph.Nodes() {
			b := n.TrafficZZ()
			sum += b
			s := re.ReplaceAllString(n.Scope, ".N")
			k := s + " " + n.Op.Name + " " + fmt.Sprint(n.Out[0])
			k = re.ReplaceAllString(k, ".N")
			by[k] += b
			cnt[k]++
		}
		fmt.Println(w.Name, compute, len(p.Graph.Nodes()), "nodes", float64(sum)/1e9, "GB")
		var keys []string
		for k := range by { keys = append(keys, k) }
		sort.Slice(keys, func(i, j int) bool { return by[keys[i]] > by[keys[j]] })
		scopes := map[string]float64{}
		for k, v := range by { scopes[strings.Fields(k)[0]] += float64(v)/1e9 }
		for i, k := range keys { if i < 45 && os.Getenv("V") != "" { fmt.Printf("%8.3f %3d %s\n", float64(by[k])/1e9, cnt[k], k) } }
		var sk []string
		for k := range scopes { sk = append(sk, k) }
		sort.Slice(sk, func(i, j int) bool { return scopes[sk[i]] > scopes[sk[j]] })
		for _, k := range sk { fmt.Printf("   %-40s %8.3f\n", k, scopes[k]) }
		}
	}
}
