package variants

import (
	"fmt"
	"slices"
	"testing"

	"march/graphgen"
)

// publishedOrder writes out the assignments as the paper draws them: seq repeats each
// layer where it stands, cycle repeats the stack, cycle_rev does so with the last time
// upside down.
func publishedOrder(assignment string, m, n int) (order []int) {
	stack := make([]int, m)
	for i := range stack {
		stack[i] = i
	}
	switch assignment {
	case "seq":
		for _, layer := range stack {
			order = append(order, slices.Repeat([]int{layer}, n/m)...)
		}
	case "cycle":
		order = slices.Repeat(stack, n/m)
	case "cycle_rev":
		order = slices.Repeat(stack, n/m-1)
		if n > m {
			slices.Reverse(stack)
		}
		order = append(order, stack...)
	}
	return order
}

func TestLayer(t *testing.T) {
	for _, c := range []struct {
		assignment string
		m, n       int
		want       string
	}{
		{"seq", 3, 6, "[0 0 1 1 2 2]"}, {"cycle", 3, 6, "[0 1 2 0 1 2]"}, {"cycle_rev", 3, 6, "[0 1 2 2 1 0]"},
		{"seq", 2, 6, "[0 0 0 1 1 1]"}, {"cycle", 2, 6, "[0 1 0 1 0 1]"}, {"cycle_rev", 2, 6, "[0 1 0 1 1 0]"},
		{"cycle_rev", 1, 3, "[0 0 0]"}, {"cycle_rev", 3, 3, "[0 1 2]"},
	} {
		if got := fmt.Sprint(publishedOrder(c.assignment, c.m, c.n)); got != c.want {
			t.Fatalf("the test's own order of %v is %s", c, got)
		}
	}
	for _, a := range choices["share.assignment"] {
		for n := 1; n <= 24; n++ {
			for m := 1; m <= n; m++ {
				if n%m != 0 {
					continue
				}
				got := make([]int, n)
				for i := range got {
					got[i] = Share{Unique: m, Uses: n, Assignment: a}.Layer(i)
				}
				if want := publishedOrder(a, m, n); !slices.Equal(got, want) {
					t.Errorf("%s, %d layers used %d times: %v, wanted %v", a, m, n, got, want)
				}
			}
		}
	}
}

// TestWindowBelongsToTheUse: which uses are local does not depend on what they share.
func TestWindowBelongsToTheUse(t *testing.T) {
	c := mustFind(t, "deep_seq", "tiny").Config
	g, err := c.Train(Dims{Batch: 1, Length: c.Length})
	if err != nil {
		t.Fatal(err)
	}
	use := 0
	for _, n := range g.Nodes() {
		if n.Op.Name != "Attention" {
			continue
		}
		want := 0
		if use%2 == 1 {
			want = c.Length / 2
		}
		if a := n.Attrs["_attention"].(graphgen.Attention); a.Window != want || !a.Causal || n.Scope != fmt.Sprintf("decoder.%d.attn", use) {
			t.Errorf("use %d, at %s, has window %d, wanted %d", use, n.Scope, a.Window, want)
		}
		use++
	}
	if use != 12 {
		t.Errorf("%d uses, wanted 12", use)
	}
}
