package tokenizer

import (
	"container/heap"
	"math"
	"strings"
)

// Encode returns the ids of a text: AppendEncode into a new slice.
func (t *Tokenizer) Encode(text string) []int32 { return t.AppendEncode(nil, text) }

// AppendEncode appends the ids of a text. Added tokens, special ones too, are recognised in the
// text, exactly as the tokenizers library does: "<|endoftext|>" becomes one id. Nothing is put
// before or after the text. Text that is not UTF-8 is encoded byte by byte, a broken byte
// counting as punctuation.
func (t *Tokenizer) AppendEncode(dst []int32, text string) []int32 {
	return t.encode(dst, text, false)
}

// AppendEncodeOrdinary is AppendEncode but for special tokens, which are read as the ordinary
// characters they are spelled with (the library's encode_special_tokens=True): what a corpus
// needs, where a text must not be able to end a document.
func (t *Tokenizer) AppendEncodeOrdinary(dst []int32, text string) []int32 {
	return t.encode(dst, text, true)
}

func (t *Tokenizer) encode(dst []int32, text string, ordinary bool) []int32 {
	e := t.borrow()
	defer t.giveBack(e)
	word := func(word string) { dst = e.appendWord(dst, t, word) }
	t.matchers[0].split(text, ordinary, func(text string, id int32) {
		if id >= 0 {
			dst = append(dst, id)
			return
		}
		if n := t.settings.normalizer; n != nil {
			text = n.normalize(&e.finder, text)
		}
		t.matchers[1].split(text, ordinary, func(text string, id int32) {
			if id >= 0 {
				dst = append(dst, id)
				return
			}
			t.settings.pre.words(&e.finder, text, word)
		})
	})
	return dst
}

// borrow takes an encoder for one call. There come to be as many as calls ever ran at once; each
// has its own cache, so that no word waits for a lock.
func (t *Tokenizer) borrow() *encoder {
	t.idle.Lock()
	defer t.idle.Unlock()
	if n := len(t.idle.list); n > 0 {
		e := t.idle.list[n-1]
		t.idle.list = t.idle.list[:n-1]
		return e
	}
	return &encoder{cache: map[string][]int32{}}
}

func (t *Tokenizer) giveBack(e *encoder) {
	t.idle.Lock()
	defer t.idle.Unlock()
	t.idle.list = append(t.idle.list, e)
}

// Bounds of one encoder's cache: about 20 MB when full. Words repeat so unevenly that starting
// anew, once full, costs less than keeping count of what was used last.
const (
	cacheWords    = 1 << 17
	cacheIDs      = 1 << 20
	cacheWordSize = 64 // bytes; longer words seldom come again
	scanLength    = 64 // symbols; longer words are merged through a heap
)

// encoder is the working memory of one call.
type encoder struct {
	cache   map[string][]int32
	arena   []int32 // the ids in the cache lie here
	symbols []int32
	ranks   []int32
	long    longWord
	finder  finder
}

// appendWord appends the ids of one word.
func (e *encoder) appendWord(dst []int32, t *Tokenizer, word string) []int32 {
	if ids, ok := e.cache[word]; ok {
		return append(dst, ids...)
	}
	start := len(dst)
	dst = e.merge(dst, t, word)
	if len(word) <= cacheWordSize {
		ids := dst[start:]
		if len(e.cache) >= cacheWords || len(e.arena)+len(ids) > cacheIDs {
			clear(e.cache)
			e.arena = e.arena[:0]
		}
		at := len(e.arena)
		// Growing moves the arena; the cached slices keep the old memory, which stays as it was.
		e.arena = append(e.arena, ids...)
		e.cache[strings.Clone(word)] = e.arena[at:len(e.arena):len(e.arena)]
	}
	return dst
}

// merge appends the ids of one word without looking into the cache: the word's bytes, merged pair
// by pair, always the pair of the lowest rank, of equal ones the leftmost.
func (e *encoder) merge(dst []int32, t *Tokenizer, word string) []int32 {
	if id, ok := t.words[word]; ok {
		return append(dst, id)
	}
	e.symbols = t.appendSymbols(e.symbols[:0], word)
	if len(e.symbols) > scanLength {
		return e.long.merge(dst, t, e.symbols)
	}
	s := e.symbols
	// ranks[i] is the rank of the pair (s[i], s[i+1]).
	ranks := e.ranks[:0]
	for i := range s {
		ranks = append(ranks, t.rankAt(s, i))
	}
	e.ranks = ranks
	for len(s) > 1 {
		best := 0
		for i, r := range ranks[:len(s)-1] {
			if r < ranks[best] {
				best = i
			}
		}
		if ranks[best] == noRank {
			break
		}
		m, _ := t.table.get(pair{s[best], s[best+1]}.key())
		s[best] = m.id
		s = append(s[:best+1], s[best+2:]...)
		ranks = append(ranks[:best+1], ranks[best+2:]...)
		ranks[best] = t.rankAt(s, best)
		if best > 0 {
			ranks[best-1] = t.rankAt(s, best-1)
		}
	}
	return append(dst, s...)
}

