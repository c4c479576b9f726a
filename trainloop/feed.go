package trainloop

import (
	"fmt"
	"slices"

	"march/trainloop/corpus"
	"march/variants/manifest"
)

// Batches gives micro-batches by their numbers. Fill must be a pure function of the number, so that
// a resumed run sees what an uninterrupted one does, and is called from several goroutines.
type Batches interface {
	Shapes() corpus.Shapes
	Fill(micro int64, b *corpus.Batch)
}

// shapesOf reads from a graph's inputs what batches it takes.
func shapesOf(g *manifest.Graph) (corpus.Shapes, error) {
	ports := map[string][]int{}
	for _, p := range g.Inputs {
		if slices.Contains(corpus.Arrays(), p.Name) {
			ports[p.Name] = p.Shape
			if p.DType != "int64" {
				return corpus.Shapes{}, fmt.Errorf("%s takes %s as %s, wanted int64", g.File, p.Name, p.DType)
			}
		}
	}
	var s corpus.Shapes
	if x := ports[corpus.TokensArray]; len(x) == 2 {
		s.Batch, s.Length = x[0], x[1]
	}
	if x := ports[corpus.DecoderTokensArray]; len(x) == 2 {
		s.Decoder = x[1]
	}
	s.Lengths, s.Documents = ports[corpus.LengthsArray] != nil, ports[corpus.DocumentsArray] != nil
	for _, name := range corpus.Arrays() {
		if want := s.Of(name); !slices.Equal(ports[name], want) || slices.ContainsFunc(want, func(d int) bool { return d < 1 }) {
			return corpus.Shapes{}, fmt.Errorf("%s takes %s %s, wanted %s beside its other inputs", g.File, name, shapeText(ports[name]), shapeText(want))
		}
	}
	return s, nil
}

func shapeText(s []int) string {
	if s == nil {
		return "not at all"
	}
	return fmt.Sprint(s)
}

// Shapes are the dimensions of the batches that the program's micro-batch graph takes.
func (e *Engine) Shapes() corpus.Shapes { return e.shapes }

// Feed sets where micro-batches come from. Batches of other shapes than the graph's are an error;
// lengths that the graph does not take are left aside.
func (e *Engine) Feed(b Batches) error {
	have := b.Shapes()
	for _, name := range corpus.Arrays() {
		want, x := e.shapes.Of(name), have.Of(name)
		if !slices.Equal(want, x) && (want != nil || name != corpus.LengthsArray) {
			return fmt.Errorf("the program's grad.onnx takes %s %s, the batches have them %s: was the program made for another objective, batch or length?", name, shapeText(want), shapeText(x))
		}
	}
	for _, r := range e.replicas {
		r.feed.stop()
		r.feed = feed{from: b, current: have.New(), next: have.New()}
	}
	return nil
}

// Ahead begins to fill the first micro-batches of the next call, Accumulate(…, first, n), while
// the caller does something else. It changes no result.
func (e *Engine) Ahead(first, n int64) {
	for i, r := range e.replicas {
		if int64(i) < n && r.feed.from != nil {
			r.feed.ahead(first + int64(i))
		}
	}
}

// feed gives a replica its micro-batches and fills one ahead: never more, so that memory is
// bounded, and always into memory of its own.
type feed struct {
	from          Batches
	current, next *corpus.Batch
	number        int64         // of the micro-batch in next
	filled        chan struct{} // closed once next holds it; nil: next holds nothing
}

// take gives a micro-batch, which stays whole until the next call.
func (f *feed) take(number int64) *corpus.Batch {
	if ahead := f.filled != nil; ahead {
		f.stop()
		if f.number == number {
			f.current, f.next = f.next, f.current
			return f.current
		}
	}
	f.from.Fill(number, f.current)
	return f.current
}

// ahead begins to fill the micro-batch that is to be taken next.
func (f *feed) ahead(number int64) {
	f.stop()
	filled := make(chan struct{})
	f.number, f.filled = number, filled
	from, next := f.from, f.next
	go func() {
		from.Fill(number, next)
		close(filled)
	}()
}

// stop waits until nothing is being filled.
func (f *feed) stop() {
	if f.filled != nil {
		<-f.filled
		f.filled = nil
	}
}
