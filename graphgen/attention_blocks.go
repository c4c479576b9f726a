package graphgen

// Causal attention over long sequences goes block by block of queries, each over the keys
// that it may see: all arrays of [queries, keys] together are little more than half as large.

// blockQueries is the length of a block. Shorter sequences than two of them stay whole: queries, keys
// and results of the blocks are copies, which a head of 64 entries pays for with 1,024 keys and not with 512.
const blockQueries = 512

// block is an attention of some of the queries over some of the keys.
type block struct {
	Attention
	query, key int // the first of each in the whole
}

// blocks cuts an attention into blocks of queries with the keys that they see, one where that
// gains nothing.
func (a Attention) blocks(in []*Tensor) []block {
	whole := []block{{Attention: a}}
	bias, lengths, dropout := in[3], in[4], in[5]
	if !a.Causal || a.Past != 0 || a.Queries != a.Keys || a.Queries < 2*blockQueries || a.Queries%blockQueries != 0 || bias != nil || lengths != nil || dropout != nil {
		return whole
	}
	var list []block
	for at := 0; at < a.Queries; at += blockQueries {
		from := 0
		if a.Window > 0 { // of whole blocks, so that sums over blocks have the same bounds
			from = max(0, at-a.Window+1) / blockQueries * blockQueries
		}
		b := block{a, at, from}
		b.Queries, b.Keys, b.Past = blockQueries, at+blockQueries-from, at-from
		list = append(list, b)
	}
	return list
}

// queries are the block's rows of x [B, heads…, Sq, d].
func (b block) queries(x *Tensor) *Tensor { return stretch(x, x.Rank()-2, b.query, b.Queries) }

// keys are the block's rows of x [B, heads…, Sk, d].
func (b block) keys(x *Tensor) *Tensor { return stretch(x, x.Rank()-2, b.key, b.Keys) }

// keySums adds up what blocks give for each of the keys that they see.
type keySums struct {
	a     Attention
	parts [][]*Tensor // of each stretch of keys
}

func newKeySums(a Attention) *keySums { return &keySums{a, make([][]*Tensor, 1)} }

// add takes a block's gradient [B, heads…, keys, d].
func (s *keySums) add(b block, d *Tensor) {
	if b.Queries == s.a.Queries { // one block
		s.parts[0] = []*Tensor{d}
		return
	}
	sizes := make([]int, b.Keys/blockQueries)
	for i := range sizes {
		sizes[i] = blockQueries
	}
	for i, part := range Split(d, d.Rank()-2, sizes...) {
		at := b.key/blockQueries + i
		for len(s.parts) <= at {
			s.parts = append(s.parts, nil)
		}
		s.parts[at] = append(s.parts[at], part)
	}
}

// sum is the whole gradient [B, heads…, Sk, d].
func (s *keySums) sum() *Tensor {
	var sums []*Tensor
	for _, parts := range s.parts {
		sum := parts[0]
		for _, p := range parts[1:] {
			sum = Add(sum, p)
		}
		sums = append(sums, sum)
	}
	return Concat(sums[0].Rank()-2, sums...)
}
