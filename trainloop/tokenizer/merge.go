package tokenizer

import (
	"container/heap"
	"context"
	"slices"
)

// merger finds the merges of a vocabulary. All distinct words lie behind one another in one array
// of symbols; a merge joins two neighbours and visits only the places where its pair occurs, so a
// word of a megabyte costs no more than its bytes' worth of short ones.
type merger struct {
	ids    map[string]int32 // the vocabulary, which grows
	tokens []string         // its inverse

	symbols    []int32 // id at each place, -1 once merged into its left neighbour
	next, prev []int32 // the neighbours in the word, -1: none
	word       []int32 // which word a place belongs to
	counts     []int64 // of each word

	pairs  map[uint64]int32 // pair → its place in stats
	stats  []pairStat
	queue  pairQueue
	raised []int32 // pairs whose count rose in the present step
}

// pairStat is what is known of one pair.
type pairStat struct {
	pair  pair
	count int64
	// places where it occurs, or once did: what was merged away since is noticed when visited.
	places []int32
	raised bool // is in merger.raised
}

func newMerger(words []wordCount, byteIDs [256]int32, vocab map[string]int32) *merger {
	size := 0
	for _, w := range words {
		size += len(w.word)
	}
	m := &merger{
		ids:     vocab,
		tokens:  make([]string, len(vocab)),
		symbols: make([]int32, 0, size),
		next:    make([]int32, 0, size),
		prev:    make([]int32, 0, size),
		word:    make([]int32, 0, size),
		counts:  make([]int64, len(words)),
		pairs:   map[uint64]int32{},
	}
	for token, id := range vocab {
		m.tokens[id] = token
	}
	for w, word := range words {
		m.counts[w] = word.count
		first := int32(len(m.symbols))
		last := first + int32(len(word.word)) - 1
		for i := range len(word.word) {
			at := first + int32(i)
			m.symbols = append(m.symbols, byteIDs[word.word[i]])
			m.word = append(m.word, int32(w))
			m.prev = append(m.prev, at-1)
			m.next = append(m.next, at+1)
		}
		m.prev[first], m.next[last] = -1, -1
	}
	for at := range int32(len(m.symbols)) {
		if right := m.next[at]; right >= 0 {
			m.raise(pair{m.symbols[at], m.symbols[right]}, at)
		}
	}
	m.enqueue()
	return m
}

// run merges until the vocabulary has size tokens or no pair occurs minimum times, and returns the
// merges in order.
func (m *merger) run(ctx context.Context, size int, minimum int64) ([][2]string, error) {
	var merges [][2]string
	for len(m.ids) < size && len(m.queue) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		top := heap.Pop(&m.queue).(queued)
		stat := &m.stats[m.pairs[top.pair.key()]]
		if stat.count != top.count {
			// It was counted down since it was put into the queue (or put there twice).
			if stat.count > 0 && stat.count < top.count {
				heap.Push(&m.queue, queued{stat.pair, stat.count})
			}
			continue
		}
		if top.count < minimum {
			break
		}
		left, right := m.tokens[top.pair.left], m.tokens[top.pair.right]
		merges = append(merges, [2]string{left, right})
		id, known := m.ids[left+right]
		if !known { // else two pairs spell one token, "a"+"bc" and "ab"+"c"
			id = int32(len(m.tokens))
			m.ids[left+right] = id
			m.tokens = append(m.tokens, left+right)
		}
		m.merge(stat, id)
	}
	return merges, nil
}

// merge replaces every occurrence of a pair by id and keeps the counts of the pairs around it.
func (m *merger) merge(stat *pairStat, id int32) {
	p, places := stat.pair, stat.places
	stat.places, stat.count = nil, 0
	// From left to right, so that of "aaa" the first two merge. Places are in order but where two
	// pairs spelled one token.
	if !slices.IsSorted(places) {
		slices.Sort(places)
	}
	for _, at := range places {
		right := m.next[at]
		if m.symbols[at] != p.left || right < 0 || m.symbols[right] != p.right {
			continue
		}
		before, after := m.prev[at], m.next[right]
		m.symbols[at], m.symbols[right] = id, -1
		m.next[at] = after
		if before >= 0 {
			m.lower(pair{m.symbols[before], p.left}, at)
			m.raise(pair{m.symbols[before], id}, before)
		}
		if after >= 0 {
			m.prev[after] = at
			m.lower(pair{p.right, m.symbols[after]}, at)
			m.raise(pair{id, m.symbols[after]}, at)
		}
	}
	// Runs such as "aaa" count the pair a second time on its own behalf; nothing of it is left.
	m.stats[m.pairs[p.key()]].count = 0
	m.enqueue()
}

// raise counts one more occurrence of a pair, at a place.
func (m *merger) raise(p pair, at int32) {
	i, ok := m.pairs[p.key()]
	if !ok {
		i = int32(len(m.stats))
		m.pairs[p.key()] = i
		m.stats = append(m.stats, pairStat{pair: p})
	}
	stat := &m.stats[i]
	stat.count += m.counts[m.word[at]]
	stat.places = append(stat.places, at)
	if !stat.raised {
		stat.raised = true
		m.raised = append(m.raised, i)
	}
}

// lower counts one occurrence less of a pair, in the word of a place.
func (m *merger) lower(p pair, at int32) {
	m.stats[m.pairs[p.key()]].count -= m.counts[m.word[at]]
}

// enqueue puts the pairs whose count rose into the queue. Those whose count fell stand there with
// a count that is too high, so they come up too early, are noticed, and are put back.
func (m *merger) enqueue() {
	for _, i := range m.raised {
		stat := &m.stats[i]
		stat.raised = false
		if stat.count > 0 {
			heap.Push(&m.queue, queued{stat.pair, stat.count})
		}
	}
	m.raised = m.raised[:0]
}

// pairQueue is a heap: the most frequent pair first, of equal ones the smaller left id, then the
// smaller right id.
type pairQueue []queued

type queued struct {
	pair  pair
	count int64
}

func (q pairQueue) Len() int { return len(q) }
func (q pairQueue) Less(i, j int) bool {
	if q[i].count != q[j].count {
		return q[i].count > q[j].count
	}
	return q[i].pair.key() < q[j].pair.key()
}
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *pairQueue) Push(x any)   { *q = append(*q, x.(queued)) }
func (q *pairQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}
