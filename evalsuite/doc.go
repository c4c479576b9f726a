// Package evalsuite scores language models: perplexity on a token stream (ppl), the embedded
// minimal pairs and cloze passages (grammar), BLiMP and LAMBADA. It neither trains nor builds
// models, and keeps no records: items and a [Model] go in, a [Result] and one [Prediction] an item
// come out. Start at [Run]; [NewBLiMP], [NewLAMBADA], [NewGrammar] and [NewPerplexity] make its
// suites, [NewONNXModel] the model.
//
// # Definitions
//
// Shapes: B sequences of a batch, S positions. All logarithms are natural.
//
// A sentence is scored as the sum of log p(token | tokens before it) over its tokens, given the
// start token [tokenizer.EndOfText], which is what every document of the training stream begins
// with; the end of the sentence is not predicted.
//
// A minimal pair counts as right if the good sentence's score is the higher one. Equal scores are a
// tie, which counts as wrong and is reported; pairs whose sentences have the same tokens are ties
// whatever the model.
//
// A passage's target is its last word: everything after its last white space. The passage's tokens
// are the start token, the tokens of the context without the white space at its end, and the tokens
// of that white space together with the word (" word"); the latter are the target, white space
// included. Encoding the two parts apart is what other evaluation tools do, and with byte-level
// BPE, whose words begin with their space, it gives the same tokens as encoding the passage whole.
// The prediction is right if each of the target's tokens is the most likely one; perplexity is
// exp(mean over passages of −log p(whole target)).
//
// Sequences longer than the model keep their last MaxLength()+1 tokens (the first of them is only
// read, never scored); how many items this touched is in the result.
//
// Sources: Warstadt and others, BLiMP, TACL 8 (2020), section 5 and table 4; Paperno and others,
// LAMBADA, ACL 2016; Radford and others, Language Models are Unsupervised Multitask Learners
// (2019), for the jsonl form of LAMBADA.
package evalsuite