// appendSymbols appends the ids of a word's bytes. A byte without a token becomes unk_token (a run
// of them becomes one where the file says fuse_unk) or, where there is none, nothing.
func (t *Tokenizer) appendSymbols(dst []int32, word string) []int32 {
	fused := false
	for i := range len(word) {
		id := t.byteIDs[word[i]]
		if id < 0 {
			if t.unknown >= 0 && !(fused && t.settings.fuseUnknown) {
				dst = append(dst, t.unknown)
			}
			fused = true
			continue
		}
		fused = false
		dst = append(dst, id)
	}
	return dst
}

const noRank = math.MaxInt32

// rankAt returns the rank of the pair that begins at s[i], noRank where none merges.
func (t *Tokenizer) rankAt(s []int32, i int) int32 {
	if i+1 >= len(s) {
		return noRank
	}
	if m, ok := t.table.get(pair{s[i], s[i+1]}.key()); ok {
		return m.rank
	}
	return noRank
}

// longWord merges a word of any length in n log n: symbols in a linked list, candidates in a heap.
type longWord struct {
	symbols    []int32 // -1: merged into its left neighbour
	next, prev []int   // -1: none
	queue      candidates
}

// candidate is a pair that can merge, as it was when it was found.
type candidate struct {
	merge
	at   int // place of the left symbol
	pair pair
}

type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].at < c[j].at
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}

func (w *longWord) merge(dst []int32, t *Tokenizer, symbols []int32) []int32 {
	n := len(symbols)
	w.symbols = symbols
	w.next, w.prev, w.queue = w.next[:0], w.prev[:0], w.queue[:0]
	for i := range n {
		w.next, w.prev = append(w.next, i+1), append(w.prev, i-1)
	}
	w.next[n-1] = -1
	for i := range n - 1 {
		if c, ok := w.candidate(t, i); ok {
			w.queue = append(w.queue, c)
		}
	}
	heap.Init(&w.queue)
	for len(w.queue) > 0 {
		c := heap.Pop(&w.queue).(candidate)
		if now, ok := w.candidate(t, c.at); !ok || now.pair != c.pair {
			continue // one of its symbols has merged elsewhere since
		}
		right := w.next[c.at]
		w.symbols[c.at], w.symbols[right] = c.id, -1
		w.next[c.at] = w.next[right]
		if after := w.next[right]; after >= 0 {
			w.prev[after] = c.at
		}
		for _, at := range [2]int{w.prev[c.at], c.at} {
			if found, ok := w.candidate(t, at); ok {
				heap.Push(&w.queue, found)
			}
		}
	}
	for i := 0; i >= 0; i = w.next[i] {
		dst = append(dst, w.symbols[i])
	}
	return dst
}

// candidate returns the pair that begins at place at, if it can merge.
func (w *longWord) candidate(t *Tokenizer, at int) (candidate, bool) {
	if at < 0 || w.symbols[at] < 0 || w.next[at] < 0 {
		return candidate{}, false
	}
	p := pair{w.symbols[at], w.symbols[w.next[at]]}
	m, ok := t.table.get(p.key())
	return candidate{merge: m, at: at, pair: p}, ok
}

// merge is what becomes of a pair.
type merge struct{ rank, id int32 }

// pairTable is a hash table from pairs to merges, open and half empty: the one look-up that
// encoding a new word consists of.
type pairTable struct {
	slots []pairSlot
	shift uint // 64 - log2(len(slots))
}

type pairSlot struct {
	key uint64
	merge
	used bool
}

func newPairTable(n int) pairTable {
	size, shift := 4, uint(62)
	for size < 2*n {
		size, shift = size*2, shift-1
	}
	return pairTable{slots: make([]pairSlot, size), shift: shift}
}

// slot returns where key stands, or the free place it would get.
func (p *pairTable) slot(key uint64) *pairSlot {
	// Fibonacci hashing: the upper bits of the product depend on all bits of the key.
	for i := key * 0x9e3779b97f4a7c15 >> p.shift; ; i = (i + 1) & uint64(len(p.slots)-1) {
		if s := &p.slots[i]; !s.used || s.key == key {
			return s
		}
	}
}

func (p *pairTable) put(key uint64, m merge) { *p.slot(key) = pairSlot{key, m, true} }

func (p *pairTable) get(key uint64) (merge, bool) {
	s := p.slot(key)
	return s.merge, s.used
}
