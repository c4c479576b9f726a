package kernels

import "slices"

// Attention whose tiles stream by (attention_stream.cu, attention_stream_grad.cu): on Hopper, where its copying engine brings them.

// streamTile is the rows of a tile of queries or keys.
const streamTile = 64

// Numbers of attention_stream.cu: warpgroups that multiply, of a tile of queries each, and tiles of keys and values ahead.
const (
	streamGroups = 4
	streamStages = 6
)

// Numbers of attention_stream_grad.cu: warpgroups that multiply, of a tile of keys each; tiles of queries ahead; the most queries.
const (
	streamGradGroups  = 3
	streamGradStages  = 3
	streamGradQueries = 512
)

// boxed reports whether rows of heads are boxes: of 32 or 64 entries, and whole tiles.
func (f flash) boxed() bool {
	return f.dk == f.dv && (f.dk == 32 || f.dk == 64) && f.queries%streamTile == 0 && f.keys%streamTile == 0 && f.hasBias == 0 && f.hasDropout == 0 &&
		max(f.batch*f.queries, f.batch*f.keys) < 1<<31
}

// even reports whether so many equal pieces of work keep seven tenths of the multiprocessors busy.
func even(pieces int) bool {
	rounds := ceil(pieces, multiprocessors)
	return 10*pieces >= 7*rounds*multiprocessors
}

// streamItems is what blocks of attention_stream take one after the other: a pair of each head's blocks of queries.
func (f flash) streamItems() int {
	return f.batch * f.heads * ceil(ceil(f.queries, streamGroups*streamTile), 2)
}

// streams reports whether attention_stream is the quicker one: it was on an H100 for at least 256 queries, without a window,
// where the pairs of blocks of queries are an even load.
func (f flash) streams() bool {
	return f.boxed() && f.queries >= streamGroups*streamTile && f.window == 0 && even(f.streamItems())
}

// streamsGrad is the same of attention_stream_grad, which has a block for each head at a time and keeps two floats beside each query. It was the
// quicker one, or as quick, for many heads of 64, of windows the causal ones, and for causal heads of 32 without a window.
func (f flash) streamsGrad() bool {
	const manyHeads = 128 // about a block for each multiprocessor
	quicker := f.causal == 1 && (f.dk == 64 || f.window == 0) || f.dk == 64 && f.window == 0
	return f.boxed() && f.heads == f.kvHeads && quicker && f.memory == 0 && f.queries >= 2*streamTile && f.queries <= streamGradQueries && f.batch*f.heads >= manyHeads
}

// boxes is a tensor of rows of heads, in boxes of a tile of a head.
func (f flash) boxes(a Arg, length, heads int) Arg {
	a = a.Boxes(f.batch*length, heads*f.dk)
	a.Wide = f.dk
	return a
}

// streamLaunch is a block for each multiprocessor, of warpgroups that multiply and one that works ahead of them.
func (f flash) streamLaunch(kernel string, groups, items int) Launch {
	return Launch{Source: kernel + ".cu", Kernel: kernel, Grid: [3]int{min(items, multiprocessors)}, Block: [3]int{(groups + 1) * 128},
		Defines: []string{define("D", f.dk), define("DV", f.dv), define("VEC", 1), define("BIAS", 0), define("DROPOUT", 0),
			define("WARPS", groups*4), define("TILE", streamTile), define("CHUNK", streamTile), define("BLOCKS", 1)}}
}

// stream is the forward pass.
func (f flash) stream() Launch {
	l := f.streamLaunch("attention_stream", streamGroups, f.streamItems())
	box := 2 * streamTile * f.dk
	l.Shared = box*2*(streamGroups+streamStages) + 1024 // queries and what streams by, barriers
	l.Args = append(slices.Clone(f.args), f.boxes(In(0), f.queries, f.heads), f.boxes(In(1), f.keys, f.kvHeads), f.boxes(In(2), f.keys, f.kvHeads),
		f.boxes(Out(0), f.queries, f.heads), Out(1))
	return l
}

// streamGrad are the gradients of q, k and v, with scratch memory for dq so far at an offset, of one head for each block; size is its bytes.
func (f flash) streamGrad(scratch int) (l Launch, size int) {
	l = f.streamLaunch("attention_stream_grad", streamGradGroups, f.batch*f.heads)
	box := 2 * streamTile * f.dk
	// Keys and values twice, what streams by; gradients of logits twice; two floats beside each query, twice; steps; barriers.
	l.Shared = box*(2*2*streamGradGroups+3*streamGradStages) + 2*2*streamTile*streamTile*streamGradGroups + 2*2*4*streamGradQueries + 1024 + 512
	of := func(a Arg) Arg { return f.boxes(a, f.queries, f.heads) }
	keys := func(a Arg) Arg { return f.boxes(a, f.keys, f.heads) }
	l.Args = append(slices.Clone(f.args), of(In(0)), keys(In(1)), keys(In(2)), of(In(6)), of(In(8)), In(7), Out(0), Out(1), Out(2), Scratch(scratch))
	return l, 4 * l.Grid[0] * f.queries * f.dk
}
